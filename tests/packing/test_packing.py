"""Packed files give back the same numbers bit for bit, are small, and refuse damage."""

import json
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

from pocketkube.bounded.limits import ALWAYS_BYTES, EXPANSION
from pocketkube.bundle import NOTHING, Bundle, load_bundle, load_model, save_bundle
from pocketkube.errors import UserError
from pocketkube.facts import PackedFacts, load_facts
from pocketkube.models import build_model
from pocketkube.packing import Blocks, Codebook, Form, Grid, decode, load_packed, write_packed
from pocketkube.packing.bits import gaps_of, kept_of, pack_bits, unpack_bits
from pocketkube.packing.huffman import LENGTH_BITS, code_lengths, huffman_bits
from pocketkube.sparsity.selection import sparsifiable_kernels


def codebook(shape: tuple[int, ...], bits: int, blocks: Blocks, rng, kept=None) -> Codebook:
    centroids = rng.normal(size=(blocks.count(shape), 2**bits)).astype("float32")
    return Codebook(bits, centroids, rng.integers(2**bits, size=shape, dtype="uint8"), blocks, kept)


def lenet(form_of) -> tuple[keras.Model, dict[str, Form]]:
    """LeNet with weights that have the form which `form_of` gives for a shape."""
    model = build_model("lenet", (32, 32, 1), 10, seed=0)
    forms = {kernel.path: form_of(tuple(kernel.shape)) for _, kernel in sparsifiable_kernels(model)}
    for _, kernel in sparsifiable_kernels(model):
        kernel.assign(decode(forms[kernel.path]))
    return model, forms


def assert_same(one: keras.Model, other: keras.Model) -> None:
    assert [layer.name for layer in one.layers] == [layer.name for layer in other.layers]
    for a, b in zip(one.weights, other.weights, strict=True):
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes(), a.path


def test_blocks_are_contiguous_within_a_channel() -> None:
    assert Blocks().owners((2, 3)).tolist() == [[0, 0, 0], [0, 0, 0]]
    assert Blocks((1,)).owners((2, 3)).tolist() == [[0, 1, 2], [0, 1, 2]]
    assert Blocks((1,), 2).owners((3, 2)).tolist() == [[0, 2], [0, 2], [1, 3]]
    depthwise = Blocks((2, 3)).owners((3, 3, 4, 2))
    assert (depthwise == np.arange(8).reshape(4, 2)).all()
    assert Blocks((2, 3)).count((3, 3, 4, 2)) == 8
    transposed = Blocks((2,), 5).owners((3, 3, 4, 2))
    assert transposed[0, 0].tolist() == [[0, 0], [4, 4], [8, 8], [12, 12]]


def test_a_grid_is_steps_from_its_zero_point() -> None:
    levels = np.array([[-2, 1], [0, -1]], "int16")
    scales = np.array([0.5, 2.0], "float32")
    assert decode(Grid(2, scales, levels, blocks=Blocks((1,)))).tolist() == [[-1, 2], [0, -2]]
    shifted = Grid(2, scales, levels + 2, np.array([1.5, 2.0], "float32"), Blocks((1,)))
    assert decode(shifted).tolist() == [[-0.75, 2], [0.25, -2]]


