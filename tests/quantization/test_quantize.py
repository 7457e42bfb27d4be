"""Quantised models keep their accuracy, their zeros and their levels, and so do their files."""

from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema
from keras import layers

from pocketkube.data import load_dataset
from pocketkube.data.batches import materialize
from pocketkube.deploy import check_agreement, convert_litert, notes_on
from pocketkube.deploy.integers import put_integers
from pocketkube.errors import UserError
from pocketkube.graph.kernels import kernels_of
from pocketkube.litert.running import LiteRTModel
from pocketkube.measures import Classes
from pocketkube.packing import decode, read_forms, write_packed
from pocketkube.quantization.aware import QuantizationAware
from pocketkube.quantization.fake_quantize import FakeQuantize
from pocketkube.quantization.insertion import prepare
from pocketkube.quantization.integer_kernels import integer_kernels
from pocketkube.quantization.quantize import Quantized, quantize
from pocketkube.sparsity import KeptZeros
from pocketkube.spec.sections import DatasetSettings, QuantizeWeights, Training
from pocketkube.stages.begun import begin_quantizing
from pocketkube.training.evaluation import evaluate
from pocketkube.training.loop import train
from pocketkube.training.method import CombinedMethod
from pocketkube.training.task import Task, infer_task
from tests.quantization.test_insertion import after_dense, settled

DIGITS = load_dataset(DatasetSettings(builtin="digits"))
CALIBRATION, _ = materialize(DIGITS.train, 256, 0)
# Where it does not matter how good ranges are.
FEW = tuple(array[:16] for array in CALIBRATION)
TEST, _ = materialize(DIGITS.test, None, 0)
COURSE = Training(epochs=2, batch_size=64, learning_rate=2e-4)


@pytest.fixture(scope="module")
def dense() -> keras.Model:
    """A small network with depthwise kernels, BatchNorm, ReLU6, a sum and an average."""
    keras.utils.set_random_seed(0)
    x = inputs = keras.Input((32, 32, 1))

    def block(x, layer, name: str):
        x = layers.BatchNormalization(momentum=0.9, name=f"{name}_norm")(layer(x))
        return layers.ReLU(6.0, name=f"{name}_relu")(x)

    x = block(x, layers.Conv2D(16, 3, strides=2, padding="same", name="stem"), "stem")
    for number in (1, 2):
        y = block(x, layers.DepthwiseConv2D(3, padding="same", name=f"d{number}"), f"d{number}")
        y = layers.Conv2D(16, 1, use_bias=False, name=f"p{number}")(y)
        y = layers.BatchNormalization(momentum=0.9, name=f"p{number}_norm")(y)
        x = layers.Add(name=f"sum{number}")([x, y])
    x = block(layers.AveragePooling2D(2)(x), layers.Conv2D(48, 3, padding="same", name="c"), "c")
    x = layers.GlobalAveragePooling2D()(layers.MaxPooling2D(2)(x))
    model = keras.Model(inputs, layers.Dense(10, name="logits")(x), name="small")
    train(model, DIGITS, task_of(model), Training(epochs=10, batch_size=32, learning_rate=5e-3), seed=0)
    assert score(model) > 0.9
    return model


def task_of(model: keras.Model) -> Task:
    return infer_task(model, 10)


def calibrated(model: keras.Model, **settings) -> Quantized:
    return calibrated_on(model, *CALIBRATION, **settings)


def to_train(model: keras.Model, settings: QuantizeWeights, examples=CALIBRATION) -> Quantized:
    """As a stage begins to train."""
    quantized = quantize(model, settings, examples, 0)
    quantized.method.train_norms()
    return quantized


def calibrated_on(model: keras.Model, *examples: np.ndarray, **settings) -> Quantized:
    quantized = quantize(model, QuantizeWeights(**settings), examples, 0)
    quantized.method.finish()
    return quantized


@pytest.fixture(scope="module")
def in_eight_bits(dense: keras.Model) -> tuple[Quantized, bytes]:
    """The network in eight bits, and its file."""
    quantized = calibrated(dense)
    return quantized, written(quantized)


def score(model: keras.Model) -> float:
    return evaluate(model, DIGITS.test, task_of(model)).score


