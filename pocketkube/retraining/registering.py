"""Judges what was made, registers it as a version, and deploys it where it passed.

The order makes each step safe to be interrupted: a version appears whole, its gate inside; then a Model
Registry learns of it; then the pointer moves. Whoever comes later finds what is left to do.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pocketkube.benchmarking.environment import shown_place
from pocketkube.benchmarking.results import BenchmarkReport
from pocketkube.benchmarking.samples import load_samples
from pocketkube.errors import UserError
from pocketkube.facts import load_exported
from pocketkube.files.layout import FACTS_FILE, LITERT_FILE, REPORT_FILE, SAMPLES_FILE
from pocketkube.files.records import text_of
from pocketkube.files.whole import temporary_folder, write_text
from pocketkube.retraining.gate import judge
from pocketkube.retraining.job import Made, Say
from pocketkube.retraining.lineage import Decision, GateFacts, Outcome, VersionFacts, now
from pocketkube.retraining.model_registry import tell_model_registry
from pocketkube.retraining.pointer import RETRAINED
from pocketkube.retraining.registry import KERAS_FOLDER, REFERENCE_FILE, VERSION_FILE, Registry
from pocketkube.retraining.report import html_of
from pocketkube.retraining.scoring import Answers, answers_of, save_reference
from pocketkube.retraining.settings import RetrainingJob


def register(
    job: RetrainingJob,
    decision: Decision,
    made: Made,
    opponent: Path,
    measured: BenchmarkReport,
    say: Say,
) -> Outcome:
    """Judges what the job has made, keeps it as a version and deploys it where it passed.

    Args:
        job: The settings.
        decision: What the job was started for.
        made: What it has made.
        opponent: The folder of the file that it was measured beside, see `judge`.
        measured: What was measured.
        say: Told what is done.

    Raises:
        UserError: If the registry cannot be written, or its server is away or refuses.
    """
    registry, version = Registry(job.registry), decision.version
    if not registry.has(version):
        say(f"judge {version}")
        candidate, gate = _judged(job, decision, made, opponent, measured)
        facts = VersionFacts(
            version=version,
            made_at=now(),
            parent=decision.deployed,
            decision=decision,
            gate=gate,
            score=float(candidate.scores.mean()),
            score_name=load_exported(made.litert).task.score_name,
            size_bytes=measured.files[-1].size_bytes,
            latency_ms=measured.files[-1].latency_ms.p50,
            machine=shown_place(measured.environment),
        )
        say(f"register {version}")
        with _folder(facts, made, candidate) as folder:
            registry.add(version, folder)
    return finish(job, decision, say)


def finish(job: RetrainingJob, decision: Decision, say: Say) -> Outcome:
    """Deploys a registered version, where it passed its gate and its parent still is deployed.

    Raises:
        UserError: If it is not there, or the registry cannot be written.
    """
    registry = Registry(job.registry)
    facts = registry.facts(decision.version)
    tell_model_registry(job, facts, registry.at(facts.version), deployed=False)
    if not facts.gate.passed:
        say(f"{facts.version} did not pass its gate")
        return Outcome(result="refused", decision=decision, made=facts)
    say(f"deploy {facts.version}")
    if not registry.pointer.replace(facts.version, RETRAINED, facts.parent):
        say(f"{facts.version} is not deployed: another version was deployed meanwhile")
        return Outcome(result="superseded", decision=decision, made=facts)
    tell_model_registry(job, facts, registry.at(facts.version), deployed=True)
    say(f"{facts.version} is deployed")
    return Outcome(result="deployed", decision=decision, made=facts)


def _judged(
    job: RetrainingJob, decision: Decision, made: Made, opponent: Path, measured: BenchmarkReport
) -> tuple[Answers, GateFacts]:
    samples = load_samples(made.litert / SAMPLES_FILE)
    if not samples.labels:
        raise UserError(f"{decision.partition.place} has no labels, by which versions are judged.")

    def answers(folder: Path) -> Answers:
        facts = load_exported(folder)
        return answers_of(folder / LITERT_FILE, facts, samples.inputs, samples.labels, samples.origin)

    candidate, deployed = answers(made.litert), answers(opponent)
    return candidate, judge(job.settings.gate, measured, deployed, candidate, decision.deployed)


@contextmanager
def _folder(facts: VersionFacts, made: Made, candidate: Answers) -> Iterator[Path]:
    """A version's folder, until the block ends."""
    with temporary_folder() as temporary:
        folder = temporary / "version"
        shutil.copytree(made.model, folder / KERAS_FOLDER)
        for file in (LITERT_FILE, FACTS_FILE):
            shutil.copyfile(made.litert / file, folder / file)
        save_reference(folder / REFERENCE_FILE, candidate)
        outcome = Outcome(
            result="deployed" if facts.gate.passed else "refused", decision=facts.decision, made=facts
        )
        write_text(folder / REPORT_FILE, html_of(outcome))
        write_text(folder / VERSION_FILE, text_of(facts))
        yield folder
