"""One scheduled run on this machine: what cron calls, and what a pipeline's tasks do one by one."""

import shutil
import sys
from pathlib import Path

from pocketkube.benchmarking.results import load_benchmark
from pocketkube.files.layout import (
    BENCHMARK_FILE,
    FACTS_FILE,
    LITERT_FILE,
    REPORT_FILE,
    SAMPLES_FILE,
    STEPS,
)
from pocketkube.files.output_folder import alone_in
from pocketkube.files.records import text_of
from pocketkube.files.whole import replaced_folder, write_text
from pocketkube.retraining.decision import decide
from pocketkube.retraining.job import Made, Say, run_job
from pocketkube.retraining.lineage import Decision, Outcome
from pocketkube.retraining.model_registry import tell_model_registry
from pocketkube.retraining.registering import finish, register
from pocketkube.retraining.registry import Registry
from pocketkube.retraining.report import html_of, markdown_of
from pocketkube.retraining.settings import RetrainingJob
from pocketkube.spec import parse_spec
from pocketkube.stages.call import StageCall
from pocketkube.stages.configs import BenchmarkLitertConfig
from pocketkube.stages.run import run_stage
from pocketkube.storage import Location

OUTCOME_FILE, MARKDOWN_FILE = "retraining.json", "report.md"
# Where finished steps are until a version is registered; all of it is removed then.
_WORK = ".retraining"


def retrain(
    job: RetrainingJob, output: Path, say: Say = lambda line: print(line, file=sys.stderr, flush=True)
) -> Outcome:
    """Looks at the newest partition, and makes, judges and deploys a version where it has to.

    It may be interrupted anywhere and run again: finished steps stay until a version is registered, so
    that nothing is trained twice; no version is written twice, and a partition that was dealt with is
    not dealt with again.

    Args:
        job: The settings.
        output: Gets retraining.json, report.html and report.md, and holds finished steps.
        say: Told what is done.

    Raises:
        UserError: If another run is at it in the same folder, or something is wrong with the settings,
            the data or the registry.
    """
    with alone_in(output):
        say(f"look at {job.partitions}")
        decision = decide(job)
        for reason in decision.reasons:
            say(reason)
        outcome = _carried_out(job, decision, output, say)
        write_outcome(outcome, output)
        return outcome


def settle(job: RetrainingJob, decision: Decision, say: Say) -> Outcome | None:
    """Does what a decision asks for without training; None where a version has to be made.

    Raises:
        UserError: If a registry cannot be written, or a server is away or refuses.
    """
    if decision.action == "train":
        return None
    if decision.action == "finish":
        return finish(job, decision, say)
    _tell_again(job, decision)
    return Outcome(result="kept", decision=decision)


def opponent_folder(registry: Location, deployed: str | None, made: Made, folder: Path) -> Path:
    """What a version is measured beside: the deployed file with the partition's test examples.

    The first version is measured beside its own uncompressed network's file.

    Args:
        registry: Where versions are.
        deployed: The deployed version.
        made: What the job has made.
        folder: The folder to write.
    """
    if deployed is None:
        assert made.baseline is not None
        return made.baseline
    with Registry(registry).fetched(deployed) as version, replaced_folder(folder) as aside:
        for file in (LITERT_FILE, FACTS_FILE):
            shutil.copyfile(version / file, aside / file)
        shutil.copyfile(made.litert / SAMPLES_FILE, aside / SAMPLES_FILE)
    return folder


def write_outcome(outcome: Outcome, output: Path) -> None:
    """Writes how a run ended, for machines and for people."""
    write_text(output / OUTCOME_FILE, text_of(outcome))
    write_text(output / REPORT_FILE, html_of(outcome))
    write_text(output / MARKDOWN_FILE, markdown_of(outcome))


def results_in(output: Path) -> list[Path]:
    """Files and folders that a run replaces or removes in its output folder."""
    return [output / name for name in (OUTCOME_FILE, REPORT_FILE, MARKDOWN_FILE, _WORK)]


def _tell_again(job: RetrainingJob, decision: Decision) -> None:
    """An earlier run may have ended before it told a Model Registry what it had made or deployed."""
    if not job.settings.model_registry:
        return
    registry = Registry(job.registry)
    for version in filter(None, (decision.version, decision.deployed)):
        if registry.has(version):
            is_deployed = version == decision.deployed
            tell_model_registry(
                job, registry.facts(version), registry.at(version), deployed=is_deployed
            )


def _carried_out(job: RetrainingJob, decision: Decision, output: Path, say: Say) -> Outcome:
    settled = settle(job, decision, say)
    if settled is not None:
        return settled
    work, cache = output / _WORK / STEPS, output / _WORK / "cache"
    spec = parse_spec(decision.spec)
    made = run_job(spec, work, cache, say, baseline=decision.deployed is None)
    opponent = opponent_folder(job.registry, decision.deployed, made, work / "deployed")
    say("benchmark_litert")
    measured = work / "benchmark"
    config = BenchmarkLitertConfig.of(spec)
    inputs = {"baseline": str(opponent), "result": str(made.litert)}
    run_stage(StageCall("benchmark_litert", config, inputs, str(measured)), cache)
    outcome = register(job, decision, made, opponent, load_benchmark(measured / BENCHMARK_FILE), say)
    # The version holds what is worth keeping: a schedule would fill the disk with the rest.
    shutil.rmtree(output / _WORK, ignore_errors=True)
    return outcome