def written(quantized: Quantized, number_format: str = "int8") -> bytes:
    model = quantized.model
    integers = integer_kernels(model, quantized.method.forms)
    return convert_litert(model, number_format, rounds_itself=True, kernels=integers)


def tensors_of(content: bytes) -> tuple[list, list]:
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(bytearray(content), 0))
    return model.subgraphs[0].tensors, model.buffers


def test_eight_bits_cost_nothing_and_the_file_does_what_the_model_does(dense, in_eight_bits) -> None:
    quantized, content = in_eight_bits
    assert score(quantized.model) > score(dense) - 0.005
    agreement = check_agreement(content, quantized.model, TEST, 0.995, measure=Classes())
    assert agreement.examples == 359
    # Nothing but the ends is computed in floats.
    tensors, _ = tensors_of(content)
    floats = [tensor for tensor in tensors if tensor.type == schema.TensorType.FLOAT32]
    assert len(floats) == 2


@pytest.mark.parametrize("granularity", ["tensor", "channel"])
def test_four_bits_are_stored_in_four_and_stand_for_the_models_weights(
    dense, in_eight_bits, granularity
) -> None:
    quantized = calibrated(dense, weight_bits=4, granularity=granularity)
    content, (_, eight) = written(quantized), in_eight_bits
    # Of networks trained from 24 seeds, 356 to 359 of 359 examples agree.
    check_agreement(content, quantized.model, TEST, 0.99, measure=Classes())
    tensors, buffers = tensors_of(content)
    stored = [tensor for tensor in tensors if tensor.type == schema.TensorType.INT4]
    kernels = list(kernels_of(quantized.model))[1:-1]
    assert len(stored) == len(kernels)
    count = sum(int(np.prod(kernel.variable.shape)) for kernel in kernels)
    assert len(eight) - len(content) == pytest.approx(count / 2, rel=0.15)
    # The last of them, unpacked and scaled, is Keras's, bit for bit.
    kernel = np.asarray(kernels[-1].variable)
    (tensor,) = [each for each in stored if each.shape[0] == kernel.shape[-1] == 48]
    data = np.asarray(buffers[tensor.buffer].data, np.uint8)
    nibbles = np.stack([data & 15, data >> 4], axis=1).ravel().astype(np.int8)
    values = np.where(nibbles > 7, nibbles - 16, nibbles).reshape(tensor.shape)
    scales = np.asarray(tensor.quantization.scale, np.float32)
    np.testing.assert_array_equal(values * scales[:, None, None, None], np.moveaxis(kernel, -1, 0))


def test_weights_alone_on_levels_are_integers_in_a_file_of_floats(dense: keras.Model) -> None:
    quantized = calibrated(dense, weight_bits=6, activation_bits="float")
    assert not any(isinstance(layer, FakeQuantize) for layer in quantized.model.layers)
    content = written(quantized, "dynamic")
    check_agreement(content, quantized.model, TEST, 0.99, measure=Classes())
    assert len(content) < 0.5 * len(convert_litert(dense, "float32"))


def test_four_bits_stay_out_of_what_cannot_be_run_with_them() -> None:
    keras.utils.set_random_seed(0)
    parts = [layers.Conv2D(64, 3), layers.DepthwiseConv2D(5), layers.Conv2D(4, 1)]
    model = keras.Sequential([keras.Input((12, 12, 8)), *parts, layers.Flatten()])
    images = np.random.default_rng(0).uniform(size=(50, 12, 12, 8)).astype("float32")
    floats = {"activation_bits": "float", "weight_bits": 4, "first_last_bits": 4}
    content = written(calibrated_on(model, images, **floats), "dynamic")
    (outputs,) = next(LiteRTModel(content).predict([images]))
    assert outputs.std() > 0
    assert notes_on(content, "dynamic") == [
        "Kernels in the file: 1 in 4 bits, 1 in 8 bits and 1 as floats."
    ]
    content = written(calibrated_on(model, images, weight_bits=4, first_last_bits=4))
    assert notes_on(content, "int8") == ["Kernels in the file: 3 in 4 bits."]


