"""BatchNorm goes on while levels are trained, as in Keras's own training, and is folded after."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from pocketkube.api.data import dataset_of
from pocketkube.data.batches import materialize
from pocketkube.quantization.quantize import Quantized, quantize
from pocketkube.spec.sections import QuantizeWeights, Training
from pocketkube.training.course import rows_together
from pocketkube.training.loop import train
from pocketkube.training.task import infer_task

RNG = np.random.default_rng(0)
ALL = RNG.normal(size=(80, 8, 8, 3)).astype("float32"), RNG.integers(0, 4, 80)
DATA = dataset_of(ALL, None, "test")
(IMAGES,), (LABELS,) = materialize(DATA.train, None, 0)
# Nothing is learnt: what changes is what BatchNorm sees.
STILL = Training(epochs=1, batch_size=len(IMAGES), learning_rate=1e-12, keep="last")


def networked() -> keras.Model:
    """A BatchNorm behind each kind of layer of weights, with statistics that are not the data's."""
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(1)
    x = inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(6, 3, use_bias=False)(x)
    x = layers.ReLU()(layers.BatchNormalization(momentum=0.5)(x))
    x = layers.DepthwiseConv2D(3, depth_multiplier=2, padding="same")(x)
    x = layers.BatchNormalization(momentum=0.5, scale=False)(x)
    x = layers.SeparableConv2D(8, 3, padding="same")(x)
    x = layers.BatchNormalization(momentum=0.5, center=False, epsilon=0.01)(x)
    x = layers.Conv2DTranspose(5, 2)(x)
    x = layers.ReLU()(layers.BatchNormalization(momentum=0.5)(x))
    x = layers.Conv2D(6, 3, groups=1)(x)
    x = layers.BatchNormalization(momentum=0.5)(x)
    x = layers.Dense(7)(layers.Flatten()(x))
    x = layers.BatchNormalization(momentum=0.5)(x)
    model = keras.Model(inputs, layers.Dense(4, activation="softmax")(x))
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            for variable in layer.weights:
                near = 0.3 if "mean" in variable.name or "beta" in variable.name else 1.0
                variable.assign(rng.uniform(near - 0.3, near + 0.3, variable.shape))
            if layer.scale:
                # The sign of some channels turns, and one counts for nothing.
                signs = np.resize([1, -1, 1, 1, 0], layer.gamma.shape)
                layer.gamma.assign(layer.gamma * signs)
    return model


def prepared(model: keras.Model, **settings: Any) -> Quantized:
    return quantize(model, QuantizeWeights.model_validate(settings), (IMAGES,), 0)


WEIGHTS_ALONE = {"activation_bits": "float", "first_last_bits": 8, "bias_correction": False}
KINDS = [
    {},
    {"granularity": "bucket", "bucket_size": 5},
    {"scheme": "affine"},
    {"weight_bits": 3},
    {"calibration": "minmax", "ranges": "moving_average"},
    {"ranges": "moving_average"},
]


@pytest.mark.parametrize("settings", KINDS, ids=lambda each: "-".join(map(str, each.values())))
def test_what_is_taken_apart_stands_on_the_same_levels_when_it_is_folded(settings) -> None:
    model = networked()
    whole, apart = prepared(model, **settings), prepared(model, **settings)
    apart.method.train_norms()
    assert len(apart.method.layers) == 6
    for quantized in (whole, apart):
        quantized.method.finish()
    for name, form in whole.method.forms.items():
        other = apart.method.forms[name]
        # One that lay between two levels may have gone to the other.
        assert (form.levels != other.levels).mean() < 0.005, name
        np.testing.assert_allclose(form.scales, other.scales, rtol=1e-5)
    x = IMAGES[:16]
    np.testing.assert_allclose(whole.model(x), apart.model(x), atol=0.02)
    # What is finished may be finished again.
    before = apart.model(x)
    apart.method.finish()
    np.testing.assert_allclose(apart.model(x), before, atol=1e-5)


def test_training_sees_what_keras_s_own_training_sees() -> None:
    """The loss of a batch with its own statistics, and moving averages that follow them."""
    model = networked()
    model.compile(keras.optimizers.SGD(0.0), "sparse_categorical_crossentropy")
    quantized = prepared(model, **WEIGHTS_ALONE)
    quantized.method.train_norms()
    first = np.asarray(model(IMAGES))
    task = infer_task(model, *DATA.labels)
    history = train(quantized.model, DATA, task, STILL, seed=0, method=quantized.method)
    loss = model.fit(IMAGES, LABELS, batch_size=len(IMAGES), epochs=1, verbose=0).history["loss"][0]
    assert history.loss[0] == pytest.approx(loss, rel=0.02)
    after = np.asarray(model(IMAGES))
    missing = np.abs(np.asarray(quantized.model(IMAGES)) - after).mean()
    assert missing < 0.05 * np.abs(after - first).mean()


