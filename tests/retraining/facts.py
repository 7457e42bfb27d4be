"""Facts of versions that nobody has trained."""

from typing import Any

from pocketkube.retraining.lineage import (
    Decision,
    GateCriterion,
    GateFacts,
    PartitionFacts,
    VersionFacts,
)


def decision(version: str = "v1", **changes: Any) -> Decision:
    partition = PartitionFacts(name="2026-11-01", place="s3://data/digits/2026-11-01", stamp="ab12")
    found = Decision(
        model="digits",
        partition=partition,
        action="train",
        reasons=("Nothing is deployed yet.",),
        version=version,
        spec={"model": "lenet"},
        when="2026-11-02T03:00:00+00:00",
    )
    return found.model_copy(update=changes)


def version_facts(version: str = "v1", *, passed: bool = True, **changes: Any) -> VersionFacts:
    gate = GateFacts(
        opponent=None, examples=120, criteria=(GateCriterion(name="chance", passed=passed),)
    )
    found = VersionFacts(
        version=version,
        made_at="2026-11-02T03:10:00+00:00",
        parent=None,
        decision=decision(version),
        gate=gate,
        score=0.9,
        score_name="accuracy",
        size_bytes=19320,
        latency_ms=0.008,
        machine="a test's",
    )
    return found.model_copy(update=changes)