def test_what_no_layer_takes_up_is_integers_too() -> None:
    model = settled(after_dense())
    images = np.random.default_rng(0).uniform(0, 255, (300, 6, 6, 3)).astype("float32")
    quantized = calibrated_on(model, images, weight_bits=4, first_last_bits=6)
    # The convolution is the first layer, not the Rescaling before it.
    assert sorted(each.bits for each in quantized.method.kernels) == [4, 6, 6, 8, 8, 8, 8]
    content = written(quantized)
    assert notes_on(content, "int8") == ["Kernels in the file: 1 in 4 bits and 6 in 8 bits."]
    check_agreement(content, quantized.model, (images,), 0.97)
    # Eight bits compute what the floats do.
    given = calibrated_on(model, images).model.predict(images, verbose=0)
    whole = model.predict(images, verbose=0)
    assert np.abs(given - whole).mean() < 0.05 * whole.std()


@pytest.mark.parametrize("bits", [2, 4])
def test_activations_take_no_more_values_than_their_bits_allow(dense: keras.Model, bits: int) -> None:
    model = calibrated(dense, activation_bits=bits).model
    roundings = [layer for layer in model.layers if isinstance(layer, FakeQuantize)]
    watcher = keras.Model(model.inputs, [layer.output for layer in roundings])
    for layer, values in zip(roundings, watcher(TEST[0][:64]), strict=True):
        found = np.unique(values)
        assert len(found) <= 2**bits, layer.name
        # Zero padding has to be on a level.
        assert 0 in found or found.min() > 0 or found.max() < 0


def test_few_bits_of_activations_are_rounded_in_the_file_as_in_the_model(dense: keras.Model) -> None:
    model = calibrated(dense, activation_bits=4).model
    # Averages of four levels often lie halfway between two, where a float's last bit decides.
    pool = next(layer for layer in model.layers if isinstance(layer, layers.AveragePooling2D))
    model = keras.Model(model.inputs, pool.input)
    wanted = model.predict(TEST[0], verbose=0)
    file = LiteRTModel(convert_litert(model, "float32", rounds_itself=True))
    given = np.concatenate([outputs[0] for outputs in file.predict(TEST)])
    assert len(np.unique(wanted)) <= 16
    assert (np.abs(given - wanted) < 1e-5).mean() > 0.9999


@pytest.mark.parametrize("granularity", ["tensor", "channel", "bucket"])
@pytest.mark.parametrize("scheme", ["symmetric", "affine"])
def test_every_group_has_as_many_values_as_its_bits_allow(dense, granularity, scheme) -> None:
    settings = {"weight_bits": 3, "granularity": granularity, "scheme": scheme}
    size = {"bucket_size": 16} if granularity == "bucket" else {}
    # Only the scales of symmetric weights depend on how a layer's input is rounded.
    size |= {} if scheme == "symmetric" else {"activation_bits": "float"}
    quantized = calibrated(dense, **settings, **size, first_last_bits=3)
    for each in quantized.method.kernels:
        for column in each.groups.split(each.kernel).numpy().T:
            assert len(np.unique(column)) <= 8


def test_more_scales_lose_less(dense: keras.Model) -> None:
    whole = prepare(dense, None).model

    def lost(**settings) -> float:
        options = {"weight_bits": 4, "activation_bits": "float", "bias_correction": False}
        model = calibrated(dense, **options, **settings).model
        pairs = zip(kernels_of(model), kernels_of(whole), strict=True)
        return sum(
            float(tf.reduce_sum(tf.square(a.variable.value - b.variable.value))) for a, b in pairs
        )

    assert lost(granularity="bucket", bucket_size=16) < lost(granularity="channel")
    assert lost(granularity="channel") < lost(granularity="tensor")
    assert lost(granularity="tensor") < lost(granularity="tensor", calibration="minmax")


def test_bias_correction_brings_means_back(dense: keras.Model) -> None:
    def off(correction: bool) -> float:
        model = calibrated(dense, weight_bits=3, bias_correction=correction).model
        whole = prepare(dense, None).model
        name = [kernel.layer for kernel in kernels_of(model)][-2]
        outputs = [
            keras.Model(m.inputs, m.get_layer(name).output)(CALIBRATION[0]) for m in (whole, model)
        ]
        means = [np.asarray(each).mean(axis=(0, 1, 2)) for each in outputs]
        return float(np.abs(means[0] - means[1]).mean())

    assert off(True) < 0.1 * off(False)


