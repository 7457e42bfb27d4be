"""Runs a search on this machine: asks a sampler, evaluates what it proposes, writes all of it down."""

from collections.abc import Iterable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from pocketkube.console.progress import Progress, progress
from pocketkube.errors import UserError
from pocketkube.search.journal import Journal
from pocketkube.search.pool import Pool
from pocketkube.search.problem import Problem
from pocketkube.search.sampler import Sampler
from pocketkube.search.trial import Trial

# So many trials that fail one after the other, from the first one on, are no accident.
MOST_FAILED = 3


def run_experiment(
    problem: Problem,
    sampler: Sampler,
    pool: Pool,
    *,
    trials: int,
    seed: int,
    folder: Path,
    remembered: Iterable[Trial] = (),
) -> tuple[Trial, ...]:
    """Tries what a sampler proposes, and keeps a journal from which it goes on after an interruption.

    What a sampler sees when it is asked for a trial does not follow from the clock: trial number n is
    asked for when all trials up to n - parallel have ended, and those after it count as running even
    where they have ended, too. So equal seeds give equal trials wherever the pool is of the same size,
    as far as equal choices have equal scores.

    Args:
        problem: The search.
        sampler: Proposes trials.
        pool: Evaluates them; an equal choice is evaluated once.
        trials: How many there are to be, together with those in the journal.
        seed: The sampler's.
        folder: For the journal.
        remembered: Trials of other experiments of the same problem, whose scores hold here, too.

    Returns:
        The trials, by their numbers.

    Raises:
        UserError: If the first trials all fail; it says why the last of them did. It is a
            `MachineError` where the machine lacks something: the trial is run again the next time.
    """
    with closing(Journal(folder)) as journal:
        known = {trial.number: trial for trial in _begun(journal, trials)}
        once = _Remembering(pool, [*remembered, *known.values()])
        with progress("search", trials, "trial") as shown:
            # What was running when an earlier process ended is run again.
            interrupted = [trial for trial in known.values() if trial.state == "running"]
            running: set[Future[Trial]] = set()
            while True:
                while interrupted and len(running) < pool.parallel:
                    running.add(once.start(interrupted.pop(0)))
                while len(known) < trials and _may_ask(known, pool.parallel):
                    trial = _asked(problem, sampler, journal, known, pool.parallel, seed)
                    known[trial.number] = trial
                    running.add(once.start(trial))
                if not running:
                    return tuple(known[number] for number in sorted(known))
                ended = wait(running, return_when=FIRST_COMPLETED).done
                running -= ended
                for future in ended:
                    trial = future.result()
                    known[trial.number] = trial
                    journal.ended(trial)
                    _refuse_failures(known)
                    _show(shown, known, trial)


def _begun(journal: Journal, trials: int) -> Iterable[Trial]:
    """The trials that an earlier process began.

    One that failed among others that did not would fail again, and stays as it is. Where all have
    failed the fault is none of theirs and may be mended: they run again, else the search never would.
    """
    begun = [trial for trial in journal.trials() if trial.number < trials]
    if any(trial.state == "done" for trial in begun):
        return begun
    for trial in begun:
        if trial.state == "failed":
            journal.asked(_as_running(trial), journal.state)
    return map(_as_running, begun)


def _may_ask(known: Mapping[int, Trial], parallel: int) -> bool:
    return all(known[number].state != "running" for number in range(len(known) - parallel + 1))


def _asked(
    problem: Problem,
    sampler: Sampler,
    journal: Journal,
    known: Mapping[int, Trial],
    parallel: int,
    seed: int,
) -> Trial:
    number = len(known)
    seen = [_as_running(t) if t.number > number - parallel else t for t in known.values()]
    asked = sampler.ask(problem, seen, 1, seed=seed, state=journal.state)
    trial = Trial(number, asked.choices[0], sampler=(asked.samplers or (sampler.name,))[0])
    journal.asked(trial, asked.state)
    return trial


def _as_running(trial: Trial) -> Trial:
    return Trial(trial.number, trial.choice, sampler=trial.sampler)


def _refuse_failures(known: Mapping[int, Trial]) -> None:
    ended = [trial for trial in known.values() if trial.state != "running"]
    if len(ended) >= MOST_FAILED and all(trial.state == "failed" for trial in ended):
        raise UserError(f"search: {len(ended)} trials and all have failed; the last: {ended[-1].cause}")


def _show(shown: Progress, known: Mapping[int, Trial], last: Trial) -> None:
    ended = sum(trial.state != "running" for trial in known.values())
    scores = [trial.score for trial in known.values() if trial.score is not None]
    figures = {} if last.score is None else {"score": last.score}
    shown.update(ended, **figures, **({"best": max(scores)} if scores else {}))


class _Remembering:
    """Evaluates equal choices once."""

    def __init__(self, pool: Pool, known: Iterable[Trial]) -> None:
        self._pool = pool
        self._ended = {trial.choice: trial for trial in known if trial.state == "done"}
        self._running: dict[tuple[int, ...], Future[Trial]] = {}

    def start(self, trial: Trial) -> Future[Trial]:
        now: Future[Trial] = Future()
        if trial.choice in self._ended:
            now.set_result(_like(trial, self._ended[trial.choice]))
            return now
        if trial.choice in self._running:
            self._running[trial.choice].add_done_callback(lambda first: _end_like(now, trial, first))
            return now
        self._running[trial.choice] = started = self._pool.start(trial)
        return started


def _end_like(now: Future[Trial], trial: Trial, first: Future[Trial]) -> None:
    error = first.exception()
    if error is None:
        now.set_result(_like(trial, first.result()))
    else:
        now.set_exception(error)


def _like(trial: Trial, other: Trial) -> Trial:
    return replace(other, number=trial.number, sampler=trial.sampler, seconds=0.0)
