"""What would fill the memory is refused in one line, before it does."""

import gzip
import io
import json
import re
import resource
import shutil
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image

from pocketkube.benchmarking.samples import load_samples
from pocketkube.bounded.images import image_header
from pocketkube.bounded.limits import ALWAYS_BYTES, EXPANSION, Unreadable
from pocketkube.bounded.npz import read_npz
from pocketkube.bounded.streams import inflated, tar_members
from pocketkube.bounded.variables import room_for
from pocketkube.bundle import load_model
from pocketkube.data import load_dataset
from pocketkube.errors import UserError
from pocketkube.packing import load_packed, write_packed
from pocketkube.spec.sections import DatasetSettings
from tests.bombs import (
    MIB,
    deflated,
    gzipped,
    in_each_packing,
    npy_header,
    packed_by_lzma,
    tar_member,
    with_packed_member,
    zipped,
)

GIB = 1 << 30
WEIGHTS = "model.weights.h5"
OLDER = Path(__file__).parents[1] / "older_keras" / "files" / "images.h5"
KERNEL = "layers/dense/vars/0"


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("net") / "net.keras"
    keras.Sequential([keras.Input((8,)), layers.Dense(4, name="dense")]).save(path)
    return path


def members_of(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def refusal(load: Callable[[], object]) -> str:
    """The one line that refuses a file, which took less than half a gigabyte to find out."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UserError) as caught:
        load()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- Models ---


@pytest.mark.parametrize("member", [WEIGHTS, "config.json", "assets/words.txt"])
def test_a_member_of_a_model_file(net: Path, tmp_path: Path, member: str) -> None:
    path = shutil.copy(net, tmp_path / "net.keras")
    with_packed_member(path, member, deflated(4 * GIB - MIB), 4 * GIB - MIB)
    assert "net.keras is damaged or cut short: it unpacks to 4.29 GB" in refusal(
        lambda: load_model(path)
    )


@pytest.mark.parametrize("member", [WEIGHTS, "config.json"])
def test_a_member_that_says_it_is_small(net: Path, tmp_path: Path, member: str) -> None:
    path = shutil.copy(net, tmp_path / "net.keras")
    with_packed_member(path, member, deflated(2 * GIB), 1000)
    assert "net.keras is damaged or cut short: Bad CRC-32" in refusal(lambda: load_model(path))


def test_a_configuration_of_empty_lists(net: Path, tmp_path: Path) -> None:
    text = b"[" + b"[]," * (40 * MIB // 3) + b"0]"
    path = shutil.copy(net, tmp_path / "net.keras")
    packer = zlib.compressobj(1, wbits=-15)
    with_packed_member(path, "config.json", packer.compress(text) + packer.flush(), len(text))
    assert "its config.json has 41943042 bytes" in refusal(lambda: load_model(path))


def weights(**of_kernel: object) -> bytes:
    """A weights file whose first kernel is made so; `stream` is its first piece as it is stored."""
    content, stream = io.BytesIO(), of_kernel.pop("stream", None)
    with h5py.File(content, "w") as file:
        kernel = file.create_dataset(KERNEL, dtype="float32", **of_kernel)
        if stream is not None:
            kernel.id.write_direct_chunk((0, 0), stream)
        file["layers/dense/vars/1"] = np.zeros(4, "float32")
    return content.getvalue()


SQUARE = (1024, 1024)
SWOLLEN = b"\x78\xda" + deflated(2 * GIB) + bytes(4)
ARRAYS = {
    "never written": ({"shape": (1 << 30, 4), "chunks": (1024, 4)}, "it unpacks to 17.2 GB"),
    "of one long piece": (
        {"shape": (8, 4), "chunks": (1 << 27, 4), "maxshape": (None, 4)},
        "it unpacks to 2.15 GB",
    ),
    "of a piece that swells": (
        {"shape": SQUARE, "chunks": SQUARE, "compression": "gzip", "stream": SWOLLEN},
        "is larger than the 4194304 bytes it has",
    ),
    "compressed as nobody does": (
        {"shape": SQUARE, "chunks": SQUARE, "compression": "lzf"},
        "in another way than by gzip alone",
    ),
}


@pytest.mark.parametrize("kind", ARRAYS)
def test_an_array_of_a_model_file(net: Path, tmp_path: Path, kind: str) -> None:
    how, said = ARRAYS[kind]
    path = zipped(tmp_path / "net.keras", members_of(net) | {WEIGHTS: weights(**how)})
    assert said in refusal(lambda: load_model(path))
    (tmp_path / "net.h5").write_bytes(weights(**how))
    assert said in refusal(lambda: load_model(tmp_path / "net.h5"))


def test_compressed_weights_are_as_good_as_others(net: Path, tmp_path: Path) -> None:
    model, members = load_model(net), members_of(net)
    kernel = np.asarray(model.layers[0].kernel)
    packed = {"shape": (8, 4), "data": kernel, "chunks": (4, 4), "compression": "gzip", "shuffle": True}
    path = zipped(tmp_path / "a.keras", members | {WEIGHTS: weights(**packed, fletcher32=True)})
    np.testing.assert_array_equal(np.asarray(load_model(path).layers[0].kernel), kernel)
    with zipfile.ZipFile(tmp_path / "b.keras", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    np.testing.assert_array_equal(np.asarray(load_model(tmp_path / "b.keras").layers[0].kernel), kernel)


@pytest.mark.parametrize(
    ("member", "stream", "size", "method", "said"),
    [
        ("config.json", packed_by_lzma(300 * MIB), 1000, 14, "Bad CRC-32"),
        (
            "config.json",
            packed_by_lzma(300 * MIB),
            300 * MIB,
            14,
            "its config.json has 314572800 bytes",
        ),
        ("packed.json", deflated(120 * MIB), 120 * MIB, 8, "its packed.json has 125829120 bytes"),
        ("floats", deflated(2 * GIB), 96, 8, "Bad CRC-32"),
        ("floats", deflated(100 * MIB), 100 * MIB, 8, "its floats has 104857600 bytes, where 1"),
    ],
)
def test_a_packed_model(
    net: Path, tmp_path: Path, member: str, stream: bytes, size: int, method: int, said: str
) -> None:
    path = tmp_path / "model.packed"
    write_packed(path, load_model(net), {})
    with_packed_member(path, member, stream, size, method)
    assert said in refusal(lambda: load_packed(path))


def test_layers_that_are_larger_than_the_file(net: Path, tmp_path: Path) -> None:
    def wide(members: dict[str, bytes]) -> dict[str, bytes]:
        config = members["config.json"]
        assert config.count(b'"units": 4') == 1
        return members | {"config.json": config.replace(b'"units": 4', b'"units": 1000000000')}

    path = zipped(tmp_path / "net.keras", wide(members_of(net)))
    assert "its layers have many more numbers than the 36" in refusal(lambda: load_model(path))
    write_packed(tmp_path / "honest.packed", load_model(net), {})
    packed = zipped(tmp_path / "model.packed", wide(members_of(tmp_path / "honest.packed")))
    assert "its layers have many more numbers than the 36" in refusal(lambda: load_packed(packed))
    header = json.dumps(
        {"format": "pocketkube-packed-1", "weights": [{"shape": [10**9, 9], "dtype": "float32"}]}
    )
    zipped(packed, wide(members_of(tmp_path / "honest.packed")) | {"packed.json": header.encode()})
    assert "it unpacks to 36 GB" in refusal(lambda: load_packed(packed))
    shutil.copy(OLDER, tmp_path / "net.h5")
    with h5py.File(tmp_path / "net.h5", "r+") as file:
        text = file.attrs["model_config"]
        file.attrs["model_config"] = re.sub(r'"units": \d+', '"units": 1000000000', str(text))
    assert "its layers have many more numbers than" in refusal(lambda: load_model(tmp_path / "net.h5"))


def test_names_that_are_one_long_text(tmp_path: Path) -> None:
    path, text, names = tmp_path / "net.h5", "a" * 2 * MIB, 2000
    shutil.copy(OLDER, path)
    with h5py.File(path, "r+") as file:
        del file["model_weights"].attrs["layer_names"]
        file["model_weights"].attrs["layer_names"] = [text, *["b"] * (names - 1)]
    content = path.read_bytes()
    # Where each is told by its length, its heap's place and its number in there.
    place = re.search(struct.pack("<I", len(text)) + rb".{8}\x01\0\0\0", content, re.DOTALL)
    assert place is not None
    end = place.start() + names * len(place[0])
    path.write_bytes(content[: place.start()] + place[0] * names + content[end:])
    with h5py.File(path) as file:
        assert file["model_weights"].attrs.get_id("layer_names").shape == (names,)
    assert "it unpacks to 4.19 GB" in refusal(lambda: load_model(path))


def test_an_array_of_many_names(tmp_path: Path) -> None:
    shutil.copy(OLDER, tmp_path / "net.h5")
    with h5py.File(tmp_path / "net.h5", "r+") as file:
        group = file["model_weights/stem/bn"]
        names = [str(name) for name in group.attrs["weight_names"]]
        del group[names[1]]
        group[names[1]] = group[names[0]]
    assert f"{names[1]} is an array of another name, too" in refusal(
        lambda: load_model(tmp_path / "net.h5")
    )


def test_a_list_of_words(tmp_path: Path) -> None:
    path, words = tmp_path / "net.keras", layers.StringLookup()
    words.set_vocabulary(["a", "b"])
    keras.Sequential([keras.Input((1,), dtype="string"), words]).save(path)
    assert "looks values up in a vocabulary" in refusal(lambda: load_model(path))
    (name,) = (each for each in members_of(path) if each.startswith("assets/"))
    with_packed_member(path, name, deflated(120 * MIB, byte=b"\n"), 120 * MIB)
    assert f"its {name} has 125829120 bytes, where 8388608 are the most" in refusal(
        lambda: load_model(path)
    )


def test_a_constant_that_is_larger_than_the_file(tmp_path: Path) -> None:
    constant = layers.Normalization(mean=0.5, variance=1.0)
    keras.Sequential([keras.Input((4,)), constant]).save(tmp_path / "honest.keras")
    assert load_model(tmp_path / "honest.keras").input_shape == (None, 4)
    members = members_of(tmp_path / "honest.keras")
    config = members["config.json"].replace(b"[null, 4]", b"[null, 300000000]")
    path = zipped(tmp_path / "net.keras", members | {"config.json": config})
    assert "its layers have many more numbers than the 0" in refusal(lambda: load_model(path))


def test_loads_that_overlap_leave_nothing_behind() -> None:
    first, second = room_for(1), room_for(1)
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    second.__exit__(None, None, None)
    layers.Dense(7000, kernel_initializer="zeros").build((None, 7000))
    with room_for(1), ThreadPoolExecutor() as others:
        large = layers.Dense(7000, kernel_initializer="zeros")
        others.submit(large.build, (None, 7000)).result()
    assert large.built


# --- Data sets ---


def dataset(folder: Path, **settings: object) -> Callable[[], object]:
    return lambda: load_dataset(DatasetSettings(**settings), folder)


def test_an_npz(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.npz", {"y.npy": npy_header((2,), "<i8") + bytes(16)})
    stream = deflated(4 * GIB - MIB, npy_header(((4 * GIB - MIB) // 8, 1)))
    for size, said in ((4 * GIB - MIB + 128, "it unpacks to 4.29 GB"), (1000, "Bad CRC-32")):
        with_packed_member(path, "x.npy", stream, size)
        assert said in refusal(dataset(tmp_path, npz="a.npz"))
        assert said in refusal(lambda: load_samples(path))
    zipped(path, {"x.npy": npy_header((10**15, 10**15)) + bytes(80)})
    assert "promises 8" in refusal(dataset(tmp_path, npz="a.npz"))


def test_honest_data_may_shrink_to_little(tmp_path: Path) -> None:
    zeros = np.zeros((ALWAYS_BYTES // 8 + 1, 1))
    np.savez_compressed(tmp_path / "a.npz", x=zeros)
    assert zeros.nbytes > max(ALWAYS_BYTES, EXPANSION * (tmp_path / "a.npz").stat().st_size)
    assert read_npz(tmp_path / "a.npz")["x"].shape == zeros.shape


def idx_header(*shape: int) -> bytes:
    return bytes((0, 0, 8, len(shape))) + np.array(shape, ">u4").tobytes()


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (gzipped(4 * GIB, idx_header(50, 28, 28)), "its header promises 39200 bytes, it has more"),
        (gzipped(4 * GIB, idx_header(4 * GIB // 784, 28, 28)), "it unpacks to 4.29 GB"),
        (gzip.compress(idx_header(*[2**32 - 1] * 3), mtime=0), "it unpacks to"),
        (
            idx_header(*[2**32 - 1] * 3),
            "promises 79228162458924105385300197375 bytes, it has 0 of them",
        ),
        (idx_header(2**31, 2**31, 4), "it has 0 of them"),
        (idx_header(9, 0, 28), "have no pixels"),
    ],
)
def test_idx_files(tmp_path: Path, images: bytes, said: str) -> None:
    (tmp_path / "train-images-idx3-ubyte").write_bytes(images)
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx_header(50) + bytes(50))
    assert said in refusal(dataset(tmp_path, idx="."))


def tar_bomb(members: dict[str, int]) -> bytes:
    """A compressed archive of files of zeros."""
    return b"".join(gzipped(size, tar_member(name, size)) for name, size in members.items())


@pytest.mark.parametrize(
    "members",
    [
        {"cifar/data_batch_1": 6 * GIB},
        {"cifar/another": 6 * GIB},
        {f"cifar/data_batch_{number}": 30 * MIB for number in range(9)},
    ],
)
def test_a_tar_archive(tmp_path: Path, members: dict[str, int]) -> None:
    (tmp_path / "cifar.tar.gz").write_bytes(tar_bomb(members))
    said = refusal(dataset(tmp_path, cifar10="cifar.tar.gz"))
    assert "cifar.tar.gz: is not a readable tar archive" in said


def test_a_file_of_holes_alone_is_passed_over(tmp_path: Path) -> None:
    archive = tarfile.TarInfo("data_batch_1")
    archive.size, archive.type = 512, tarfile.GNUTYPE_SPARSE
    header = bytearray(archive.tobuf(tarfile.GNU_FORMAT))
    # The file is as large as this says, of which the archive holds 512 bytes.
    header[386:410] = b"%011o\0%011o\0" % (0, 512)
    header[483:495] = b"%011o\0" % (7 * GIB)
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    (tmp_path / "a.tar").write_bytes(bytes(header) + bytes(512 + 1024))
    with pytest.raises(Unreadable, match=r"it unpacks to 7\.52 GB"):
        list(tar_members(tmp_path / "a.tar", lambda name: True))


def test_tar_archives_in_each_packing_are_read(tmp_path: Path) -> None:
    content = tar_member("a/b", 600) + b"7" * 600 + bytes(424 + 1024)
    for packing, packed in in_each_packing(content).items() | {("tar", content)}:
        path = tmp_path / f"a.{packing}"
        path.write_bytes(packed)
        assert list(tar_members(path, lambda name: name == "a/b")) == [("a/b", b"7" * 600)]


def png(height: int, width: int) -> bytes:
    """An image of which all but its size is missing."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = {b"IHDR": header, b"IDAT": b"\x78\xda" + deflated(MIB) + bytes(4), b"IEND": b""}
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(each)) + kind + each + struct.pack(">I", zlib.crc32(kind + each))
        for kind, each in parts.items()
    )


