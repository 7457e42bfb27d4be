import keras
import numpy as np
import pytest
from keras import layers
from sklearn.datasets import load_digits

from pocketkube.errors import UserError
from pocketkube.pruning.auxiliary_heads import attach_heads, loss_at, tensors
from pocketkube.pruning.calibration import Calibration
from pocketkube.pruning.prune import Pruned, prune
from pocketkube.spec.sections import PruneChannels
from tests.graph.nets import NETS
from tests.tasks import class_task, value_task

LOGITS = class_task()
TELLING = [0, 2, 4, 6]


def telling_and_loud() -> tuple[keras.Model, Calibration]:
    """Eight units, of which every second says what the class is; the others are louder.

    They are ten times as large, and add more to the next layer's outputs, but to those that the
    classifier does not look at.
    """
    x = np.random.default_rng(0).normal(size=(512, 8)).astype(np.float32)
    labels = x[:, TELLING].argmax(axis=1)
    model = keras.Sequential(
        [
            keras.Input((8,)),
            layers.Dense(8, activation="relu", name="one"),
            layers.Dense(8, activation="relu", name="two"),
            layers.Dense(8, activation="relu", name="three"),
            layers.Dense(4, name="head"),
        ]
    )
    loud = np.setdiff1d(np.arange(8), TELLING)
    sizes = np.ones(8)
    sizes[loud] = 10.0
    model.get_layer("one").kernel.assign(np.diag(sizes))
    back = np.ones(8)
    back[loud] = 0.13
    model.get_layer("two").kernel.assign(np.diag(back))
    model.get_layer("three").kernel.assign(np.eye(8))
    model.get_layer("head").kernel.assign(8.0 * np.eye(8)[:, TELLING])
    return model, Calibration((x,), (labels,), LOGITS.loss)


def accuracy(model: keras.Model, calibration: Calibration) -> float:
    outputs = model.predict(calibration.inputs[0], verbose=0)
    return float((outputs.argmax(axis=1) == calibration.labels[0]).mean())


@pytest.mark.parametrize("reconstruct", [True, False])
def test_channels_that_tell_the_labels_stay_though_others_are_louder(reconstruct: bool) -> None:
    model, calibration = telling_and_loud()
    assert accuracy(model, calibration) > 0.9

    def pruned(criterion: str) -> Pruned:
        settings = PruneChannels(
            criterion=criterion,  # type: ignore[arg-type]
            ratios={"one": 0.5},
            round_to=1,
            reconstruct=reconstruct,
        )
        return prune(model, settings, calibration=calibration)

    def inputs_read(pruned: Pruned) -> list[int]:
        return np.abs(np.asarray(pruned.model.get_layer("one").kernel)).argmax(axis=0).tolist()

    dcp, l1 = pruned("dcp"), pruned("l1")
    assert inputs_read(dcp) == TELLING
    assert accuracy(dcp.model, calibration) > 0.9
    assert inputs_read(l1) == [1, 3, 5, 7]
    # Nothing is left of what decides between four classes.
    assert accuracy(l1.model, calibration) < 0.4
    # Whose outputs matter most to the next layer's is not whose matter to the labels.
    assert inputs_read(pruned("lasso")) != TELLING


def test_a_seed_gives_the_same_network_again() -> None:
    model, calibration = telling_and_loud()
    settings = PruneChannels(criterion="dcp", ratios={"one": 0.5, "two": 0.25}, round_to=1)
    one, again = (prune(model, settings, calibration=calibration, seed=3).model for _ in range(2))
    for now, before in zip(again.get_weights(), one.get_weights(), strict=True):
        np.testing.assert_array_equal(now, before)