def test_a_bias_is_not_corrected_for_an_example_that_is_unlike_the_others() -> None:
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((8,)), layers.Dense(16), layers.Dense(4)])
    ordinary = np.random.default_rng(0).normal(1.0, size=(31, 8)).astype("float32")
    # What rounding to two bits changes in its outputs is hundreds of times what it changes in theirs.
    outlier = np.full((1, 8), 300, "float32")
    wanted = model(ordinary)

    def error(examples: np.ndarray, correction: bool) -> float:
        settings = {"weight_bits": 2, "first_last_bits": 2, "activation_bits": "float"}
        given = calibrated_on(model, examples, bias_correction=correction, **settings).model(ordinary)
        return float(tf.reduce_mean(tf.square(given - wanted)))

    with_outlier = np.concatenate([outlier, ordinary])
    assert error(with_outlier, True) <= error(with_outlier, False)
    # Of a single example nothing is held back.
    assert error(outlier, True) == error(outlier, False)
    assert error(ordinary, True) < error(ordinary, False)


@pytest.mark.parametrize("ranges", ["learned", "moving_average"])
def test_training_with_levels_finds_better_ones(dense: keras.Model, ranges: str) -> None:
    settings = QuantizeWeights(weight_bits=2, ranges=ranges)
    before = score(calibrated(dense, weight_bits=2, ranges=ranges).model)
    quantized = quantize(dense, settings, CALIBRATION, 0)
    scales = [np.asarray(each.grid()[0]) for each in quantized.method.kernels]
    roundings = [layer for layer in quantized.model.layers if isinstance(layer, FakeQuantize)]
    steps = [float(layer.grid()[0]) for layer in roundings]
    course = Training(epochs=6, batch_size=64, learning_rate=2e-3)
    train(quantized.model, DIGITS, task_of(dense), course, seed=1, method=quantized.method)
    after = score(quantized.model)
    assert after > before + 0.02, (before, after, score(dense))
    for each, scale in zip(quantized.method.kernels, scales, strict=True):
        columns = each.groups.split(each.kernel).numpy().T
        assert all(len(np.unique(column)) <= 2**each.bits for column in columns)
        assert (np.asarray(each.grid()[0]) != scale).any() == (ranges == "learned")
    moved = [
        abs(float(layer.grid()[0]) / step - 1) for layer, step in zip(roundings, steps, strict=True)
    ]
    # Not all extremes differ from batch to batch: those of images are 0 and 1.
    assert np.median(moved) > 1e-3
    assert max(moved) > 0.02


@pytest.mark.parametrize("ranges", ["learned", "moving_average"])
def test_what_was_trained_is_what_the_file_does(dense: keras.Model, ranges: str) -> None:
    quantized = to_train(dense, QuantizeWeights(ranges=ranges))
    course = Training(epochs=4, batch_size=32, learning_rate=1e-3)
    train(quantized.model, DIGITS, task_of(dense), course, seed=1, method=quantized.method)
    # A model that has learnt little is undecided, and half a step then tells classes apart.
    assert score(quantized.model) > 0.9
    images = np.concatenate([DIGITS.train.arrays[0][0], *TEST])
    assert len(images) > 1600
    check_agreement(written(quantized), quantized.model, (images,), 0.995, measure=Classes())


@pytest.mark.parametrize("granularity", ["tensor", "channel"])
@pytest.mark.parametrize("bits", [4, 8])
def test_channels_without_weights_keep_their_biases(bits: int, granularity: str) -> None:
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    x = inputs = keras.Input((8, 8, 3))
    for kind in (layers.Conv2D(8, 3), layers.DepthwiseConv2D(3), layers.Conv2DTranspose(8, 3)):
        x = layers.ReLU()(kind(x))
    model = keras.Model(inputs, layers.Dense(5)(layers.Flatten()(x)))
    for layer in model.layers:
        if kernels := [weight for weight in layer.weights if weight.name == "kernel"]:
            size = np.ones(layer.bias.shape, np.float32)
            # None, next to none, and as few as make a bias outweigh them by far.
            size[:4] = 0.0, 1e-12, 1e-9, 1e-6
            depthwise = isinstance(layer, layers.DepthwiseConv2D)
            transposed = isinstance(layer, layers.Conv2DTranspose)
            size = size[:, None] if depthwise or transposed else size
            kernels[0].assign(np.asarray(kernels[0]) * size)
            layer.bias.assign(rng.uniform(0.2, 1.0, layer.bias.shape))
    images = rng.uniform(size=(500, 8, 8, 3)).astype("float32")
    settings = {"weight_bits": bits, "first_last_bits": bits, "granularity": granularity}
    quantized = calibrated_on(model, images, **settings)
    given = np.concatenate([out[0] for out in LiteRTModel(written(quantized)).predict([images])])
    wanted = quantized.model.predict(images, verbose=0)
    step = float(quantized.model.layers[-1].grid()[0])
    # Integer kernels and floats may round to either side.
    assert np.abs(given - wanted).max() < 2.01 * step
    assert np.abs(given - wanted).mean() < 0.05 * step
    # What was next to nothing is no more than that.
    whole = model.predict(images, verbose=0)
    assert np.abs(wanted - whole).mean() < 0.1 * whole.std() * (1 if bits == 8 else 10)


