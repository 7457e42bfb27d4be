"""The normalised mean error and the landmarks' loss, against figures worked out apart."""

import json

import numpy as np
import pytest
import tensorflow as tf

from pocketkube.errors import UserError
from pocketkube.measures import Classes, Points, Values, measure_of, wording_of
from pocketkube.measures.paired import is_worse
from pocketkube.measures.points import normalized_errors, normalizers
from pocketkube.measures.wording import score_change
from pocketkube.training.losses import SQUARED_BELOW
from pocketkube.training.task import task_of_config
from tests.tasks import point_task

# Two faces; the second one's points all lie 0.5 off.
TRUE = np.array([[[0, 0], [4, 0], [2, 3]], [[1, 1], [1, 3], [2, 2]]], "float32")
GIVEN = TRUE + np.array([[[0, 3], [0, 0], [4, 3]], [[0.5, 0], [0, -0.5], [0.3, 0.4]]], "float32")


@pytest.mark.parametrize(
    ("by", "lengths"),
    [
        ((0, 1), [4, 2]),
        ("box_size", [12**0.5, 2**0.5]),
        ("box_diagonal", [5, 5**0.5]),
    ],
)
def test_nme_is_the_mean_distance_over_the_normaliser(by, lengths) -> None:
    distances = np.array([(3 + 0 + 5) / 3, 0.5])
    np.testing.assert_allclose(normalizers(TRUE, by), lengths, rtol=1e-6)
    np.testing.assert_allclose(normalized_errors(TRUE, GIVEN, by), distances / lengths, rtol=1e-6)
    measure = Points(by)
    judged = measure.judge(TRUE, GIVEN.reshape(2, 6), (None, 6))
    assert judged.score == pytest.approx(-np.mean(distances / lengths))
    assert judged.confusion is None
    task = point_task(measure)
    for labels in (TRUE, TRUE.reshape(2, 6)):
        np.testing.assert_allclose(task.score([labels], GIVEN), -distances / lengths, rtol=1e-6)


def test_the_loss_is_smooth_l1_over_the_normaliser_whatever_the_unit() -> None:
    task = point_task(Points((0, 1)))
    given = TRUE.copy()
    given[0, 0, 0] += 0.02  # a two hundredth of the normaliser: squared
    given[0, 2, 1] -= 2.0  # half of it
    given[1, 1] += 0.4  # a fifth, both x and y
    small = 0.005**2 / (2 * SQUARED_BELOW)
    wanted = [(small + 0.5 - SQUARED_BELOW / 2) / 6, 2 * (0.2 - SQUARED_BELOW / 2) / 6]
    np.testing.assert_allclose(task.loss([TRUE], given), wanted, rtol=1e-4)
    np.testing.assert_allclose(task.loss([TRUE / 32], given / 32), wanted, rtol=1e-4)
    np.testing.assert_allclose(task.distance_to(given / 32, [TRUE / 32], 4.0), wanted, rtol=1e-4)


def test_the_loss_has_a_gradient_where_nothing_is_off() -> None:
    task = point_task(Points("box_diagonal"))
    given = tf.Variable(TRUE)
    with tf.GradientTape() as tape:
        loss = task.loss([TRUE], given)
    np.testing.assert_array_equal(tape.gradient(loss, given), np.zeros_like(TRUE))


@pytest.mark.parametrize(
    ("by", "labels", "units", "said"),
    [
        ("box_size", np.zeros((2, 5)), 5, "have the shape (5,) an example, which cannot be points"),
        ("box_size", np.zeros((2, 3, 3)), 9, "have the shape (3, 3) an example"),
        ("box_size", np.zeros((2,), "int32"), 2, "are class numbers"),
        ((0, 3), TRUE, 6, "[0, 3] names a point beyond the 3 of faces, which are 0 to 2"),
        ((0, 1), TRUE, 8, "3 landmarks, which are 6 numbers an example, but net gives (8,)"),
        ((0, 1), TRUE * [[[1]], [[0]]], 6, "from point 0 to point 1 has no length in 1 of 2"),
        ("box_size", TRUE * [1, 0], 6, "box_size has no length in 2 of 2 examples of faces, the first"),
    ],
)
def test_labels_that_cannot_be_judged_are_one_line(by, labels, units, said) -> None:
    with pytest.raises(UserError) as caught:
        Points(by).refuse_unfit(labels, (None, units), "faces", "net")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("by", ["box", (0,), (0, -1), (0.5, 1), None])
def test_what_is_no_normaliser_is_no_measure(by) -> None:
    with pytest.raises(ValueError, match="normalize_by"):
        Points(by)


def test_a_task_is_restored_from_its_config() -> None:
    config = json.loads(json.dumps(point_task(Points((0, 1))).config))
    assert config["heads"][0]["kind"] == "landmarks"
    assert config["score_name"] == "negative_nme"
    restored = task_of_config(config)
    assert json.loads(json.dumps(restored.config)) == config
    assert restored.heads[0].measure == measure_of(config["heads"][0]) == Points((0, 1))
    given = GIVEN.reshape(2, 6)
    np.testing.assert_array_equal(
        restored.loss([TRUE], given), point_task(Points((0, 1))).loss([TRUE], given)
    )
    assert measure_of({"kind": "classification", "from_logits": True}) == Classes()
    assert measure_of({"kind": "regression"}) == Values()


def test_people_read_errors_and_percent_only_of_shares() -> None:
    assert wording_of("accuracy").shown(0.9944) == "99.44 %"
    assert wording_of("negative_nme").shown(-0.0312) == "3.12 %"
    assert wording_of("negative_mae").shown(-2.5) == "2.5"


@pytest.mark.parametrize("error", [1e19, 1e30, 3e38])
def test_single_precision_scores_of_a_model_that_diverged_are_worse(error: float) -> None:
    rng = np.random.default_rng(0)
    before = -rng.random(200).astype("float32")
    after = -error * rng.random(200).astype("float32")
    assert after.dtype == np.float32
    assert is_worse(before, after)
    assert not is_worse(after, before)


@pytest.mark.parametrize("measure", [Values(), Points((0, 1))])
def test_the_error_of_a_model_that_diverged_is_a_number(measure) -> None:
    far = np.full((2, 3, 2), 3e38, "float32")
    score = measure.judge(TRUE, far, (None, 3, 2)).score
    assert np.isfinite(score)
    assert score < -1e37


def test_an_error_that_is_no_number_is_compared_with_none() -> None:
    wording = wording_of("negative_mae")
    assert score_change(wording, -0.25, -np.inf) == ""
    assert score_change(wording, -0.25, -np.nan) == ""
    assert score_change(wording, -0.25, -0.5) == "2.00x more"
