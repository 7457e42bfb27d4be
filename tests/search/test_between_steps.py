"""A trial that is fine-tuned tells its score between steps, and nothing else is changed by that."""

from datetime import datetime
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

from pocketkube.data.batches import materialize
from pocketkube.quantization.quantize import quantize
from pocketkube.search.between_steps import ScoredBetween, steps_between
from pocketkube.search.prepared import open_prepared
from pocketkube.search.space_of import SearchedStages
from pocketkube.search.trial_command import run_trial
from pocketkube.spec.sections import QuantizeWeights, Training
from pocketkube.training.loop import train
from pocketkube.training.method import CombinedMethod
from pocketkube.training.task import infer_task
from tests.search.nets import bits, dataset, prepare_trained_trials, pruning


@pytest.mark.parametrize(
    ("steps", "expected"), [(1, []), (2, [1]), (5, [1, 2, 3, 4]), (100, [20, 40, 60, 80])]
)
def test_scores_are_evenly_spaced(steps: int, expected: list[int]) -> None:
    assert sorted(steps_between(steps)) == expected


@pytest.mark.parametrize("searched", [pruning(), bits(8.0)], ids=["channels", "bits"])
def test_a_trials_end_is_the_same_bit_by_bit_whether_it_told_scores_before(
    tmp_path: Path, searched: SearchedStages
) -> None:
    prepare_trained_trials(tmp_path, searched, 10, Training(learning_rate=2e-3, batch_size=64))
    folder = tmp_path / "bundle"
    evaluator = open_prepared(folder, remembers=False)
    space = evaluator.problem.space
    # Of 8 bits everywhere, as fewer leave BatchNorm folded.
    choice = tuple(int(size - 1 if searched.quantize else size // 4) for size in space.sizes)
    silent = evaluator.evaluate(choice)
    words = [f"{name}={value!r}" for name, value in space.values(np.array(choice)).items()]
    run_trial(str(folder), tmp_path / "metrics.log", words, as_given=True)
    lines = (tmp_path / "metrics.log").read_text().splitlines()
    scored = [line.split(" score=") for line in lines if " score=" in line]
    assert len(scored) == 5
    assert float(scored[-1][1]).hex() == silent.score.hex()
    assert len({score for _, score in scored}) > 1
    times = [datetime.fromisoformat(time) for time, _ in scored]
    assert times == sorted(set(times))
    # What one that is ended early has told by then.
    known = dict(line.split("=") for line in lines[: -len(scored)])
    applied = space.choice({name: float(known[f"applied.{name}"]) for name in space.names})
    assert tuple(applied) == choice
    cost = "macs" if searched.prune else "mean_bits"
    assert float(known[cost]) == pytest.approx(silent.costs[cost])


def quantised_and_trained(levels: list[int] | None) -> list[np.ndarray]:
    """What training gives; the levels of a kernel of 3 bits between steps are added to a list."""
    keras.utils.set_random_seed(0)
    x = images = keras.Input((12, 12, 1))
    x = layers.Dense(16, "relu", name="first")(layers.Flatten()(x))
    x = layers.Dense(16, "relu", name="middle")(x)
    model = keras.Model(images, layers.Dense(10)(x))
    inputs, _ = materialize(dataset().train, 64, 0)
    quantized = quantize(model, QuantizeWeights(weight_bits=3, granularity="tensor"), inputs, 0)
    method = quantized.method
    if levels is not None:
        (kernel,) = (w for w in quantized.model.weights if w.path.endswith("middle/kernel"))

        def score() -> float:
            kernel_now = np.asarray(kernel)
            # What scores it may change it, too.
            kernel.assign(0 * kernel_now)
            return float(len(np.unique(kernel_now)))

        told = ScoredBetween(
            method, quantized.model.variables, score, lambda found: levels.append(int(found))
        )
        method = CombinedMethod([told, method])
    training = Training(epochs=1, batch_size=200)
    train(quantized.model, dataset(), infer_task(model, 10), training, seed=1, method=method)
    return [np.asarray(weight) for weight in quantized.model.weights]


def test_a_quantised_network_is_scored_as_if_training_ended_and_trains_on_as_if_it_had_not() -> None:
    levels: list[int] = []
    for one, other in zip(quantised_and_trained(None), quantised_and_trained(levels), strict=True):
        np.testing.assert_array_equal(one, other)
    assert len(levels) == 4
    assert max(levels) <= 8
