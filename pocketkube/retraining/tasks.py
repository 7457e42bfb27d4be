"""What the tasks of the pipeline scheduled-retraining do: `retrain`, in three steps and a benchmark."""

import hashlib
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pocketkube.benchmarking.results import load_benchmark
from pocketkube.files.layout import BENCHMARK_FILE, STEPS
from pocketkube.files.whole import replaced_folder, temporary_folder
from pocketkube.kube.own_pod import TASK_POD
from pocketkube.retraining.decision import decide
from pocketkube.retraining.form import job_of
from pocketkube.retraining.job import Elsewhere, Made, run_job
from pocketkube.retraining.lineage import Decision, Outcome
from pocketkube.retraining.registering import register
from pocketkube.retraining.report import html_of, markdown_of
from pocketkube.retraining.run import opponent_folder, settle
from pocketkube.retraining.settings import RetrainingJob, parse_retraining
from pocketkube.spec import parse_settings, parse_spec, settings_document
from pocketkube.spec.sections import Cluster
from pocketkube.stages.call import StageCall
from pocketkube.stages.component import CACHE
from pocketkube.stages.on_cluster import run_on_cluster
from pocketkube.stages.own_place import work_of
from pocketkube.stages.parts import (
    TaskRequest,
    check_tasks,
    cluster_of_benchmark,
    cluster_of_training,
    request_of,
)
from pocketkube.stages.plan import MEASURED, TRAINED, plan
from pocketkube.stages.run import run_stage
from pocketkube.storage import S3Location, parse_location, parse_uri, remove_if_possible

# The tasks after the first, whose pods ask for what the spec says of a step.
TASKS = {"retrain_model": TRAINED, "benchmark_litert": MEASURED}


class Decided(NamedTuple):
    """What the first task tells the others.

    Attributes:
        retrain: Whether a version is to be made.
        retraining: The settings, as a retraining.yaml holds them.
        decision: The decision.
        spec: The job on the partition.
        deployed: The deployed version; empty where there is none.
        versions: Where versions are.
        stamp: Changes with the partition's data.
        work: The version's place for finished steps, until it is registered; empty where none is.
        benchmark: How files are measured.
        training_cluster: What of the section cluster concerns training.
        benchmark_cluster: What of it concerns measuring.
    """

    retrain: bool
    retraining: dict[str, Any]
    decision: dict[str, Any]
    spec: dict[str, Any]
    deployed: str
    versions: str
    stamp: str
    work: str
    benchmark: dict[str, Any]
    training_cluster: dict[str, Any]
    benchmark_cluster: dict[str, Any]


def decide_task(
    form: Mapping[str, Any], report: Path, summary: Path
) -> tuple[Decided, dict[str, TaskRequest]]:
    """Decides what is to be done, and does it where that takes no training.

    Args:
        form: The pipeline's parameters.
        report: The HTML page to write.
        summary: The Markdown to write.

    Returns:
        What the other tasks are told, and what their pods ask for.

    Raises:
        UserError: If a parameter, the data or the registry is no good.
    """
    job = job_of(form)
    check_tasks(job.spec)
    decision = decide(job)
    for reason in decision.reasons:
        _say(reason)
    outcome = settle(job, decision, _say)
    _write(outcome or Outcome(result="begun", decision=decision), report, summary)
    cluster, steps = job.spec.cluster, {step.key: step for step in plan(job.spec)}
    on_server = isinstance(job.registry, S3Location)
    told = Decided(
        retrain=outcome is None,
        retraining=settings_document(job.settings),
        decision=decision.model_dump(mode="json", exclude_none=True),
        spec=decision.spec,
        deployed=decision.deployed or "",
        versions=str(job.registry),
        stamp=decision.partition.stamp,
        work=_kept_at(job, decision) if on_server else "",
        benchmark=settings_document(job.spec.benchmark),
        training_cluster=cluster_of_training(cluster),
        benchmark_cluster=cluster_of_benchmark(cluster),
    )
    return told, {name: request_of(cluster, steps[key]) for name, key in TASKS.items()}


def _kept_at(job: RetrainingJob, decision: Decision) -> str:
    """Where finished steps of a version are kept: versions of two registries may have one name."""
    registry = hashlib.sha256(str(job.registry).encode()).hexdigest()[:8]
    return f"{work_of(job.spec.cluster.object_store)}/retraining/{registry}/{decision.version}"