def inside_another() -> keras.Model:
    """What it calls twice has a BatchNorm behind a layer of weights."""
    x = inputs = keras.Input((8, 8, 3))
    block = keras.Sequential([layers.Conv2D(3, 3, padding="same"), layers.BatchNormalization()])
    x = layers.Flatten()(block(layers.ReLU()(block(x))))
    return keras.Model(inputs, layers.Dense(4, activation="softmax")(x))


@pytest.mark.parametrize("make", [networked, inside_another])
@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_an_epoch_is_judged_by_what_would_be_saved(make, optimizer: str) -> None:
    """The last epoch's figure, and the loss that Keras finds of what was kept."""
    keras.utils.set_random_seed(0)
    model = make()
    quantized = prepared(model)
    quantized.method.train_norms()
    course = Training(epochs=3, batch_size=32, learning_rate=0.01, keep="last", optimizer=optimizer)
    task = infer_task(model, *DATA.labels)
    history = train(quantized.model, DATA, task, course, seed=0, method=quantized.method)
    quantized.model.compile(loss="sparse_categorical_crossentropy")
    (images,), (labels,) = materialize(DATA.validation, None, 0)
    wanted = quantized.model.evaluate(images, labels, verbose=0)
    assert history.val_loss[-1] == pytest.approx(wanted, rel=1e-4)


def test_what_a_layer_adds_is_not_trained_while_its_batch_norm_takes_it_off() -> None:
    quantized = prepared(networked())
    method, model = quantized.method, quantized.model
    method.train_norms()
    # The last one has no BatchNorm behind it.
    *others, _ = (w for w in model.trainable_weights if w.name == "bias")
    asked = [tf.ones_like(w.value) for w in model.trainable_weights]
    given = method.gradients(asked, model.trainable_weights)
    moved = [w for w, g in zip(model.trainable_weights, given, strict=True) if np.any(g)]
    assert len(others) == 6
    assert not {id(w) for w in others} & {id(w) for w in moved}
    assert len(moved) == len(model.trainable_weights) - len(others)
    assert all(not np.any(w) for w in others)


def test_a_checkpoint_of_another_shift_is_not_gone_on_from(tmp_path: Path) -> None:
    ends = []
    for shift, folder in ((0.0, None), (1.0, None), (0.0, tmp_path), (1.0, tmp_path)):
        model = networked()
        last = [layer for layer in model.layers if isinstance(layer, layers.BatchNormalization)][-1]
        last.beta.assign(last.beta + shift)
        quantized = prepared(model, **WEIGHTS_ALONE)
        quantized.method.train_norms()
        task = infer_task(model, *DATA.labels)
        options = {"seed": 0, "method": quantized.method, "checkpoints": folder}
        train(quantized.model, DATA, task, STILL, **options)
        ends.append(np.asarray(quantized.model(IMAGES)))
    np.testing.assert_array_equal(ends[2], ends[0])
    np.testing.assert_array_equal(ends[3], ends[1])


def test_moving_averages_keep_up_with_a_short_course() -> None:
    """Of a BatchNorm whose own momentum is that of a network trained for days."""
    model = networked()
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.momentum = 0.999
    quantized = prepared(model, **WEIGHTS_ALONE)
    quantized.method.train_norms()
    course = STILL.model_copy(update={"epochs": 60})
    task = infer_task(model, *DATA.labels)
    train(quantized.model, DATA, task, course, seed=0, method=quantized.method)
    wanted = np.asarray(model(IMAGES, training=True))
    missing = np.abs(np.asarray(quantized.model(IMAGES)) - wanted).mean()
    # By its own momentum nine tenths were missing; rounding alone leaves some hundredths.
    assert missing < 0.1 * np.abs(wanted - np.asarray(model(IMAGES))).mean()


def test_what_a_layer_adds_before_its_batch_norm_costs_no_precision() -> None:
    """Half precision has some three digits, and batches' statistics take off what is added."""
    model = networked()
    for layer in model.layers[:-1]:
        if getattr(layer, "bias", None) is not None:
            layer.bias.assign(layer.bias + 300)
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.moving_mean.assign(layer.moving_mean + 300)
    losses = []
    for mixed in (False, True):
        quantized = prepared(model, **WEIGHTS_ALONE)
        quantized.method.train_norms()
        course = STILL.model_copy(update={"mixed_precision": mixed})
        task = infer_task(model, *DATA.labels)
        found = train(quantized.model, DATA, task, course, seed=0, method=quantized.method)
        losses += found.loss
    assert losses[1] == pytest.approx(losses[0], rel=2e-3)


