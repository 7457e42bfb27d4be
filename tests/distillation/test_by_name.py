"""Teachers, and models that are compared, are matched by names of inputs and outputs, not by place."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import keras
import numpy as np
import pytest
from keras import layers

import pocketkube as pk
from pocketkube.api.data import dataset_of
from pocketkube.bundle import Bundle
from pocketkube.graph.by_name import Order, in_order, order_of
from pocketkube.spec.sections import Distillation, Training
from pocketkube.stages.teaching import load_teachers

RNG = np.random.default_rng(0)
SIZE = 120
X = {name: RNG.normal(size=(SIZE, 4)).astype("float32") for name in ("left", "right")}
Y = {"alpha": np.arange(SIZE) % 2, "beta": np.arange(SIZE) % 5}
COURSE: Any = {"epochs": 1, "distillation": {"weight": 1.0}, "training": {"batch_size": 32}}


def net(inputs: str = "left right", outputs: str = "alpha beta", *, named: bool = True) -> keras.Model:
    """The same function with its inputs and outputs in any order, and as a dict if told so."""
    keras.utils.set_random_seed(0)
    given = {name: keras.Input((4,), name=name if named else None) for name in ("left", "right")}
    x = layers.Concatenate()([given["left"], layers.Rescaling(3.0)(given["right"])])
    x = layers.Dense(8, activation="relu")(x)
    made = {
        name: layers.Dense(units, name=name if named else None)(x)
        for name, units in (("alpha", 2), ("beta", 5))
    }
    of_inputs = given if inputs == "dict" else [given[name] for name in inputs.split()]
    of_outputs = made if outputs == "dict" else [made[name] for name in outputs.split()]
    model = keras.Model(of_inputs, of_outputs, name="net")
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    if named:
        model.compile("adam", loss={"alpha": loss, "beta": loss}, loss_weights={"alpha": 1, "beta": 3})
    return model


@pytest.mark.parametrize(
    "student",
    [
        {"outputs": "beta alpha"},
        {"inputs": "right left"},
        {"inputs": "right left", "outputs": "beta alpha"},
        {"inputs": "dict", "outputs": "beta alpha"},
        {"outputs": "dict"},
    ],
)
@pytest.mark.parametrize("teacher", [{}, {"inputs": "right left", "outputs": "dict"}])
def test_a_student_that_answers_as_its_teacher_has_nothing_to_learn(student, teacher) -> None:
    taught = pk.distil(net(**student), (X, Y), teacher=net(**teacher), **COURSE)
    assert taught.steps[-1].history.loss[0] == pytest.approx(0.0, abs=1e-6)
    # Crosswise, two classes would be held against five.
    assert [head.num_classes for head in taught.task.heads] == [
        y.shape[-1] for y in taught.model.outputs
    ]


def test_without_labels_the_teachers_answers_go_to_outputs_of_their_names() -> None:
    taught = pk.fine_tune(net(outputs="beta alpha"), X, teacher=net("right left"), **COURSE)
    assert taught.steps[-1].history.loss[0] == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("data", [(X, Y), X])
def test_the_same_function_in_another_order_is_the_same(data) -> None:
    found = pk.compare(net(), net("right left", "beta alpha"), data)
    assert [each.name for each in found.outputs] == ["alpha", "beta"]
    assert [each.relative_error for each in found.outputs] == [0.0, 0.0]
    assert found.agreement == 1.0
    assert found.before.score == found.after.score


def test_losses_and_their_weights_follow_their_outputs() -> None:
    model = net()
    made = in_order(model, order_of(model, net("right left", "beta alpha")))
    given = [X["left"][:8], X["right"][:8]]
    wanted = model.evaluate(given, [Y["alpha"][:8], Y["beta"][:8]], verbose=0)
    found = made.evaluate(given[::-1], [Y["beta"][:8], Y["alpha"][:8]], verbose=0)
    assert np.ravel(found)[0] == pytest.approx(np.ravel(wanted)[0], rel=1e-6)
    assert model.get_layer("alpha") is made.get_layer("alpha")


def test_names_that_keras_gave_say_nothing() -> None:
    one, other = (net(outputs=outputs, named=False) for outputs in ("alpha beta", "beta alpha"))
    for model in (one, other):
        for layer, name in zip(model.layers[-2:], ("dense_7", "dense_8"), strict=True):
            layer.name = name
    assert order_of(one, other) == Order(None, None)
    assert order_of(net(), net(outputs="beta alpha")) == Order(None, (1, 0))


def test_teachers_of_a_job_follow_the_model_that_it_began_with(tmp_path: Path) -> None:
    first = net()
    net("right left", "beta alpha").save(tmp_path / "other.keras")
    settings = Distillation(teachers=(str(tmp_path / "other.keras"),))
    config = SimpleNamespace(distillation=settings, task=None, training=Training())
    dataset = dataset_of((X, Y), first, "test")
    (teacher,) = load_teachers(cast(Any, config), Bundle(first), dataset)
    assert [head.name for head in teacher.task.heads] == ["alpha", "beta"]
    given = [X["left"][:8], X["right"][:8]]
    for ours, theirs in zip(teacher.model(given), first(given), strict=True):
        np.testing.assert_array_equal(ours, theirs)
