"""Decides what the newest partition asks for: a new version, nothing, or the end of what was begun."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pocketkube.data import Dataset, load_dataset
from pocketkube.data.batches import materialize
from pocketkube.errors import UserError
from pocketkube.facts import ExportedFacts, load_exported
from pocketkube.files.layout import LITERT_FILE
from pocketkube.files.records import read_document
from pocketkube.measures import Classes, wording_of
from pocketkube.retraining.drift import drift_of
from pocketkube.retraining.gate import refuse_too_few
from pocketkube.retraining.lineage import (
    Decision,
    DriftFacts,
    Plan,
    VersionFacts,
    now,
    partition_facts,
    version_name,
)
from pocketkube.retraining.partitions import Partition, dataset_of, newest_partition, order_of
from pocketkube.retraining.registry import REFERENCE_FILE, VERSION_FILE, Registry
from pocketkube.retraining.scoring import answers_of, load_reference
from pocketkube.retraining.settings import RetrainingJob
from pocketkube.spec import Spec, document_of
from pocketkube.spec.model_files import is_model_file
from pocketkube.spec.sections import DatasetSettings, PruneChannels, Search, Target

SECONDS_A_DAY = 86400.0


def decide(job: RetrainingJob) -> Decision:
    """Looks at the newest partition with the deployed version; writes nothing.

    The deployed version sees training examples of the partition, so that nobody has seen its test
    examples when a new version is judged by them.

    Args:
        job: The settings.

    Raises:
        UserError: If there is no partition, the data are no good, or the registry is damaged.
    """
    registry = Registry(job.registry)
    partition = newest_partition(job.partitions, job.spec.dataset)
    pointer = registry.deployed()
    parent = pointer.version if pointer else None
    base = Decision(
        model=job.settings.name,
        partition=partition_facts(partition),
        incomplete=partition.incomplete,
        deployed=parent,
        max_age_days=job.settings.max_age_days,
        action="keep",
        reasons=(),
        version=version_name(partition.name, job.spec, parent),
        spec={},
        when=now(),
    )
    if parent is None:
        data = labelled_partition(dataset_of(partition, job.spec.dataset))
        found = base.model_copy(
            update={
                "action": "train",
                "spec": _spec_for(job.spec, partition, None),
                "reasons": ("Nothing is deployed yet.",),
                "classes": data.class_names,
            }
        )
    else:
        with registry.fetched(parent) as folder:
            found = _beside(job, base, partition, folder)
    if found.action == "keep" or not registry.has(found.version):
        return found
    return _of_registered(
        found, registry.facts(found.version), bool(pointer and pointer.knows(found.version))
    )


def _beside(job: RetrainingJob, base: Decision, partition: Partition, folder: Path) -> Decision:
    """What there is to do beside a deployed version."""
    version, facts = read_document(VersionFacts, folder / VERSION_FILE), load_exported(folder)
    trained_on, age = version.decision.partition.name, _age_days(version)
    base = base.model_copy(
        update={
            "deployed_partition": trained_on,
            "age_days": age,
            "score_name": facts.task.score_name,
        }
    )
    if order_of(trained_on) >= order_of(partition.name):
        newest = "the newest" if trained_on == partition.name else "a later one"
        reason = (
            f"There is no newer partition: {version.version} was trained on {trained_on}, {newest}."
        )
        return base.model_copy(update={"reasons": (reason,)})
    data = labelled_partition(dataset_of(partition, job.spec.dataset))
    _refuse_other_classes(job.spec, data, version, facts)
    drift = _drift(job, data, facts, folder)
    shown = wording_of(facts.task.score_name).shown
    reasons = [*_reasons_of(drift, shown), *_reasons_of_age(age, job.settings.max_age_days)]
    base = base.model_copy(update={"drift": drift, "classes": data.class_names})
    if not reasons:
        kept = f"The score is {shown(drift.score.now)}, where it was {shown(drift.score.before)}: kept."
        return base.model_copy(update={"reasons": (kept,)})
    if not drift.score.drifted and not Registry(job.registry).has(base.version):
        # Beside one that got worse, a new version may be so much better that few examples show it.
        scores = load_reference(folder / REFERENCE_FILE).scores
        refuse_too_few(job.settings.gate, scores, data.test.size, data.name)
    plan, why = _plan(job, version, facts, drift)
    kept_channels = facts.kept if plan == "stored" else None
    return base.model_copy(
        update={
            "action": "train",
            "plan": plan,
            "reasons": (*reasons, why),
            "spec": _spec_for(job.spec, partition, kept_channels),
        }
    )


def _refuse_other_classes(
    spec: Spec, data: Dataset, version: VersionFacts, facts: ExportedFacts
) -> None:
    """Says where class numbers mean something else than to the deployed version.

    A version that knows fewer classes would seem the better one on data that have no more.

    Raises:
        UserError: If there are other classes, by name or, where names are not known, by number.
    """
    known, given = version.decision.classes, data.class_names
    if known and given:
        if known != given:
            raise _other_classes(data.name, ", ".join(given), version.version, ", ".join(known))
        return
    if is_model_file(spec.model):
        # Its outputs are as many as they are, whatever the data hold.
        return
    heads = [head for head in facts.task.heads if head.scored]
    for head, labels in zip(heads, data.labels, strict=False):
        count, has = (head.model_extra or {}).get("num_classes"), labels.num_classes
        if head.kind == Classes.kind and count is not None and has is not None and has != count:
            raise _other_classes(data.name, f"0 to {has - 1}", version.version, f"0 to {count - 1}")


def _other_classes(name: str, given: str, version: str, known: str) -> UserError:
    return UserError(
        f"{name} has the classes {given}; the deployed version {version} knows {known}: give each "
        "partition the same classes, and a model of others a registry of its own."
    )


def _drift(job: RetrainingJob, data: Dataset, facts: ExportedFacts, folder: Path) -> DriftFacts:
    inputs, labels = materialize(data.train, job.settings.drift.examples, job.spec.seed)
    answers = answers_of(folder / LITERT_FILE, facts, inputs, labels[: len(data.labels)], data.name)
    return drift_of(job.settings.drift, load_reference(folder / REFERENCE_FILE), answers)


def labelled_partition(dataset: DatasetSettings) -> Dataset:
    """The examples of a partition.

    Raises:
        UserError: If they have no labels.
    """
    data = load_dataset(dataset)
    if not data.labels:
        raise UserError(
            f"{data.name} has no labels, by which versions are judged: give some, or compress a model "
            "without by pocketkube run."
        )
    return data


def _reasons_of(drift: DriftFacts, shown: Callable[[float], str]) -> list[str]:
    reasons, score = [], drift.score
    if score.drifted:
        reasons.append(
            f"The score is {shown(score.now)} on {score.examples} examples, where it was "
            f"{shown(score.before)}: more than {score.bound:g} lower, and more than chance explains "
            f"(p = {score.probability:.2g})."
        )
    if drift.drifted:
        farthest = drift.signals[0]
        reasons.append(
            f"The distribution of {farthest.name} is another one: its distance is "
            f"{farthest.distance:.2f}, more than {drift.bound:g} (p = {farthest.probability:.2g})."
        )
    return reasons


def _reasons_of_age(age: float, most: float | None) -> list[str]:
    if most is None or age <= most:
        return []
    return [f"The deployed version is {age:.1f} days old, more than {most:g}."]


def _plan(
    job: RetrainingJob, version: VersionFacts, facts: ExportedFacts, drift: DriftFacts
) -> tuple[Plan, str]:
    """Whether channels are the deployed version's, with the reason."""
    prunings = [stage for stage in job.spec.stages if isinstance(stage, PruneChannels)]
    if not prunings:
        return "anew", "The job prunes no channels."
    if all(stage.ratios for stage in prunings):
        return "anew", "The spec itself says which channels are cut."
    if len(prunings) > 1:
        return "anew", "The job prunes more than once: channels are chosen anew by its target."
    if _networks(version.decision.spec) != _networks(document_of(job.spec)):
        return "anew", (
            "The deployed version is of another network: channels are chosen anew by the target."
        )
    if not any(after < before for after, before in facts.kept.values()):
        return "anew", "The deployed version has no channels cut: they are chosen by the target."
    if _shares_speedup(job.spec):
        return "anew", (
            "The search weighs channels against zeros by one speed-up: both are searched for anew."
        )
    if drift.score.drop > job.settings.replan_drop:
        return "anew", (
            f"The score fell by more than {job.settings.replan_drop:g}: channels are chosen anew by "
            "the target."
        )
    return "stored", "Each layer keeps as many channels as in the deployed version."