@pytest.mark.parametrize("bits", range(1, 9))
def test_bits_come_back(bits: int) -> None:
    numbers = np.random.default_rng(bits).integers(2**bits, size=1001, dtype="uint8")
    content = pack_bits(numbers, bits)
    assert len(content) == -(-1001 * bits // 8)
    np.testing.assert_array_equal(unpack_bits(content, bits, 1001), numbers)


@pytest.mark.parametrize("density", [0.0, 0.001, 0.1, 0.9, 1.0])
def test_places_of_zeros_come_back(density: float) -> None:
    kept = np.random.default_rng(0).random(5000) < density
    np.testing.assert_array_equal(kept_of(gaps_of(kept), 5000), kept)
    with pytest.raises(ValueError, match="of 10 numbers"):
        kept_of(gaps_of(np.arange(300) == 299), 10)


def test_huffman_lies_between_the_entropy_and_a_bit_more() -> None:
    # Probabilities that are powers of two: the code is as short as the entropy allows.
    assert code_lengths(np.array([8, 4, 2, 1, 1, 0])).tolist() == [1, 2, 3, 4, 4, 0]
    rng = np.random.default_rng(0)
    for spread in (0.3, 3.0, 30.0):
        symbols = np.clip(rng.normal(128, spread, 9999).round(), 0, 255).astype("uint8")
        counts = np.bincount(symbols)
        share = counts[counts > 0] / counts.sum()
        entropy = -(share * np.log2(share)).sum()
        words = (huffman_bits(symbols) - LENGTH_BITS * len(counts)) / len(symbols)
        assert entropy <= words < entropy + 1
        # Kraft's equality: no word could be shorter with the others as they are.
        assert sum(0.5**length for length in code_lengths(counts) if length) == 1


FORMS = {
    "codebook of the tensor": lambda s, rng: codebook(s, 4, Blocks(), rng),
    "codebook of channels": lambda s, rng: codebook(s, 1, Blocks((len(s) - 1,)), rng),
    "codebook of buckets": lambda s, rng: codebook(s, 2, Blocks((len(s) - 1,), 32), rng),
    "sparse codebook": lambda s, rng: codebook(s, 3, Blocks(), rng, rng.random(s) < 0.1),
    "grid": lambda s, rng: Grid(
        8,
        rng.random(s[-1]).astype("float32"),
        rng.integers(-128, 128, size=s).astype("int16"),
        blocks=Blocks((len(s) - 1,)),
    ),
    "sparse grid with zero points": lambda s, rng: Grid(
        5,
        rng.random(s[-1]).astype("float32"),
        rng.integers(32, size=s).astype("int16"),
        rng.normal(16, 2, s[-1]).astype("float32"),
        Blocks((len(s) - 1,)),
        rng.random(s) < 0.5,
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_bundle_and_its_packed_file_hold_the_same_numbers(form: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    model, forms = lenet(lambda shape: FORMS[form](shape, rng))
    save_bundle(tmp_path / "bundle", Bundle(model, forms=forms))
    assert_same(
        load_packed(tmp_path / "bundle" / "model.packed"), load_model(tmp_path / "bundle/model.keras")
    )
    found = load_bundle(tmp_path / "bundle").forms
    # A form that takes more than the numbers themselves is not worth keeping.
    assert found.keys() >= {
        kernel.path for _, kernel in sparsifiable_kernels(model) if len(kernel.shape) == 2
    }
    for path, each in found.items():
        assert decode(each).tobytes() == decode(forms[path]).tobytes()
        assert (each.bits, each.blocks) == (forms[path].bits, forms[path].blocks)


@pytest.mark.parametrize("bits", [1, 3, 4, 8])
def test_indices_take_as_many_bits_as_they_have(bits: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    model, forms = lenet(lambda shape: codebook(shape, bits, Blocks(), rng))
    size = write_packed(tmp_path / "model.packed", model, forms)
    assert size.file_bytes == (tmp_path / "model.packed").stat().st_size
    numbers = [int(np.prod(kernel.shape)) for _, kernel in sparsifiable_kernels(model)]
    # Where a codebook and its code's table take more than the weights, these are stored as they are.
    whole = [min(n * bits / 8 + (4 + 1) * 2**bits, 4 * n) for n in numbers]
    assert size.huffman_bytes == pytest.approx(sum(whole), rel=0.01)
    # Random indices cannot be made smaller, and biases are zero here; the rest is the configuration
    # and the archive.
    assert sum(numbers) * bits / 8 < size.file_bytes < sum(whole) + 3000


def test_zeros_are_left_out_and_negative_zeros_are_not(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    model, _ = lenet(lambda shape: codebook(shape, 8, Blocks(), rng))
    for _, kernel in sparsifiable_kernels(model):
        values = rng.normal(size=kernel.shape).astype("float32")
        kernel.assign(np.where(rng.random(kernel.shape) < 0.1, values, 0))
    model.weights[0].assign(np.full(model.weights[0].shape, -0.0))
    save_bundle(tmp_path / "bundle", Bundle(model))
    assert_same(load_packed(tmp_path / "bundle" / "model.packed"), model)
    size = load_facts(tmp_path / "bundle").packed.file_bytes
    # A tenth of the numbers, and for each number's place the 0.47 bits of its entropy.
    assert size < 1.1 * model.count_params() * (0.1 * 4 + 0.469 / 8) + 3000


def test_a_dense_model_has_no_packed_file_and_its_facts_say_nothing_of_one(tmp_path: Path) -> None:
    model = build_model("lenet", (32, 32, 1), 10, seed=0)
    packed = PackedFacts(file_bytes=1, huffman_bytes=1)
    save_bundle(tmp_path / "bundle", Bundle(model, NOTHING.model_copy(update={"packed": packed})))
    assert not (tmp_path / "bundle" / "model.packed").exists()
    assert load_facts(tmp_path / "bundle").packed is None


def test_layers_of_every_kind_come_back(tmp_path: Path) -> None:
    norm = layers.Normalization()
    norm.adapt(np.random.default_rng(0).normal(3, 2, (64, 8, 8, 3)))
    shared = layers.Conv2D(4, 3, padding="same", dtype="mixed_bfloat16")
    inputs = keras.Input((8, 8, 3))
    x = layers.Concatenate()([norm(inputs), layers.Dropout(0.5, seed=1)(inputs)])
    x = layers.SeparableConv2D(4, 3)(x)
    x = shared(shared(x))
    x = keras.Sequential([layers.BatchNormalization(), layers.Dense(5, dtype="float16")])(x)
    x = layers.MultiHeadAttention(2, 4)(x, x)
    model = keras.Model(inputs, layers.Dense(2)(layers.Flatten()(x)))
    model.compile("adam", "mse")
    write_packed(tmp_path / "model.packed", model, {})
    restored = load_packed(tmp_path / "model.packed")
    assert_same(restored, model)
    assert restored.compiled
    images = np.random.default_rng(1).normal(size=(2, 8, 8, 3)).astype("float32")
    np.testing.assert_array_equal(restored.predict(images, verbose=0), model.predict(images, verbose=0))


def test_the_same_model_gives_the_same_file(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    model, forms = lenet(lambda shape: codebook(shape, 4, Blocks(), rng))
    files = [tmp_path / "a.packed", tmp_path / "b.packed"]
    for file in files:
        write_packed(file, model, forms)
    assert files[0].read_bytes() == files[1].read_bytes()


def test_a_form_that_is_not_the_weights_is_a_mistake(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    model, forms = lenet(lambda shape: codebook(shape, 4, Blocks(), rng))
    model.weights[0].assign(np.asarray(model.weights[0]) + 1)
    with pytest.raises(ValueError, match="kernel: the weight is not what its form stands for"):
        write_packed(tmp_path / "model.packed", model, forms)
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(0)
    model, forms = lenet(lambda shape: codebook(shape, 4, Blocks(), rng))
    path = tmp_path_factory.mktemp("packed") / "model.packed"
    write_packed(path, model, forms)
    return path


def rewritten(source: Path, target: Path, **members: bytes) -> Path:
    """The archive with other content in some of its members."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            content = members.get(name.partition(".")[0], old.read(name))
            if content is not None:
                new.writestr(name, content)
    return target


def changed_header(source: Path, change) -> bytes:
    with zipfile.ZipFile(source) as archive:
        header = json.loads(archive.read("packed.json"))
    change(header)
    return json.dumps(header).encode()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda h: h["weights"].pop(), "weights, and its model"),
        (lambda h: h["weights"][0].update(shape=[3, 9]), r"\(3, 9\) in"),
        (lambda h: h["weights"][0].update(shape=[10**9, 10**9]), r"it unpacks to 4e\+09 GB"),
        (lambda h: h["weights"][0].update(dtype="object"), "object"),
        (lambda h: h["weights"][0].update(bits=9), "less than or equal to 8"),
        (lambda h: h["weights"][0].update(bits=0), "neither bits"),
        (lambda h: h["weights"][0].update(bits=8), "bytes of"),
        (lambda h: h["weights"][0].update(bits=1, whole_bytes=True), "an index of"),
        (lambda h: h["weights"][0].update(kind="values"), "ends after|too many"),
        (lambda h: h["weights"][0].update(axes=[7]), "axes"),
        (lambda h: h["weights"][0].update(gaps=10**12), "zeros ends after"),
        (lambda h: h["weights"][0].update(code="import os"), "Extra inputs"),
        (lambda h: h.update(format="pocketkube-packed-9"), "its format is"),
    ],
)
def test_a_header_that_does_not_fit_is_refused(packed: Path, tmp_path: Path, change, said: str) -> None:
    path = rewritten(packed, tmp_path / "model.packed", packed=changed_header(packed, change))
    with pytest.raises(UserError, match=f"model.packed is damaged.*({said})"):
        load_packed(path)


def test_damaged_and_foreign_files_are_refused(packed: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.packed"
    content = packed.read_bytes()
    with pytest.raises(UserError, match="There is no packed file"):
        load_packed(path)
    for broken in (b"", b"nonsense" * 99, content[: len(content) // 2]):
        path.write_bytes(broken)
        with pytest.raises(UserError, match="is no packed model, or cut short"):
            load_packed(path)
    middle = len(content) // 2
    path.write_bytes(content[:middle] + bytes([content[middle] ^ 255]) + content[middle + 1 :])
    with pytest.raises(UserError, match="is damaged"):
        load_packed(path)
    build_model("lenet", (32, 32, 1), 10).save(tmp_path / "net.keras")
    with pytest.raises(UserError, match=r"net.keras is no packed model: it has no packed.json"):
        load_packed(tmp_path / "net.keras")


def test_a_member_that_unpacks_to_far_more_than_the_model_holds_is_not_read(
    packed: Path, tmp_path: Path
) -> None:
    path = rewritten(packed, tmp_path / "model.packed", floats=bytes(10**8))
    with pytest.raises(UserError, match=r"floats has 100000000 bytes, where .* are the most"):
        load_packed(path)


def test_weights_that_are_nearly_all_zero_are_read_however_little_they_take(tmp_path: Path) -> None:
    path, inputs = tmp_path / "model.packed", keras.Input((4096,))
    model = keras.Model(inputs, layers.Dense(8500, kernel_initializer="zeros")(inputs))
    places = np.s_[::64, ::85]
    kernel = np.zeros((4096, 8500), np.float32)
    kernel[places] = 0.5
    model.layers[1].kernel.assign(kernel)
    write_packed(path, model, {})
    assert kernel.nbytes > max(ALWAYS_BYTES, EXPANSION * path.stat().st_size)
    np.testing.assert_array_equal(np.asarray(load_packed(path).layers[1].kernel), kernel)


def test_code_in_a_configuration_is_not_run(tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((4,)), layers.Lambda(lambda x: x * 2), layers.Dense(2)])
    write_packed(tmp_path / "model.packed", model, {})
    with pytest.raises(UserError, match="has a Lambda layer"):
        load_packed(tmp_path / "model.packed")


def test_what_keeps_files_beside_its_weights_is_refused(tmp_path: Path) -> None:
    lookup = layers.IntegerLookup(vocabulary=[1, 2, 3])
    model = keras.Sequential([keras.Input((1,), dtype="int64"), lookup, layers.Embedding(4, 2)])
    with pytest.raises(UserError, match="keeps files beside its weights"):
        write_packed(tmp_path / "model.packed", model, {})