def test_a_channel_whose_factor_would_turn_negative_stays_on_its_levels() -> None:
    quantized = prepared(networked(), weight_bits=3, **WEIGHTS_ALONE)
    method = quantized.method
    method.train_norms()
    for norm in method.layers:
        norm.gamma.assign(-norm.gamma)
    call = tf.function(lambda x: quantized.model(x, training=True))
    with keras.StatelessScope(state_mapping=method.replaced()), method.computing():
        computed = call(IMAGES)
    for norm in method.layers:
        norm.gamma.assign(tf.abs(norm.gamma))
    with keras.StatelessScope(state_mapping=method.replaced()), method.computing():
        np.testing.assert_allclose(call(IMAGES), computed, atol=1e-5)


def test_what_is_not_trained_or_shares_a_scale_stays_folded() -> None:
    model = networked()
    model.layers[1].trainable = False
    norms = [layer for layer in model.layers if isinstance(layer, layers.BatchNormalization)]
    norms[1].trainable = False
    quantized = prepared(model)
    quantized.method.train_norms()
    assert len(quantized.method.layers) == 4
    quantized = prepared(model, granularity="tensor")
    quantized.method.train_norms()
    assert not quantized.method.layers


@pytest.mark.parametrize(
    ("rows", "settings", "wanted"),
    [
        (32, {}, 6),
        (32, {"activation_bits": "float"}, 6),
        (31, {}, 0),
        (64, {"weight_bits": 4}, 0),
        (64, {"layers": {"dense": 4}}, 0),
        (64, {"activation_bits": 4}, 0),
    ],
    ids=["many", "float-activations", "few-rows", "few-bits", "one-of-few-bits", "few-levels"],
)
def test_batch_norm_goes_on_with_many_rows_and_all_bits(rows, settings, wanted) -> None:
    model = networked()
    model.layers[-1].name = "dense"
    method = prepared(model, **settings).method
    method.begin(rows)
    assert len(method.layers) == wanted
    assert method.rate == (0.3 if wanted else 0.1)
    assert [note.partition(" Batch")[0] for note in method.notes] == (["6 of 6"] if wanted else [])


def test_the_rate_is_lower_where_a_batch_norm_keeps_its_old_statistics() -> None:
    """As in networks whose BatchNorm comes before the convolution."""
    inputs = keras.Input((8, 8, 3))
    x = layers.BatchNormalization()(layers.Conv2D(4, 3)(inputs))
    x = layers.Conv2D(4, 3)(layers.ReLU()(layers.BatchNormalization()(layers.MaxPooling2D()(x))))
    model = keras.Model(inputs, layers.Dense(4)(layers.Flatten()(x)))
    for trained in (True, False):
        model.layers[4].trainable = trained
        method = prepared(model).method
        method.begin(64)
        assert len(method.layers) == 1
        assert method.rate == 0.1
        assert method.notes[0].startswith("1 of 2 ")


def test_a_batch_norm_that_renormalises_stays_folded() -> None:
    inputs = keras.Input((8, 8, 3))
    x = layers.BatchNormalization(renorm=True)(layers.Conv2D(4, 3)(inputs))
    method = prepared(keras.Model(inputs, layers.Dense(4)(layers.Flatten()(x)))).method
    method.begin(64)
    assert not method.layers
    assert method.rate == 0.1


def test_rows_are_those_of_all_workers_that_are_computed_together() -> None:
    course = Training(batch_size=64, workers=2, gradient_accumulation_steps=4)
    assert rows_together(course, 1000) == 16
    assert rows_together(course, 24) == 6


def test_masked_positions_do_not_count() -> None:
    inputs = keras.Input((5, 3))
    x = layers.Dense(4)(layers.Masking()(inputs))
    model = keras.Model(inputs, layers.GlobalAveragePooling1D()(layers.BatchNormalization()(x)))
    rows = RNG.normal(size=(32, 5, 3)).astype("float32")
    rows[:, 3:] = 0
    quantized = quantize(model, QuantizeWeights.model_validate(WEIGHTS_ALONE), (rows,), 0)
    method = quantized.method
    method.train_norms()
    with method.computing():
        computed = quantized.model(rows, training=True)
    np.testing.assert_allclose(computed, model(rows, training=True), atol=1e-4)