@pytest.fixture(scope="module")
def digits() -> tuple[keras.Model, Calibration, Calibration]:
    """A small residual network trained on digits, its training examples, and others."""
    images, labels = load_digits(return_X_y=True)
    images = (images.reshape(-1, 8, 8, 1) / 16.0).astype(np.float32)
    keras.utils.set_random_seed(0)
    x = inputs = keras.Input((8, 8, 1))
    for block, channels in enumerate((8, 16, 16), start=1):
        x = conv(x, channels, f"block{block}_in")
        y = conv(layers.ReLU()(x), channels, f"block{block}_a")
        x = layers.Add()([x, conv(layers.ReLU()(y), channels, f"block{block}_b")])
        x = layers.ReLU()(x)
        x = layers.MaxPooling2D()(x)
    model = keras.Model(inputs, layers.Dense(10, name="head")(layers.Flatten()(x)))
    model.compile(
        keras.optimizers.Adam(3e-3), keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    model.fit(images[:1280], labels[:1280], batch_size=32, epochs=6, verbose=0)

    def part(rows: slice) -> Calibration:
        return Calibration((images[rows],), (labels[rows],), LOGITS.loss)

    return model, part(slice(0, 256)), part(slice(1280, None))


def conv(x: keras.KerasTensor, channels: int, name: str) -> keras.KerasTensor:
    x = layers.Conv2D(channels, 3, padding="same", use_bias=False, name=name)(x)
    return layers.BatchNormalization(momentum=0.9, name=f"{name}_norm")(x)


def test_a_residual_network_without_fine_tuning(digits) -> None:
    model, seen, unseen = digits
    weights = model.get_weights()

    def pruned(criterion: str) -> Pruned:
        return prune(model, PruneChannels(criterion=criterion, round_to=1), speedup=5, calibration=seen)  # type: ignore[arg-type]

    # At 3x, which of the two is better differs from one trained network to the next.
    dcp, l1 = pruned("dcp"), pruned("l1")
    assert 5 <= dcp.before.macs / dcp.after.macs <= 5 * 1.02
    assert accuracy(model, unseen) > 0.9
    assert accuracy(dcp.model, unseen) > accuracy(l1.model, unseen)
    # The heads are in neither, and the original is what it was.
    assert [layer.name for layer in dcp.model.layers] == [layer.name for layer in model.layers]
    for now, was in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(now, was)


def test_heads_learn_the_labels_and_see_more_the_later_they_are(digits) -> None:
    model, seen, _ = digits
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    heads = attach_heads(copy, seen)
    batch = tensors(seen)[0]
    losses = [float(loss_at(copy, head, seen, *batch)) for head in (*heads, None)]
    assert len(losses) > 2
    assert losses[0] < np.log(10)
    assert losses == sorted(losses, reverse=True)


@pytest.mark.parametrize("net", ["transformer", "nested_and_shared"])
def test_networks_of_other_kinds_go_through(net: str) -> None:
    model = NETS[net]()
    rng = np.random.default_rng(0)
    shape = (96, *model.input_shape[1:])
    x = rng.integers(0, 20, shape) if net == "transformer" else rng.normal(size=shape)
    calibration = Calibration(
        (x.astype(model.inputs[0].dtype),), (rng.integers(0, 5, 96),), LOGITS.loss
    )
    settings = PruneChannels(criterion="dcp", round_to=1)
    pruned = prune(model, settings, speedup=1.3, calibration=calibration)
    assert pruned.before.macs / pruned.after.macs >= 1.3


def test_values_as_labels_and_a_map_as_output() -> None:
    """Heads answer in the form of the output: here a value for each pixel, at half the size within."""
    keras.utils.set_random_seed(0)
    x = inputs = keras.Input((8, 8, 2))
    for number in range(3):
        x = layers.Conv2D(8, 3, padding="same", activation="relu", name=f"conv{number}")(x)
        x = layers.MaxPooling2D()(x) if number == 0 else x
    x = layers.Conv2DTranspose(4, 2, strides=2, activation="relu", name="up")(x)
    model = keras.Model(inputs, layers.Conv2D(1, 1, name="head")(x))
    images = np.random.default_rng(0).normal(size=(128, 8, 8, 2)).astype(np.float32)
    task = value_task()
    calibration = Calibration((images,), (1000 * images.sum(axis=-1, keepdims=True),), task.loss)
    heads = attach_heads(model, calibration)
    assert heads
    assert all(branch.by_position for head in heads for branch in head.branches)
    pruned = prune(
        model, PruneChannels(criterion="dcp", round_to=1), speedup=2, calibration=calibration
    )
    assert pruned.model.output_shape == model.output_shape
    assert np.isfinite(pruned.model.predict(images, verbose=0)).all()


def test_without_examples_it_says_what_to_use() -> None:
    with pytest.raises(UserError, match="dcp looks at examples: give a dataset"):
        prune(NETS["residual"](), PruneChannels(criterion="dcp"), speedup=2)