def _shares_speedup(spec: Spec) -> bool:
    """Whether a search has one speed-up for channels and something else: known channels leave none."""
    search, target = spec.search, spec.target
    if search is None or target is None or target.speedup is None:
        return False
    return "prune_channels" in search.over and len(search.over) > 1


def _networks(document: Mapping[str, Any]) -> list[str]:
    """The networks of a job, whose layers ratios name: its model's and a student's."""
    stages = [stage for stage in document.get("stages", ()) if isinstance(stage, Mapping)]
    students = [stage["distill_model"]["student"] for stage in stages if "distill_model" in stage]
    return [document["model"], *students]


def _spec_for(
    spec: Spec, partition: Partition, kept: Mapping[str, tuple[int, ...]] | None
) -> dict[str, Any]:
    """The job on a partition, as a spec's file would hold it.

    Args:
        spec: The job.
        partition: Its data.
        kept: Channels that are left, and that were there, by layer; None to choose by the target.
    """
    changes: dict[str, object] = {"dataset": dataset_of(partition, spec.dataset)}
    if kept is not None:
        ratios = {
            layer: 1 - after / before for layer, (after, before) in kept.items() if after < before
        }
        # The counts are given: rounding to the spec's multiples would move those that are none.
        as_they_are = {"ratios": ratios, "round_to": 1}
        changes["stages"] = tuple(
            stage.model_copy(update=as_they_are) if isinstance(stage, PruneChannels) else stage
            for stage in spec.stages
        )
        changes["target"] = _without_speedup(spec)
        changes["search"] = _without_channels(spec.search)
    return document_of(spec.model_copy(update=changes))


