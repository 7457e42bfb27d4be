"""Drift is what is more than a bound, and more than chance: counted over many draws, not believed."""

import shutil
import tracemalloc
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from pocketkube.facts import load_exported
from pocketkube.measures.paired import CHANCE
from pocketkube.retraining import scoring
from pocketkube.retraining.drift import drift_of, fallen_by_chance, score_drift
from pocketkube.retraining.scoring import Answers, answers_of
from pocketkube.retraining.settings import Drift

FACTS = Path(__file__).parents[1] / "old_files" / "exported.json"


def right(share: float, count: int, rng: np.random.Generator) -> np.ndarray:
    return (rng.random(count) < share).astype(np.float64)


def test_of_what_is_alike_few_seem_worse() -> None:
    rng = np.random.default_rng(0)
    alarms = [fallen_by_chance(right(0.9, 200, rng), right(0.9, 300, rng)) < CHANCE for _ in range(400)]
    errors = [
        fallen_by_chance(-rng.gamma(2, 1, 200), -rng.gamma(2, 1, 300)) < CHANCE for _ in range(400)
    ]
    # Some 9 of 400 each; the exact test stays below.
    assert sum(alarms) <= 18
    assert 1 <= sum(errors) <= 18


def test_of_what_is_worse_most_are_found() -> None:
    rng = np.random.default_rng(0)
    found = [score_drift(right(0.9, 200, rng), right(0.7, 300, rng), 0.02).drifted for _ in range(50)]
    assert sum(found) >= 48
    found = [
        score_drift(-rng.gamma(2, 1, 200), -rng.gamma(2, 1.5, 300), 0.02).drifted for _ in range(50)
    ]
    assert sum(found) >= 48


def test_it_takes_the_bound_and_more_than_chance() -> None:
    rng = np.random.default_rng(0)
    before, now = right(0.95, 20000, rng), right(0.94, 20000, rng)
    assert fallen_by_chance(before, now) < CHANCE
    assert not score_drift(before, now, 0.02).drifted
    assert score_drift(before, now, 0.001).drifted
    # Ten examples tell little.
    assert not score_drift(np.ones(10), np.array([1.0] * 9 + [0.0]), 0.02).drifted


def test_scores_that_are_no_numbers_have_fallen() -> None:
    assert score_drift(np.full(50, -0.1), np.full(50, np.nan), 0.02).drifted


def test_scores_without_spread_are_compared() -> None:
    assert score_drift(np.full(50, -0.1), np.full(50, -0.9), 0.02).drifted
    assert not score_drift(np.full(50, -0.9), np.full(50, -0.1), 0.02).drifted


def answers(signals: np.ndarray) -> Answers:
    names = tuple(f"output {place}" for place in range(signals.shape[1]))
    return Answers(np.ones(len(signals)), signals, names)


def test_outputs_alone_tell_a_shift() -> None:
    rng = np.random.default_rng(0)
    before, same, other = (rng.normal(size=(300, 10)) for _ in range(3))
    other[:, 3] += 1
    settings = Drift(max_distance=0.2)
    alike = drift_of(settings, answers(before), answers(same))
    assert not alike.beyond_chance
    assert not alike.drifted
    shifted = drift_of(settings, answers(before), answers(other))
    assert shifted.signals[0].name == "output 3"
    assert 0.3 < shifted.signals[0].distance < 0.5
    assert shifted.drifted
    # Without a bound it is told, and decides nothing.
    told = drift_of(Drift(), answers(before), answers(other))
    assert told.beyond_chance
    assert not told.drifted


def test_of_many_that_are_alike_few_lie_beyond_chance() -> None:
    rng = np.random.default_rng(1)
    found = [
        drift_of(Drift(), answers(rng.normal(size=(100, 12))), answers(rng.normal(size=(150, 12))))
        for _ in range(150)
    ]
    assert sum(each.beyond_chance for each in found) <= 9


@pytest.mark.parametrize("precision", [np.float32, np.float64])
def test_what_is_the_same_is_at_no_distance(precision: type) -> None:
    signals = np.random.default_rng(0).normal(size=(50, 2))
    kept = answers(signals.astype(np.float32))
    found = drift_of(Drift(), kept, answers(signals.astype(precision)))
    assert found.signals[0].distance == 0


class Wide:
    """Stands for a LiteRT file that says ten classes for each of 1024 pixels: 40 KB an example."""

    output_shapes = ((1, 32, 32, 10),)

    def __init__(self, file: Path) -> None:
        self.name = file.name

    def fit_inputs(self, inputs: Sequence[np.ndarray], origin: str) -> None:
        """Takes any."""

    def predict(self, inputs: Sequence[np.ndarray]) -> Iterator[tuple[np.ndarray, ...]]:
        for (seed,) in inputs[0]:
            yield (np.random.default_rng(int(seed)).random(self.output_shapes[0], "float32"),)


def test_wide_outputs_are_scored_in_the_room_of_a_few(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(scoring, "LiteRTModel", Wide)
    shutil.copyfile(FACTS, tmp_path / "bundle.json")
    facts, inputs = load_exported(tmp_path), np.arange(200, dtype="float32")[:, None]
    labels = np.random.default_rng(0).integers(0, 10, (200, 32, 32), "int32")

    def answered() -> Answers:
        return answers_of(tmp_path / "net.tflite", facts, (inputs,), (labels,), "the data")

    whole = answered()
    monkeypatch.setattr(scoring, "LARGEST_OUTPUTS", 7 * 10240)
    tracemalloc.start()
    found = answered()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 200 * 40960 / 2
    np.testing.assert_array_equal(found.scores, whole.scores)
    np.testing.assert_array_equal(found.signals, whole.signals)
    assert found.names == whole.names