def test_a_bias_that_no_32_bits_hold_is_refused() -> None:
    dense = layers.Dense(3, name="dense", kernel_initializer="zeros")
    quantized = calibrated_on(keras.Sequential([keras.Input((4,)), dense]), np.ones((8, 4)))
    quantized.model.get_layer("dense").bias.assign([0.0, 5.0, 0.0])
    (kernel,) = integer_kernels(quantized.model, quantized.method.forms)
    tiny = replace(kernel, scales=np.full(3, 1e-12, np.float32))
    with pytest.raises(UserError, match=r"biases of .*dense.* more than 32 bits"):
        put_integers(convert_litert(quantized.model, "int8", rounds_itself=True), [tiny])


@pytest.mark.parametrize("bits", [4, 8])
def test_levels_that_follow_extremes_are_packed_as_they_are(dense, bits: int, tmp_path: Path) -> None:
    settings = {"weight_bits": bits, "ranges": "moving_average", "calibration": "minmax"}
    quantized = calibrated(dense, **settings)
    write_packed(tmp_path / "model.packed", quantized.model, quantized.method.forms)
    found = read_forms(tmp_path / "model.packed", quantized.model)
    assert set(found) == {kernel.variable.path for kernel in kernels_of(quantized.model)}


def test_a_finished_course_that_is_resumed_has_its_levels(dense, tmp_path: Path) -> None:
    course = COURSE.model_copy(update={"epochs": 1})
    settings = QuantizeWeights(weight_bits=4, ranges="moving_average", calibration="minmax")
    ends = []
    for _ in range(2):
        quantized = to_train(dense, settings)
        method = quantized.method
        options = {"seed": 1, "method": method, "checkpoints": tmp_path}
        train(quantized.model, DIGITS, task_of(dense), course, **options)
        kernels = {kernel.variable.path: kernel.variable for kernel in kernels_of(quantized.model)}
        assert set(method.forms) == set(kernels)
        for path, form in method.forms.items():
            np.testing.assert_array_equal(decode(form), kernels[path])
        ends.append(quantized.model.get_weights())
    for one, other in zip(*ends, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)


def test_frozen_layers_are_rounded_as_without_training() -> None:
    keras.utils.set_random_seed(0)
    x = inputs = keras.Input((32, 32, 1))
    x = layers.Conv2D(4, 5, strides=4, activation="relu", name="back")(x)
    x = layers.SeparableConv2D(4, 3, activation="relu", name="apart")(x)
    x = layers.BatchNormalization(name="norm")(layers.MaxPooling2D()(x))
    model = keras.Model(inputs, layers.Dense(10, name="head")(layers.Flatten()(x)))
    for name in ("back", "apart", "norm"):
        model.get_layer(name).trainable = False
    settings = QuantizeWeights(weight_bits=4, epochs=1)
    begun = begin_quantizing(model, settings, FEW, 0, keeps_zeros=False)
    course = Training(epochs=1, batch_size=256, learning_rate=0.01)
    train(begun.model, DIGITS, task_of(model), course, seed=0, method=begun.method)
    kernels = {kernel.path: np.asarray(kernel.variable) for kernel in kernels_of(begun.model)}
    untrained = calibrated_on(model, *FEW, weight_bits=4)
    moved = [
        kernel.path
        for kernel in kernels_of(untrained.model)
        if not np.array_equal(kernel.variable, kernels[kernel.path])
    ]
    assert moved == ["head/kernel"]
    told = "Frozen layers are rounded, too, by scales that are not trained: 3 of 4."
    assert told in begun.notes


