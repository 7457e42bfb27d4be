"""What is written down of a version: what it was made of, why, and how it was judged."""

import hashlib
import json
import re
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any, Literal

from pocketkube import __version__
from pocketkube.files.records import Document, Record
from pocketkube.retraining.partitions import Partition
from pocketkube.spec import Spec, document_of

Plan = Literal["stored", "anew"]


class PartitionFacts(Record):
    """The data that a version was trained on, or that a deployed one was judged by.

    Attributes:
        name: The partition's.
        place: Where it is.
        stamp: A digest of its files' names, sizes and times or etags.
    """

    name: str
    place: str
    stamp: str


class ScoreDrift(Record):
    """How the deployed model's score on new data compares with that on its own.

    Attributes:
        before: Its mean score on the test examples of its own partition.
        before_examples: How many these are.
        now: Its mean score on the new ones.
        examples: How many these are.
        probability: How likely chance alone makes it fall so far.
        bound: Most that it may fall.
        drifted: Whether it fell by more, and by more than chance explains.
    """

    before: float
    before_examples: int
    now: float
    examples: int
    probability: float
    bound: float
    drifted: bool

    @property
    def drop(self) -> float:
        """How far it fell."""
        return self.before - self.now


class SignalDrift(Record):
    """How one number of each example is distributed among new data and the deployed model's own.

    Attributes:
        name: What the number is, as "output 3".
        distance: Kolmogorov and Smirnov's: the most that the two distributions differ.
        probability: How likely chance alone makes it so large.
    """

    name: str
    distance: float
    probability: float


class DriftFacts(Record):
    """Whether new data are other than those that the deployed model knows.

    Attributes:
        score: How its score compares.
        signals: How inputs and outputs compare, the farthest first.
        beyond_chance: Whether the farthest lies beyond chance, for so many that were looked at.
        bound: Most that the farthest may be; None where it decides nothing.
        drifted: Whether inputs and outputs alone make retraining necessary.
        at_chance: A sentence where the deployed model tells nothing of the labels; else empty.
    """

    score: ScoreDrift
    signals: tuple[SignalDrift, ...]
    beyond_chance: bool
    bound: float | None = None
    drifted: bool
    at_chance: str = ""


class Decision(Document):
    """What is done about the newest partition, and why.

    Attributes:
        model: The model's name.
        partition: The newest partition that is complete.
        incomplete: Names of later ones, which are not complete yet.
        deployed: The deployed version; None where there is none.
        classes: The names of the partition's classes, in the order of their numbers; empty where the
            data do not say.
        deployed_partition: What it was trained on.
        age_days: How old it is.
        max_age_days: How old it may be.
        drift: How the partition compares; None where there was nothing to compare.
        score_name: What the score is.
        action: "train" makes the version `version`; "finish" deploys it where it is registered
            already, as an interrupted run leaves it; "keep" does nothing.
        plan: Whether channels are the deployed version's, or chosen anew.
        reasons: Why, a sentence each.
        version: The version that the partition makes, or has made.
        spec: The job that makes it, as a spec's file would hold it.
        when: The time of the decision.
    """

    schema_version: int = 1
    model: str
    partition: PartitionFacts
    incomplete: tuple[str, ...] = ()
    deployed: str | None = None
    classes: tuple[str, ...] = ()
    deployed_partition: str | None = None
    age_days: float | None = None
    max_age_days: float | None = None
    drift: DriftFacts | None = None
    score_name: str | None = None
    action: Literal["train", "finish", "keep"]
    plan: Plan = "anew"
    reasons: tuple[str, ...]
    version: str
    spec: dict[str, Any]
    when: str


class GateCriterion(Record):
    """One thing that a new version is judged by.

    Attributes:
        name: "score", "size", "latency" or "chance".
        deployed: The deployed version's figure.
        candidate: The new one's.
        worse_by: How much worse the new one is: a difference of scores, or a growth (0.1 is 10 %).
        interval: The interval of 95 % confidence of that.
        limit: Most that its bad end may be.
        passed: Whether it is no more.
        note: A sentence, where there is more to say.
    """

    name: Literal["score", "size", "latency", "chance"]
    deployed: float | None = None
    candidate: float | None = None
    worse_by: float = 0.0
    interval: tuple[float, float] | None = None
    limit: float = 0.0
    passed: bool
    note: str = ""


class GateFacts(Record):
    """How a new version compares with what it was measured beside.

    Attributes:
        opponent: The deployed version; None for the first, which is measured beside its own
            uncompressed network.
        examples: How many test examples of the partition the scores are of.
        criteria: What it was judged by.
        warnings: What makes the latency doubtful.
    """

    opponent: str | None
    examples: int
    criteria: tuple[GateCriterion, ...]
    warnings: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether it may be deployed."""
        return all(criterion.passed for criterion in self.criteria)


class VersionFacts(Document):
    """The content of a version.json: where a version comes from.

    Attributes:
        version: Its name.
        pocketkube: The version of PocketKube that made it.
        made_at: When it was registered.
        parent: The version that was deployed then.
        decision: Why it was made, of which partition, by which spec.
        gate: How it was judged.
        score: Its score on its partition's test examples.
        score_name: What that is.
        size_bytes: Size of its file.
        latency_ms: Its median latency, where it was measured.
        machine: What it was measured on.
    """

    schema_version: int = 1
    version: str
    pocketkube: str = __version__
    made_at: str
    parent: str | None
    decision: Decision
    gate: GateFacts
    score: float
    score_name: str
    size_bytes: int
    latency_ms: float
    machine: str


class Outcome(Document):
    """How a run ended: what retraining.json holds.

    Attributes:
        result: "kept": nothing was done; "deployed": the new version is; "refused": it did not pass;
            "superseded": another one was deployed while this one was made; "begun": it is being made.
        decision: What was to be done, and why.
        made: The version that was made, or found registered.
    """

    schema_version: int = 1
    result: Literal["kept", "deployed", "refused", "superseded", "begun"]
    decision: Decision
    made: VersionFacts | None = None


def partition_facts(partition: Partition) -> PartitionFacts:
    """What is written down of a partition."""
    digest = hashlib.sha256(partition.place.stamp().encode()).hexdigest()[:12]
    return PartitionFacts(name=partition.name, place=str(partition.place), stamp=digest)


def version_name(partition: str, spec: Spec, parent: str | None) -> str:
    """The version that a partition makes: the same name whenever it is made again of the same.

    Args:
        partition: The partition's name, which the version's begins with.
        spec: The job.
        parent: The deployed version.
    """
    document = document_of(spec)
    kind, place = spec.dataset.source
    # Where the data are, and where tasks run, changes nothing.
    document["dataset"] = {**document["dataset"], kind: PurePosixPath(place).name}
    document.pop("cluster", None)
    made_of = json.dumps([partition, document, parent], sort_keys=True)
    digest = hashlib.sha256(made_of.encode()).hexdigest()[:8]
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", PurePosixPath(partition).stem).strip("-.")[:40]
    return f"{stem or 'version'}-{digest}"


def now() -> str:
    """The time, as it is written down."""
    return datetime.now(UTC).isoformat(timespec="seconds")
