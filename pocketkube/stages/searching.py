"""The stage that searches for layers' ratios and bits, before the stages that it decides."""

import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pocketkube.errors import MachineError, UserError
from pocketkube.facts import load_facts
from pocketkube.files.whole import write_text
from pocketkube.search.evaluation import Evaluator
from pocketkube.search.experiment import run_experiment
from pocketkube.search.facts import search_facts
from pocketkube.search.found import write_found
from pocketkube.search.journal import FILE as JOURNAL
from pocketkube.search.journal import Journal
from pocketkube.search.pool import Here, Pool, processes
from pocketkube.search.prepared import open_prepared
from pocketkube.search.problem import Problem
from pocketkube.search.samplers import sampler_named
from pocketkube.search.trial import Trial
from pocketkube.spec.sections import Import
from pocketkube.stages.cache import fingerprint
from pocketkube.stages.call import StageCall
from pocketkube.stages.configs import SearchRatiosConfig
from pocketkube.stages.preparing import prepare

PREPARED = "prepared"
# Says what the files beside it belong to.
STAMP = "search.stamp"


@dataclass(frozen=True)
class SharedByTrials:
    """What all trials of a search have in common.

    Attributes:
        folder: Where it is, for every process that evaluates some.
        evaluator: Evaluates trials in this process.
        score_name: What machines call the score.
        seconds: How long it took to prepare; 0 where that was done before.
        imports: Modules with layers of the network.
    """

    folder: Path
    evaluator: Evaluator
    score_name: str
    seconds: float
    imports: tuple[Import, ...] = ()

    @property
    def problem(self) -> Problem:
        """The search."""
        return self.evaluator.problem

    @property
    def whole_score(self) -> float:
        """The score before, on the examples that score trials."""
        return self.evaluator.whole_score


def search_ratios(
    config: SearchRatiosConfig, inputs: Mapping[str, Path], output: Path, scratch: Path
) -> None:
    """Searches, and writes the ratios of the best trial with what there is to know of the search.

    What stays in the scratch folder is small: trials and measured losses, for a later search.
    """
    began, search = time.monotonic(), config.search
    own = scratch / f"{search.sampler}-{search.parallel}"
    remembered = _trials_of_others(scratch, own)
    shared = shared_by_trials(config, inputs, scratch)
    with pool_of(shared, search.parallel) as pool:
        trials = run_experiment(
            shared.problem,
            sampler_named(search.sampler),
            pool,
            trials=search.trials,
            seed=config.seed,
            folder=own,
            remembered=remembered,
        )
    facts = search_facts(
        shared.problem,
        trials,
        sampler=search.sampler,
        seed=config.seed,
        score_name=shared.score_name,
        whole_score=shared.whole_score,
        seconds=time.monotonic() - began,
        prepared_seconds=shared.seconds,
    )
    write_found(output, shared.problem, facts)
    # The output stands; a folder of files that are still open cannot go on every file system.
    shutil.rmtree(shared.folder, ignore_errors=True)


def _trials_of_others(scratch: Path, own: Path) -> list[Trial]:
    """Trials of other searches of the same, whose scores are known.

    They are no part of this one's: those of another sampler, or of another number at a time, from which
    others would have followed.
    """
    found: list[Trial] = []
    for file in sorted(scratch.glob(f"*/{JOURNAL}")):
        if file.parent == own:
            continue
        try:
            found += Journal(file.parent).trials()
        except UserError as error:
            print(f"Not looked at: {error}", file=sys.stderr, flush=True)
    return found


def shared_by_trials(
    config: SearchRatiosConfig, inputs: Mapping[str, Path], scratch: Path
) -> SharedByTrials:
    """Prepares what trials share, or takes what an earlier process has prepared for the same search.

    Args:
        config: The stage's; how often and by what it is tried plays no part.
        inputs: Its inputs' folders.
        scratch: A folder for it and for journals; what it holds of another search is removed.
    """
    began = time.monotonic()
    _keep_only(scratch, _stamp(config, inputs))
    folder = scratch / PREPARED
    evaluator = _opened_again(folder) if folder.is_dir() else None
    seconds = 0.0
    if evaluator is None:
        prepare(config, inputs, folder)
        evaluator = open_prepared(folder)
        seconds = time.monotonic() - began
    score_name = load_facts(inputs["model"]).task.score_name
    return SharedByTrials(folder, evaluator, score_name, seconds, config.imports)


@contextmanager
def pool_of(shared: SharedByTrials, parallel: int) -> Iterator[Pool]:
    """Where trials are evaluated: in this process where it is one at a time.

    Args:
        shared: What they share.
        parallel: How many at a time.
    """
    if parallel == 1:
        yield Here(shared.evaluator.evaluate)
        return
    with processes(shared.folder, parallel, shared.imports) as pool:
        yield pool


def _opened_again(folder: Path) -> Evaluator | None:
    try:
        return open_prepared(folder)
    except MachineError:
        raise
    except UserError as damage:
        print(f"{damage} It is prepared again.", file=sys.stderr, flush=True)
        shutil.rmtree(folder)
        return None


def _stamp(config: SearchRatiosConfig, inputs: Mapping[str, Path]) -> str:
    places = {name: str(folder) for name, folder in inputs.items()}
    return fingerprint(StageCall("search_ratios", config.of_any_trials, places, ""))


def _keep_only(folder: Path, stamp: str) -> None:
    file = folder / STAMP
    if file.is_file() and file.read_bytes() == stamp.encode():
        return
    shutil.rmtree(folder, ignore_errors=True)
    write_text(file, stamp)