def test_zeros_stay_zero_and_are_marked_as_such(dense: keras.Model) -> None:
    sparse = keras.models.clone_model(dense)
    sparse.set_weights(dense.get_weights())
    for kernel in kernels_of(sparse):
        values = np.asarray(kernel.variable)
        kernel.variable.assign(values * (np.abs(values) > np.quantile(np.abs(values), 0.6)))
    quantized = to_train(sparse, QuantizeWeights(weight_bits=4), FEW)
    zeros = [np.asarray(kernel.variable) == 0 for kernel in kernels_of(quantized.model)]
    method = CombinedMethod([KeptZeros(quantized.model), quantized.method])
    train(quantized.model, DIGITS, task_of(dense), COURSE, seed=1, method=method)
    for kernel, zero in zip(kernels_of(quantized.model), zeros, strict=True):
        if len(kernel.axes) == 1:
            assert (np.asarray(kernel.variable)[zero] == 0).all()
    assert any(form.kept is not None for form in method.forms.values())


def test_a_course_that_was_cut_off_ends_at_the_same_weights(dense, tmp_path: Path, monkeypatch) -> None:
    course = COURSE.model_copy(update={"epochs": 1, "checkpoint_steps": 5})

    def trained(folder: Path | None = None) -> keras.Model:
        quantized = to_train(dense, QuantizeWeights(weight_bits=4), FEW)
        train(
            quantized.model,
            DIGITS,
            task_of(dense),
            course,
            seed=1,
            method=quantized.method,
            checkpoints=folder,
        )
        return quantized.model

    wanted = trained()

    def cut_off(self, step, steps, optimizer) -> None:
        if step == 12:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(QuantizationAware, "before_step", cut_off)
        with pytest.raises(KeyboardInterrupt):
            trained(tmp_path)
    assert list(tmp_path.glob("*.npz"))
    for one, other in zip(trained(tmp_path).weights, wanted.weights, strict=True):
        np.testing.assert_array_equal(one, other)


def test_bits_by_layer_and_a_layer_that_is_not_there(dense: keras.Model) -> None:
    names = [kernel.layer for kernel in kernels_of(dense)]
    settings = QuantizeWeights(weight_bits=4, layers={names[3]: 2}, first_last_bits=6)
    method = quantize(dense, settings, FEW, 0).method
    assert [each.bits for each in method.kernels] == [6, 4, 4, 2, *[4] * (len(names) - 5), 6]
    with pytest.raises(UserError, match=r"layers: nose is no layer that is quantised; there are: "):
        calibrated(dense, layers={"nose": 4})


def test_a_quantised_model_is_saved_and_loaded(in_eight_bits, tmp_path: Path) -> None:
    model = in_eight_bits[0].model
    model.save(tmp_path / "net.keras")
    loaded = keras.saving.load_model(tmp_path / "net.keras", safe_mode=True)
    np.testing.assert_array_equal(loaded.predict(TEST[0][:32]), model.predict(TEST[0][:32]))


@pytest.mark.parametrize(
    ("examples", "said"),
    [
        ((), r"takes inputs of the shapes .* an example; received \[\]"),
        ((np.zeros((0, 4), np.float32),), "needs examples, as many for each input; received 0"),
        ((np.zeros((2, 3), np.float32),), r"of the shapes \[\(4,\)\] an example; received \[\(3,\)\]"),
        ((np.full((2, 4), np.inf, np.float32),), "inputs must be finite; 2 of 2"),
    ],
)
def test_examples_that_are_none_for_the_model_are_refused(examples: tuple, said: str) -> None:
    net = keras.Sequential([keras.Input((4,)), layers.Dense(3)])
    with pytest.raises(UserError, match=said):
        quantize(net, QuantizeWeights(), examples, 0)
    with pytest.raises(UserError, match="seed has to be at least 0; received -1"):
        quantize(net, QuantizeWeights(), (np.zeros((2, 4), np.float32),), -1)