def retrain_task(
    spec: Mapping[str, Any],
    registry: str,
    deployed: str,
    work: str,
    compressed: Path,
    litert: Path,
    baseline: Path,
    cluster: Mapping[str, Any],
) -> None:
    """Makes a version, and brings what it is to be measured beside.

    Finished steps are kept at `work`: a pod that is lost is followed by one that goes on from there.

    Args:
        spec: The job on the partition.
        registry: Where versions are.
        deployed: The deployed version; empty where there is none.
        work: Where finished steps are kept; empty to keep none.
        compressed: Gets the bundle of the compressed model.
        litert: Gets its LiteRT file.
        baseline: Gets the deployed version's, with the same test examples.
        cluster: What of the section cluster concerns training.

    Raises:
        UserError: If a step refuses its input.
    """
    kept, section = os.environ.get(CACHE), parse_settings(Cluster, cluster, "cluster")

    def run(call: StageCall) -> None:
        if call.shared and TASK_POD in os.environ:
            # The call's own output is in a folder of this pod.
            run_on_cluster(call, section, str(compressed))
        else:
            run_stage(call)

    with temporary_folder() as folder:
        made = run_job(
            parse_spec(spec),
            folder / STEPS,
            Path(kept) if kept else folder / "cache",
            _say,
            baseline=not deployed,
            elsewhere=Elsewhere(parse_location(work), run) if work else None,
        )
        opponent = opponent_folder(
            parse_location(registry), deployed or None, made, folder / "deployed"
        )
        for source, target in ((made.model, compressed), (made.litert, litert), (opponent, baseline)):
            with replaced_folder(target) as aside:
                shutil.copytree(source, aside, dirs_exist_ok=True)


def register_task(
    settings: Mapping[str, Any],
    decision: Mapping[str, Any],
    compressed: Path,
    litert: Path,
    baseline: Path,
    measured: Path,
    work: str,
    report: Path,
    summary: Path,
) -> Outcome:
    """Judges a version, registers it and deploys it where it passed.

    Args:
        settings: As a retraining.yaml holds them.
        decision: What was decided.
        compressed: The bundle of the compressed model.
        litert: Its LiteRT file.
        baseline: What it was measured beside.
        measured: What benchmark_litert wrote.
        work: Where finished steps were kept; they are removed.
        report: The HTML page to write.
        summary: The Markdown to write.

    Returns:
        How it ended.

    Raises:
        UserError: If the registry cannot be written.
    """
    outcome = register(
        parse_retraining(settings),
        Decision.model_validate(decision),
        Made(compressed, litert, None),
        baseline,
        load_benchmark(measured / BENCHMARK_FILE),
        _say,
    )
    _write(outcome, report, summary)
    if work:
        remove_if_possible(parse_uri(work))
    return outcome


def figures_of(decision: Mapping[str, Any]) -> dict[str, float]:
    """The figures that a decision rests on, for KFP to show."""
    found = Decision.model_validate(decision)
    shown: dict[str, float | None] = {"age_days": found.age_days}
    if found.drift is not None:
        score, farthest = found.drift.score, found.drift.signals[0]
        shown |= {
            "score_before": score.before,
            "score_now": score.now,
            "score_fell_by": score.drop,
            "chance_of_that": score.probability,
            "farthest_distance": farthest.distance,
        }
    return {name: value for name, value in shown.items() if value is not None}


def gate_figures_of(outcome: Outcome) -> dict[str, float]:
    """The figures that a gate looked at, for KFP to show."""
    if outcome.made is None:
        return {}
    shown = {outcome.made.score_name: outcome.made.score, "passed": outcome.made.gate.passed}
    for criterion in outcome.made.gate.criteria:
        if criterion.deployed is not None:
            shown[f"{criterion.name}_worse_by"] = criterion.worse_by
            if criterion.interval is not None:
                shown[f"{criterion.name}_worse_by_at_most"] = criterion.interval[1]
    return {name: float(value) for name, value in shown.items()}


def _write(outcome: Outcome, report: Path, summary: Path) -> None:
    report.write_text(html_of(outcome), "utf-8")
    summary.write_text(markdown_of(outcome), "utf-8")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