def _without_speedup(spec: Spec) -> Target | None:
    """The target that ratios leave open: a speed-up would contradict them."""
    target = spec.target
    if target is None or target.speedup is None:
        return target
    others = (target.max_accuracy_drop, target.max_size, target.max_latency_ms)
    if all(value is None for value in others):
        return None
    return target.model_copy(update={"speedup": None})


def _without_channels(search: Search | None) -> Search | None:
    """What is left to search where the channels are known."""
    if search is None:
        return None
    over = tuple(name for name in search.over if name != "prune_channels")
    return search.model_copy(update={"over": over}) if over else None


def _of_registered(found: Decision, version: VersionFacts, was_deployed: bool) -> Decision:
    """What is left to do for a version that is registered already."""
    if was_deployed:
        said = f"{version.version} was deployed, and another version was chosen since."
    elif not version.gate.passed:
        said = f"{version.version} was made of this partition, and did not pass its gate."
    else:
        said = f"{version.version} is registered and has passed its gate, but is not deployed yet."
    action = "keep" if was_deployed or not version.gate.passed else "finish"
    return found.model_copy(update={"action": action, "reasons": (*found.reasons, said)})


def _age_days(version: VersionFacts) -> float:
    made = datetime.fromisoformat(version.made_at)
    return (datetime.now(UTC) - made).total_seconds() / SECONDS_A_DAY
