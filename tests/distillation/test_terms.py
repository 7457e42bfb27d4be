"""The terms of distillation against their formulas, worked out with numpy."""

import keras
import numpy as np
import pytest
from keras import layers

from pocketkube.distillation.observed import features_of
from pocketkube.distillation.pairs import chosen_pairs, named_pairs
from pocketkube.distillation.terms import attention_distance, feature_distance
from pocketkube.errors import UserError
from pocketkube.models import build_model
from tests.tasks import class_task, value_task

RNG = np.random.default_rng(0)


def unit(x: np.ndarray) -> np.ndarray:
    rows = x.reshape(len(x), -1)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def halved(x: np.ndarray) -> np.ndarray:
    n, h, w = x.shape[:3]
    return x.reshape(n, h // 2, 2, w // 2, 2, *x.shape[3:]).mean(axis=(2, 4))


def normal(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype("float32")


@pytest.mark.parametrize("larger", ["student", "teacher", "neither"])
def test_features_are_compared_after_a_projection(larger: str) -> None:
    student = normal(3, 8 if larger == "student" else 4, 8 if larger == "student" else 4, 5)
    teacher = normal(3, 8 if larger == "teacher" else 4, 8 if larger == "teacher" else 4, 7)
    kernel, bias = normal(5, 7), normal(7)
    s = halved(student) if larger == "student" else student
    t = halved(teacher) if larger == "teacher" else teacher
    wanted = ((unit(s @ kernel + bias) - unit(t)) ** 2).sum(axis=1)
    np.testing.assert_allclose(feature_distance(student, teacher, kernel, bias), wanted, rtol=1e-4)
    # Whatever the layers' scales.
    np.testing.assert_allclose(feature_distance(student, 9 * teacher, kernel, bias), wanted, rtol=1e-4)


def test_attention_maps_are_sums_of_squares() -> None:
    student, teacher = normal(3, 4, 4, 5), normal(3, 8, 8, 7)
    maps = (student**2).sum(-1), halved((teacher**2).sum(-1))
    wanted = ((unit(maps[0]) - unit(maps[1])) ** 2).sum(axis=1)
    np.testing.assert_allclose(attention_distance(student, teacher), wanted, rtol=1e-4)
    np.testing.assert_allclose(attention_distance(student, 3 * student), 0.0, atol=1e-6)


def test_sizes_that_do_not_divide_are_averaged_by_their_overlap() -> None:
    student = np.ones((1, 2, 1), "float32")
    teacher = np.array([[[1.0], [2.0], [4.0]]], "float32") ** 0.5
    # Two stretches of one entry and a half.
    maps = np.array([[1.0, 1.0]]), np.array([[(1 + 0.5 * 2) / 1.5, (0.5 * 2 + 4) / 1.5]])
    wanted = ((unit(maps[0]) - unit(maps[1])) ** 2).sum()
    assert float(attention_distance(student, teacher)[0]) == pytest.approx(wanted, rel=1e-4)


def test_teachers_together_say_the_mean_of_their_distributions() -> None:
    outputs = normal(2, 6, 4)
    probabilities = np.exp(outputs / 2) / np.exp(outputs / 2).sum(-1, keepdims=True)
    task = class_task(4)
    (given,) = task.mean_of_softened([task.softened(each, 2.0) for each in outputs])
    np.testing.assert_allclose(np.exp(given), probabilities.mean(axis=0), rtol=1e-4)
    regression = value_task()
    (mean,) = regression.mean_of_softened([regression.softened(each, 2.0) for each in outputs])
    np.testing.assert_allclose(mean, outputs.mean(axis=0), rtol=1e-5)


def paths(pairs) -> list[tuple[str, str]]:
    return [(ours.path, theirs.path) for ours, theirs in pairs]


def features(model: keras.Model):
    return features_of(model, [model.inputs[0].shape[1:]])


def test_the_last_activations_at_each_resolution_are_paired() -> None:
    small, large = (features(build_model(n, (32, 32, 3), 10)) for n in ("resnet20", "resnet32"))
    pairs = chosen_pairs(small, large)
    assert [(a.shape[:2], b.shape[:2]) for a, b in pairs] == [((n, n), (n, n)) for n in (32, 16, 8)]
    lenet = features(build_model("lenet", (32, 32, 3), 10))
    found = [(a.path, b.shape[0]) for a, b in chosen_pairs(lenet, large)]
    assert found == [("conv1", 32), ("conv2", 8)]


def test_layers_of_a_nested_model_can_be_named() -> None:
    inner = keras.Sequential([keras.Input((8, 8, 1)), layers.Conv2D(4, 3, name="conv")], name="body")
    nested = keras.Sequential([keras.Input((8, 8, 1)), inner, layers.Flatten(), layers.Dense(3)])
    found = features(nested)
    assert found["body/conv"].shape == (6, 6, 4)
    (pair,) = named_pairs({"body/conv": "body/conv"}, found, found, attention=True)
    assert pair[0] is found["body/conv"]


@pytest.mark.parametrize(
    ("names", "attention", "said"),
    [
        ({"conv": "conv1"}, False, "conv is no layer of the student; did you mean conv2 or conv1?"),
        ({"conv1": "xyz"}, False, "xyz is no layer of the teacher; there are: conv1, pool1, "),
        (
            {"conv1": "dense1"},
            False,
            "conv1 gives 28 x 28 x 6 and the teacher's dense1 120; they",
        ),
        ({"dense1": "dense1"}, True, "dense1 has no positions, which attention_weight compares"),
    ],
)
def test_layers_that_cannot_be_compared_are_refused(names, attention: bool, said: str) -> None:
    found = features(build_model("lenet", (32, 32, 1), 10))
    with pytest.raises(UserError, match=rf"^distillation\.layers: {said}"):
        named_pairs(names, found, found, attention=attention)


def test_without_activations_layers_have_to_be_named() -> None:
    plain = features(keras.Sequential([keras.Input((4,)), layers.Dense(3, activation="relu")]))
    with pytest.raises(UserError, match=r"the teacher has no activations over several positions.*name"):
        chosen_pairs(plain, plain)
