"""Which epoch's weights training ends with, by how right each validation example is."""

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from pocketkube.training import kept_epoch
from pocketkube.training.evaluation import Scores
from pocketkube.training.method import Method
from pocketkube.training.state import TrainState

EXAMPLES = 1000


def kept_of(epochs: list[np.ndarray], monkeypatch: pytest.MonkeyPatch) -> int:
    """The epoch that is kept of such scores of each example."""
    monkeypatch.setattr(kept_epoch, "values_of", lambda judged: [])
    settings = SimpleNamespace(keep="best", epochs=len(epochs))
    course = cast(
        Any,
        SimpleNamespace(
            settings=settings,
            method=Method(),
            judged=[],
            batch_size=1,
            steps=len(epochs),
            steps_per_epoch=1,
        ),
    )
    state = TrainState()
    for each in epochs:
        judged = Scores(0.0, float(each.mean()), (), each.astype(np.float32))
        kept_epoch.keep_if_good(course, state, judged)
        state.epoch += 1
    return state.kept_epoch


def right(wrong: range) -> np.ndarray:
    """All examples are right but some."""
    return np.array([number not in wrong for number in range(EXAMPLES)], float)


def test_an_epoch_that_came_out_first_by_luck_is_not_kept(monkeypatch) -> None:
    # 20 others are wrong, and 12 right: by chance that happens in one of ten courses.
    assert kept_of([right(range(100)), right(range(12, 120))], monkeypatch) == 2


def test_an_epoch_that_did_better_is(monkeypatch) -> None:
    assert kept_of([right(range(100)), right(range(12, 140))], monkeypatch) == 1


def test_small_losses_that_add_up_are_not_chance(monkeypatch) -> None:
    falling = [right(range(100 + 3 * number)) for number in range(10)]
    # Six examples that went wrong, and none right, are 1.6 %; they are counted since the best epoch.
    assert kept_of(falling, monkeypatch) == 2


def test_a_later_epoch_that_is_the_best_is_kept_again(monkeypatch) -> None:
    scores = [right(range(100)), right(range(200)), right(range(90)), right(range(300))]
    assert kept_of(scores, monkeypatch) == 3


def test_scores_that_are_no_shares_are_compared_example_by_example(monkeypatch) -> None:
    errors = -np.random.default_rng(0).random(EXAMPLES)
    noise = np.random.default_rng(1).normal(size=EXAMPLES)
    assert kept_of([errors, errors + 0.01 * (noise - noise.mean()) - 1e-4], monkeypatch) == 2
    assert kept_of([errors, errors + 0.01 * (noise - noise.mean()) - 1e-3], monkeypatch) == 1
    assert kept_of([errors, np.full(EXAMPLES, np.nan)], monkeypatch) == 1
    assert kept_of([np.full(EXAMPLES, np.nan)], monkeypatch) == 0


@pytest.mark.parametrize("error", [1e20, 1e30])
def test_an_epoch_that_diverged_is_not_kept(monkeypatch, error: float) -> None:
    rng = np.random.default_rng(0)
    assert kept_of([-rng.random(EXAMPLES), -error * rng.random(EXAMPLES)], monkeypatch) == 1
