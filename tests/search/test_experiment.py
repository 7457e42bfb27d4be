"""A search goes on after any interruption as if nothing had been, whatever order its trials end in."""

import itertools
import threading
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from pocketkube.errors import MachineError, OutOfMemory, UserError
from pocketkube.search.experiment import run_experiment
from pocketkube.search.facts import best_of
from pocketkube.search.journal import Journal
from pocketkube.search.pool import Here, processes
from pocketkube.search.problem import Problem
from pocketkube.search.samplers import sampler_named
from pocketkube.search.trial import Trial
from tests.search.synthetic import Synthetic, synthetic


@dataclass(frozen=True)
class Found:
    score: float
    costs: dict[str, float]
    seconds: float


class Interrupted(BaseException):
    """What stands for a kill."""


class Evaluating:
    """Evaluates choices, notes which, and may end in the midst of it."""

    def __init__(self, known: Synthetic, ends_after: int | None = None) -> None:
        self.known, self.ends_after = known, ends_after
        self.asked: list[tuple[int, ...]] = []
        self.lock = threading.Lock()

    def __call__(self, choice: tuple[int, ...]) -> Found:
        with self.lock:
            if self.ends_after is not None and len(self.asked) == self.ends_after:
                raise Interrupted
            self.asked.append(choice)
        return Found(self.known.score(choice), self.known.problem.all_costs(choice), 0.01)


class Shuffled:
    """A pool whose trials end in an order of its own: of those that run, any is the next to end."""

    def __init__(self, evaluate: Evaluating, parallel: int, seed: int) -> None:
        self.evaluate, self.parallel, self.rng = evaluate, parallel, np.random.default_rng(seed)
        self.running: list[tuple[Trial, Future[Trial]]] = []
        self.changed, self.ended = threading.Condition(), list[int]()
        threading.Thread(target=self.end_them, daemon=True).start()

    def start(self, trial: Trial) -> Future[Trial]:
        future: Future[Trial] = Future()
        with self.changed:
            self.running.append((trial, future))
            self.changed.notify()
        return future

    def end_them(self) -> None:
        while True:
            with self.changed:
                self.changed.wait_for(lambda: self.running)
                # The last one that runs waits a moment for others.
                self.changed.wait_for(lambda: len(self.running) > 1, 0.2)
                trial, future = self.running.pop(int(self.rng.integers(len(self.running))))
            found = self.evaluate(trial.choice)
            self.ended.append(trial.number)
            future.set_result(replace(trial, state="done", score=found.score, costs=found.costs))


def outcomes(trials: tuple[Trial, ...]) -> list[tuple[int, tuple[int, ...], float | None, str]]:
    return [(trial.number, trial.choice, trial.score, trial.sampler) for trial in trials]


@pytest.mark.parametrize("name", ["random", "milp", "ddpg"])
def test_an_interrupted_search_goes_on_as_if_nothing_had_been(tmp_path: Path, name: str) -> None:
    known = synthetic(4, blur=0.5)
    problem, whole = known.problem, Evaluating(known)

    def run(folder: Path, evaluate: Evaluating) -> tuple[Trial, ...]:
        sampler = sampler_named(name)
        return run_experiment(problem, sampler, Here(evaluate), trials=12, seed=3, folder=folder)

    expected = run(tmp_path / "whole", whole)
    assert [trial.state for trial in expected] == ["done"] * 12
    assert all(problem.cost(trial.choice) <= problem.limit.most for trial in expected)
    asked: list[tuple[int, ...]] = []
    for ends_after in (0, 4, 1, 3):
        interrupted = Evaluating(known, ends_after)
        with pytest.raises(Interrupted):
            run(tmp_path / "parts", interrupted)
        asked += interrupted.asked
        assert Journal(tmp_path / "parts").trials()[-1].state == "running"
    last = Evaluating(known)
    assert outcomes(run(tmp_path / "parts", last)) == outcomes(expected)
    # Nothing that had ended was evaluated again.
    assert [*asked, *last.asked] == whole.asked
    # What is done already asks for nothing.
    assert outcomes(run(tmp_path / "parts", Evaluating(known, 0))) == outcomes(expected)


def test_trials_that_end_in_any_order_are_the_same_trials(tmp_path: Path) -> None:
    known = synthetic(4, blur=0.5)
    found, orders = [], []
    for attempt in range(3):
        pool = Shuffled(Evaluating(known), 3, attempt)
        sampler = sampler_named("random")
        folder = tmp_path / str(attempt)
        trials = run_experiment(known.problem, sampler, pool, trials=10, seed=1, folder=folder)
        found.append(outcomes(trials))
        orders.append(tuple(pool.ended))
    assert len(set(orders)) > 1
    assert found[0] == found[1] == found[2]


class Always:
    """Proposes the same again and again."""

    name = "always"

    def __init__(self, problem: Problem) -> None:
        self.choice = tuple(int(size) - 1 for size in problem.space.sizes)

    def ask(
        self, problem: Problem, trials: object, count: int, *, seed: int, state: str = ""
    ) -> object:
        from pocketkube.search.sampler import Asked

        return Asked((self.choice,) * count, samplers=(self.name,) * count)


@pytest.mark.parametrize("parallel", [1, 3])
def test_equal_assignments_are_evaluated_once(tmp_path: Path, parallel: int) -> None:
    known = synthetic(4)
    problem, evaluate = known.problem, Evaluating(known)
    pool = Here(evaluate) if parallel == 1 else Shuffled(evaluate, parallel, 0)
    trials = run_experiment(problem, Always(problem), pool, trials=5, seed=0, folder=tmp_path)
    assert len(evaluate.asked) == 1
    assert len({trial.score for trial in trials}) == 1
    others = run_experiment(
        problem, Always(problem), pool, trials=2, seed=0, folder=tmp_path / "b", remembered=trials
    )
    assert len(evaluate.asked) == 1
    assert others[0].score == trials[0].score