def test_attention_to_another_input_can_be_written() -> None:
    """Attention is computed in floats; what it alone reads is not rounded for it."""
    keras.utils.set_random_seed(0)
    ends = [keras.Input((5, 8)), keras.Input((7, 8))]
    x, memory = (layers.Dense(8)(end) for end in ends)
    y = layers.MultiHeadAttention(2, 4)(layers.LayerNormalization()(x), memory)
    model = keras.Model(ends, layers.Dense(3)(layers.Add()([x, y])))
    rng = np.random.default_rng(0)
    examples = [rng.normal(size=(32, *end.shape[1:])).astype("float32") for end in ends]
    quantized = calibrated_on(model, *examples)
    wanted = quantized.model.predict(examples, verbose=0)
    got = np.concatenate([one for (one,) in LiteRTModel(written(quantized)).predict(examples)])
    assert np.abs(got - wanted).mean() < 0.02 * wanted.std()


def test_layers_that_augment_do_so_only_in_training() -> None:
    """Ranges and biases are those of the network without them: it gives the same."""
    x = np.random.default_rng(0).normal(size=(32, 8, 8, 2)).astype(np.float32)
    given = []
    for augmentation in ([layers.RandomContrast(0.9, value_range=(-9, 9))], []):
        kernel = keras.initializers.GlorotUniform(1)
        convolution = layers.Conv2D(4, 3, activation="relu", kernel_initializer=kernel)
        net = [keras.Input((8, 8, 2)), *augmentation, convolution, layers.Flatten()]
        quantized = calibrated_on(keras.Sequential(net), x, bias_correction=True)
        given.append(quantized.model.predict(x, verbose=0))
    np.testing.assert_array_equal(*given)


def test_bias_correction_finds_channels_that_come_first() -> None:
    """A shift for each channel, of an output whose last axis is as long."""
    keras.utils.set_random_seed(0)
    rows = keras.Input((6, 6))
    first = {"padding": "same", "data_format": "channels_first"}
    x = layers.Conv1D(6, 3, activation="relu", **first)(rows)
    model = keras.Model(rows, layers.Conv1D(6, 3, **first)(x))
    examples = np.random.default_rng(0).normal(2, 1, (200, 6, 6)).astype("float32")

    def missing(corrects: bool) -> np.ndarray:
        quantized = calibrated_on(model, examples, weight_bits=3, bias_correction=corrects)
        found = quantized.model.predict(examples, verbose=0)
        return np.abs((found - model.predict(examples, verbose=0)).mean(axis=(0, 2)))

    assert missing(True).max() < 0.5 * missing(False).max()


def test_a_constant_beyond_the_range_that_it_pads_is_not_clipped() -> None:
    keras.utils.set_random_seed(0)
    images = keras.Input((8, 8, 3))
    x = layers.ReLU(6)(layers.Conv2D(4, 3)(images))
    x = keras.ops.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]], constant_values=-50.0)
    model = keras.Model(images, layers.GlobalAveragePooling2D()(layers.Conv2D(3, 3)(x)))
    examples = np.random.default_rng(0).normal(size=(64, 8, 8, 3)).astype("float32")
    quantized = calibrated_on(model, examples)
    wanted = model.predict(examples, verbose=0)
    found = np.concatenate([y for (y,) in LiteRTModel(written(quantized)).predict([examples])])
    assert np.std(found - wanted) < 0.05 * np.std(wanted)


@pytest.mark.parametrize("given_back", [True, False])
def test_an_input_that_no_layer_reads_needs_no_range(given_back: bool) -> None:
    pixels, row = keras.Input((6,), name="pixels"), keras.Input((2,), name="row")
    y = layers.Dense(3)(layers.Dense(8, activation="relu")(pixels))
    model = keras.Model([pixels, row], [y, row] if given_back else y)
    rng = np.random.default_rng(0)
    examples = tuple(rng.normal(size=(40, n)).astype("float32") for n in (6, 2))
    ours = quantize(model, QuantizeWeights(), examples, seed=0).model.predict(examples, verbose=0)
    theirs = model.predict(examples, verbose=0)
    if given_back:
        np.testing.assert_array_equal(ours[1], examples[1])
        ours, theirs = ours[0], theirs[0]
    assert np.square(ours - theirs).mean() < 0.01 * theirs.var()
