"""A gate looks at the bad end of each interval; how often that holds what is true is counted."""

from dataclasses import replace

import numpy as np
import pytest

from pocketkube.benchmarking.environment import environment
from pocketkube.benchmarking.machine_load import Activity, Load
from pocketkube.benchmarking.results import BenchmarkReport, FileFigures, Percentiles
from pocketkube.retraining.gate import judge, score_interval
from pocketkube.retraining.lineage import GateFacts
from pocketkube.retraining.scoring import Answers
from pocketkube.retraining.settings import Gate


def figures(name: str, size_bytes: int) -> FileFigures:
    times = Percentiles(1.0, 1.1, 1.2, (0.9, 1.1))
    return FileFigures(name, "int8", None, (), size_bytes, 1, times, {"1": times}, (), 1.0, 1, {})


def report(size: int = 100, ratio: float = 1.0, interval: tuple[float, float] = (0.99, 1.01)):
    load = Load(Activity(2, 0.0, 0.0), 0.1, 1.0, ())
    return BenchmarkReport(
        files=(figures("deployed", 100), figures("new", size)),
        latency_ratio=ratio,
        latency_ratio_interval=interval,
        latency_ratios={},
        load=load,
        reference_threads=1,
        score_name=None,
        examples=0,
        environment=environment(),
    )


def answers(scores: np.ndarray) -> Answers:
    return Answers(scores, np.zeros((len(scores), 1)), ("output 0",))


GOOD = np.array([1.0] * 950 + [0.0] * 50)


def gate(measured: BenchmarkReport | None = None, candidate: np.ndarray = GOOD) -> GateFacts:
    return judge(Gate(), measured or report(), answers(GOOD), answers(candidate), "v1")


def refused(found: GateFacts) -> list[str]:
    return [each.name for each in found.criteria if not each.passed]


def test_what_is_as_good_passes() -> None:
    assert refused(gate()) == []


def test_what_is_larger_than_it_may_be_does_not() -> None:
    assert refused(gate(report(size=110))) == []
    assert refused(gate(report(size=111))) == ["size"]


def test_what_may_be_too_slow_is_too_slow() -> None:
    """Ratios are deployed over new: 0.95 is some 5 % slower."""
    assert refused(gate(report(ratio=0.95, interval=(0.93, 0.97)))) == []
    assert refused(gate(report(ratio=0.95, interval=(0.80, 1.1)))) == ["latency"]


def test_what_may_be_worse_by_more_than_it_may_is_refused() -> None:
    slightly = GOOD.copy()
    slightly[:5] = 0
    assert refused(gate(candidate=slightly)) == []
    more = GOOD.copy()
    more[:18] = 0
    (criterion,) = [each for each in gate(candidate=more).criteria if each.name == "score"]
    assert criterion.worse_by == pytest.approx(0.018)
    assert criterion.interval is not None
    assert not criterion.passed


def test_few_examples_are_no_proof() -> None:
    few = np.ones(12)
    found = judge(Gate(), report(), answers(few), answers(few), "v1")
    assert refused(found) == ["score"]


def test_what_is_no_number_is_refused() -> None:
    found = judge(Gate(), report(), answers(np.full(99, -0.1)), answers(np.full(99, np.nan)), "v1")
    assert refused(found) == ["score"]


def test_what_gives_numbers_replaces_what_gives_none() -> None:
    broken = np.full(99, -0.1)
    broken[7] = np.nan
    found = judge(Gate(), report(), answers(broken), answers(np.full(99, -0.2)), "v1")
    assert refused(found) == []
    found = judge(Gate(), report(), answers(broken), answers(broken), "v1")
    assert refused(found) == ["score"]


def test_what_tells_nothing_of_labels_is_refused_even_first() -> None:
    told_nothing = replace(answers(GOOD), at_chance="accuracy 10 % is chance")
    assert refused(judge(Gate(), report(), answers(GOOD), told_nothing, None)) == ["chance"]
    assert refused(judge(Gate(), report(), answers(GOOD), answers(GOOD), None)) == []


@pytest.mark.parametrize("kind", ["shares", "errors"])
def test_the_interval_holds_what_is_true_as_often_as_it_says(kind: str) -> None:
    rng = np.random.default_rng(0)
    held, draws, count = 0, 800, 120
    for _ in range(draws):
        if kind == "shares":
            # Wrong where the deployed one is right: 6 %; the other way round: 3 %.
            drawn = rng.random(count)
            deployed = (drawn < 0.86).astype(float)
            candidate = np.where(drawn < 0.06, 0.0, np.where(drawn > 0.97, 1.0, deployed))
            truth = 0.03
        else:
            deployed = -rng.gamma(2, 1, count)
            candidate = deployed - rng.normal(0.1, 0.5, count)
            truth = 0.1
        low, high = score_interval(deployed, candidate)
        held += low <= truth <= high
    assert 0.93 <= held / draws <= 0.975