def test_a_trial_that_fails_is_written_down_and_three_alone_end_the_search(tmp_path: Path) -> None:
    problem, count = synthetic(4).problem, 0

    def fails_at_first(choice: tuple[int, ...]) -> Found:
        nonlocal count
        count += 1
        if count == 1:
            raise UserError("the model has no\nlayers left")
        return Found(1.0, problem.all_costs(choice), 0.0)

    sampler = sampler_named("random")
    trials = run_experiment(
        problem, sampler, Here(fails_at_first), trials=4, seed=0, folder=tmp_path / "one"
    )
    assert [trial.state for trial in trials] == ["failed", "done", "done", "done"]
    assert trials[0].cause == "the model has no layers left"

    def fails(choice: tuple[int, ...]) -> Found:
        raise UserError("there is no memory left")

    with pytest.raises(UserError, match="search: 3 trials and all have failed; the last: there is no"):
        run_experiment(problem, sampler, Here(fails), trials=9, seed=0, folder=tmp_path / "all")


def failing(problem: Problem, errors: list[Exception]) -> Here:
    """Raises these errors one after the other, and evaluates well once there are none left."""

    def evaluate(choice: tuple[int, ...]) -> Found:
        if errors:
            raise errors.pop(0)
        return Found(1.0, problem.all_costs(choice), 0.0)

    return Here(evaluate)


@pytest.mark.parametrize("trials", [2, 3])
def test_a_search_whose_trials_all_failed_goes_on_once_their_fault_is_mended(
    tmp_path: Path, trials: int
) -> None:
    problem, sampler = synthetic(3).problem, sampler_named("random")
    pool = failing(problem, [UserError("the file is not there")] * trials)

    def run() -> list[str]:
        found = run_experiment(problem, sampler, pool, trials=trials, seed=0, folder=tmp_path)
        return [trial.state for trial in found]

    if trials == 3:
        with pytest.raises(UserError, match="all have failed; the last: the file is not there"):
            run()
    else:
        assert run() == ["failed"] * 2
    assert run() == ["done"] * trials


def test_what_failed_among_others_is_not_tried_again(tmp_path: Path) -> None:
    problem, sampler = synthetic(3).problem, sampler_named("random")
    pool = failing(problem, [UserError("no layers are left")])
    for _ in range(2):
        trials = run_experiment(problem, sampler, pool, trials=2, seed=0, folder=tmp_path)
        assert [trial.state for trial in trials] == ["failed", "done"]


def test_what_the_machine_lacks_ends_the_search_and_is_no_trial_s_fault(tmp_path: Path) -> None:
    problem, sampler = synthetic(3).problem, sampler_named("random")
    lacking = [MachineError("No space left on the disk"), MemoryError("of NumPy")]
    pool = failing(problem, lacking)

    def run() -> list[str]:
        found = run_experiment(problem, sampler, pool, trials=3, seed=0, folder=tmp_path)
        return [trial.state for trial in found]

    with pytest.raises(MachineError, match="No space left"):
        run()
    with pytest.raises(OutOfMemory, match="Memory ran out"):
        run()
    assert run() == ["done"] * 3


def test_any_error_fails_its_trial_alone_and_is_told_with_its_type(tmp_path: Path) -> None:
    problem, sampler = synthetic(3).problem, sampler_named("random")
    pool = failing(problem, [ValueError("negative dimension\nin Conv2D"), KeyError()])
    trials = run_experiment(problem, sampler, pool, trials=3, seed=0, folder=tmp_path)
    assert [trial.state for trial in trials] == ["failed", "failed", "done"]
    assert [trial.cause for trial in trials] == ["ValueError: negative dimension", "KeyError", ""]


@pytest.mark.parametrize(("shared", "kind"), [("full", MachineError), ("starved", OutOfMemory)])
def test_what_the_machine_lacks_in_a_process_of_its_own_is_no_trial_s_fault_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shared: str, kind: type[UserError]
) -> None:
    monkeypatch.setattr("pocketkube.search.pool.WORKER", "tests.search.odd_worker")
    problem = synthetic(3).problem
    with processes(Path(shared), 2) as pool, pytest.raises(kind):
        run_experiment(problem, Always(problem), pool, trials=3, seed=0, folder=tmp_path)
    assert {trial.state for trial in Journal(tmp_path).trials()} == {"running"}


def test_a_score_that_is_no_number_fails_its_trial(tmp_path: Path) -> None:
    problem, scores = synthetic(3).problem, [float("nan"), float("-inf"), 0.5]

    def diverges(choice: tuple[int, ...]) -> Found:
        return Found(scores.pop(0), problem.all_costs(choice), 0.0)

    sampler = sampler_named("random")
    trials = run_experiment(problem, sampler, Here(diverges), trials=3, seed=0, folder=tmp_path)
    assert [trial.state for trial in trials] == ["failed", "failed", "done"]
    assert trials[0].cause == "its score is no number"
    assert best_of(problem, trials) == trials[2]


def test_a_process_may_compute_for_as_long_as_it_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pocketkube.search.pool.WORKER", "tests.search.odd_worker")
    monkeypatch.setattr("pocketkube.native.child._POLL_INTERVAL_S", 0.05)
    # Some hours of many cores at every look.
    hours = itertools.count(0, 100_000)
    monkeypatch.setattr("pocketkube.native.child._processor_seconds", lambda _: next(hours))
    with processes(Path("slow"), 2) as pool:
        assert pool.start(Trial(0, (0,))).result().state == "done"