@pytest.mark.parametrize("size", [(14000, 14000), (22000, 22000), (2**31 - 1, 2**31 - 1)])
def test_an_image(tmp_path: Path, size: tuple[int, int]) -> None:
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (8, 8)).save(tmp_path / name / "1.png")
    (tmp_path / "dog" / "2.png").write_bytes(png(*size))
    said = refusal(dataset(tmp_path, image_folder=".", image_size=(8, 8)))
    assert f"dog/2.png: is not a readable image: it has {size[0]} x {size[1]} pixels" in said


def test_a_page_in_black_and_white(tmp_path: Path) -> None:
    Image.new("1", (4960, 7016)).save(tmp_path / "a.png")
    assert image_header(tmp_path / "a.png").size == (7016, 4960)


# --- Text in settings ---


def test_compressed_text() -> None:
    assert inflated(zlib.compress(b"text"), 4) == b"text"
    assert inflated(gzip.compress(b"text"), 4, gzipped=True) == b"text"
    for content in (zlib.compress(b"texts"), zlib.compress(b"text")[:-1], zlib.compress(b"t") + b"!"):
        with pytest.raises(Unreadable):
            inflated(content, 4)


# --- What is no bomb, but no file of its kind either ---


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({"metadata.json": b"{}"}, "it has no config.json"),
        ({"config.json": b""}, "its config.json is no JSON"),
        ({"config.json": b"{"}, "its config.json is no JSON"),
        ({"config.json": b"\xff\xfe{}"}, "its config.json is no JSON"),
        ({"config.json": b"[" * 100_000}, "its config.json is no JSON"),
        ({"config.json": b"9" * 5000}, "its config.json is no JSON"),
        ({"config.json": b"{}"}, "it has no model.weights.h5"),
        ({"config.json": b"{}", "model.weights.npz": b""}, "keeps its weights in model.weights.npz"),
        ({"config.json": b"{}", WEIGHTS: b"nonsense"}, "net.keras is damaged or cut short"),
        ({"config.json": b"[" * 900 + b"]" * 900, WEIGHTS: weights(shape=(8, 4))}, "cannot be loaded"),
        ({"config.json": b"{}", WEIGHTS: weights(shape=(8, 4))}, "cannot be loaded"),
        ({"config.json": b"null", WEIGHTS: weights(shape=(8, 4))}, "cannot be loaded"),
        (
            {
                "config.json": json.dumps({"class_name": "function", "config": None}).encode(),
                WEIGHTS: weights(shape=(8, 4)),
            },
            "net.keras uses the function None",
        ),
    ],
)
def test_a_model_file_without_a_model(tmp_path: Path, members: dict[str, bytes], said: str) -> None:
    path = zipped(tmp_path / "net.keras", members)
    assert said in refusal(lambda: load_model(path))


def test_arrays_that_are_no_examples(tmp_path: Path) -> None:
    np.save(tmp_path / "one.npy", np.zeros((9, 1)))
    (tmp_path / "one.npy").rename(tmp_path / "one.npz")
    assert "it is a single array" in refusal(dataset(tmp_path, npz="one.npz"))
    assert "it is a single array" in refusal(lambda: load_samples(tmp_path / "one.npz"))
    for arrays in ({"x": 1.0, "y": 2}, {"x": np.zeros((9, 1)), "y": 2}, {"x": 1.0}):
        np.savez(tmp_path / "a.npz", **arrays)
        assert "must have an axis of examples" in refusal(dataset(tmp_path, npz="a.npz"))
        assert "must have an axis of examples" in refusal(lambda: load_samples(tmp_path / "a.npz"))
    zipped(tmp_path / "a.npz", {".npy": npy_header((1,)) + bytes(8), "x": b"text"})
    assert "has no array x" in refusal(dataset(tmp_path, npz="a.npz"))
    assert "has no array x" in refusal(lambda: load_samples(tmp_path / "a.npz"))
