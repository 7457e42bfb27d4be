"""Data that are none for a model: refused by every command and function before anything is done."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

import pocketkube as pk
from pocketkube.shapes import refuse_other_shapes, shape_fits
from tests.cli.test_bad_input import refused

RNG = np.random.default_rng(0)
SHAPE, OTHER = (8, 8, 1), (9, 9, 1)
LABELS = np.arange(60) % 3


@pytest.fixture(scope="module")
def network() -> keras.Model:
    x = keras.Input(SHAPE)
    y = layers.Conv2D(8, 3, activation="relu")(x)
    y = layers.Dense(3, activation="softmax")(layers.Flatten()(layers.Conv2D(8, 3)(y)))
    model = keras.Model(x, y, name="net")
    model.compile(loss="sparse_categorical_crossentropy")
    return model


@pytest.fixture(scope="module")
def folder(network: keras.Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model file, its LiteRT file, and data that are none for them."""
    folder = tmp_path_factory.mktemp("unfit")
    network.save(folder / "net.keras")
    pk.export(network, folder / "net.tflite")
    right = RNG.random((60, *SHAPE), np.float32)
    np.savez(folder / "right.npz", x=right, y=LABELS)
    np.savez(folder / "size.npz", x=RNG.random((60, *OTHER), np.float32), y=LABELS)
    np.savez(folder / "two.npz", x0=right, x1=right, y=LABELS)
    for name, value in (("nan", np.nan), ("inf", np.inf)):
        bad = right.copy()
        bad[7, 0, 0, 0] = value
        np.savez(folder / f"{name}.npz", x=bad, y=LABELS)
    huge = right.astype(np.float64)
    huge[7] = 1e300
    np.savez(folder / "huge.npz", x=huge, y=LABELS)
    return folder


SAID = {
    "size": r"(9, 9, 1)",
    "two": "",
    "nan": "inputs must be finite; 1 of 60 examples",
    "inf": "inputs must be finite; 1 of 60 examples",
    "huge": "inputs must be finite; 1 of 60 examples",
}


def run(folder: Path, data: Path, output: Path, **sections: str) -> list[object]:
    fields = {
        "model": str(folder / "net.keras"),
        "dataset": f"{{npz: {data}}}",
        "target": "{speedup: 1.3}",
        "stages": "[prune_channels]",
    }
    spec = output / "spec.yaml"
    spec.write_text("".join(f"{key}: {value}\n" for key, value in (fields | sections).items()))
    return ["run", spec, "-o", output / "out"]


COMMANDS: dict[str, Callable[[Path, Path, Path], list[Any]]] = {
    "run": run,
    "search": lambda folder, data, output: [
        "search",
        *run(folder, data, output, search="{over: [prune_channels], trials: 2}")[1:],
    ],
    "prune": lambda folder, data, output: [
        *("prune", folder / "net.keras", "--speedup", 1.3, "--dataset", data),
        *("-o", output / "small.keras"),
    ],
    "export": lambda folder, data, output: [
        *("export", folder / "net.keras", "--data", data, "-o", output / "net.tflite"),
    ],
    "compare": lambda folder, data, output: [
        *("compare", folder / "net.keras", folder / "net.tflite", "--data", data),
    ],
    "benchmark": lambda folder, data, output: ["benchmark", folder / "net.tflite", "--samples", data],
}


@pytest.mark.parametrize("kind", list(SAID))
@pytest.mark.parametrize("command", list(COMMANDS))
def test_every_command_refuses_inputs_that_are_none_for_the_model(
    folder: Path, tmp_path: Path, command: str, kind: str
) -> None:
    line = refused(*COMMANDS[command](folder, folder / f"{kind}.npz", tmp_path))
    assert SAID[kind] in line
    left = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert not left & {"small.keras", "net.tflite", "result.json", "model.keras"}


X = RNG.random((60, *SHAPE), np.float32)


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ((60, 3, 8, 9), (8, 9, 3)),
        ((60, 2, 4, 8, 9), (4, 8, 9, 2)),
        ((60, 3, 8, 9), (None, None, 3)),
        ((60, 8, 9), (8, 9, 1)),
        ((60, 8, 9, 1), (8, 9)),
        ((60, 72), (8, 9, 1)),
        ((60, 8, 9, 1), (72,)),
        ((60, 8, 9, 3), (8, 9, 1)),
        ((60, 8, 9, 4), (8, 9, 1)),
        ((60, 8, 9, 1), (8, 9, 3)),
        ((60, 8, 9, 4), (None, None, 3)),
    ],
)
def test_the_advice_on_axes_makes_arrays_fit(given: tuple[int, ...], wanted: tuple) -> None:
    with pytest.raises(pk.UserError, match="an example; received") as caught:
        refuse_other_shapes("a.npz", [given[1:]], "net", [wanted])
    (advice,) = re.findall(r"by (x[.\[].*)\.$", str(caught.value))
    rearranged = eval(advice, {"x": np.zeros(given, np.uint8)})
    assert shape_fits(rearranged.shape[1:], wanted)
    # Floats would not be scaled to 0…1 as 8-bit images are.
    assert rearranged.dtype == np.uint8


def test_run_says_how_to_bring_arrays_into_shape(folder: Path, tmp_path: Path) -> None:
    first = np.load(folder / "right.npz")["x"].transpose(0, 3, 1, 2)
    np.savez(tmp_path / "chw.npz", x=first, y=LABELS)
    line = refused(*run(folder, tmp_path / "chw.npz", tmp_path))
    assert line.startswith(f"pocketkube: {tmp_path}/chw.npz: ")
    assert line.endswith("the channels come first; bring them last by x.transpose(0, 2, 3, 1).")
    line = refused(*run(folder, folder / "size.npz", tmp_path))
    assert line.endswith("[(9, 9, 1)]: resize x, or use the model's own data.")


@pytest.mark.parametrize(
    ("size", "pixels", "said"),
    [
        (None, (8, 8, 3), "the number of channels differs; save images as gray PNG or JPEG, change"),
        ([8, 8], (9, 7, 3), "the number of channels differs; save images as gray PNG or JPEG, change"),
        (None, (9, 7, 1), "let dataset.image_size be [8, 8], or use the model's own data."),
        ([16, 16], (8, 8, 1), "let dataset.image_size be [8, 8], or use the model's own data."),
        (None, (9, 7, 3), "let dataset.image_size be [8, 8]; the number of channels differs; save"),
    ],
    ids=["channels", "channels-at-the-size", "size", "another-size", "both"],
)
def test_run_says_what_would_make_images_fit(
    folder: Path, tmp_path: Path, size: list[int] | None, pixels: tuple[int, ...], said: str
) -> None:
    for name in ("a", "b"):
        (tmp_path / "images" / name).mkdir(parents=True)
        for number in range(10):
            image = np.full(pixels, number, np.uint8)
            keras.utils.save_img(tmp_path / "images" / name / f"{number}.png", image, scale=False)
    images = f"{{image_folder: {tmp_path / 'images'}{f', image_size: {size}' if size else ''}}}"
    line = refused(*run(folder, tmp_path, tmp_path, dataset=images))
    assert f": {said}" in line
    assert ("image_size" in line) == ("image_size" in said)


def test_a_run_that_fails_says_whose_the_results_in_its_folder_are(
    folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert "earlier run" not in refused(*run(folder, folder / "size.npz", tmp_path))
    out.mkdir(exist_ok=True)
    for name in ("result.json", "report.html"):
        (out / name).write_text(name)
    line = refused(*run(folder, folder / "size.npz", tmp_path))
    assert line.endswith(f" In {out}, result.json and report.html are still of an earlier run.")
    assert (out / "report.html").read_text() == "report.html"


FUNCTIONS: dict[str, Callable[[keras.Model, Any], Any]] = {
    "prune": lambda model, data: pk.prune(model, speedup=1.3, data=data),
    "fine_tune": lambda model, data: pk.fine_tune(model, data),
    "sparsify": lambda model, data: pk.sparsify(model, data),
    "cluster": lambda model, data: pk.cluster(model, data),
    "quantize": lambda model, data: pk.quantize(model, data),
    "distil": lambda model, data: pk.distil(keras.models.clone_model(model), data, teacher=model),
    "compare": lambda model, data: pk.compare(model, model, data),
}


@pytest.mark.parametrize("function", list(FUNCTIONS))
def test_every_function_refuses_data_that_are_none_for_the_model(
    network: keras.Model, function: str
) -> None:
    bad = X.copy()
    bad[7, 0] = np.nan
    for x, y, said in (
        (RNG.random((60, *OTHER), np.float32), LABELS, r"takes inputs of the shapes .*\(9, 9, 1\)"),
        (bad, LABELS, "inputs must be finite; 1 of 60"),
        (X.astype(np.float64) * 1e300, LABELS, "inputs must be finite; 60 of 60"),
        (X, RNG.random((60, 2)), "give class numbers, or a row over all classes"),
        (X, RNG.normal(size=(60, 3)), "give each class's share, from 0 to 1"),
        (X, LABELS + 5, "classes apart"),
        (X, np.where(LABELS, LABELS, np.nan), "labels must be finite"),
    ):
        with pytest.raises(pk.UserError, match=said):
            FUNCTIONS[function](network, (x, y))


def test_a_second_step_looks_at_its_own_labels(network: keras.Model) -> None:
    small = pk.prune(network, speedup=1.3, data=(X, LABELS))
    with pytest.raises(pk.UserError, match="class numbers run from 5 to 7"):
        pk.fine_tune(small, (X, LABELS + 5))


def test_weights_that_are_no_numbers_are_refused_wherever_a_model_comes_from(
    folder: Path, tmp_path: Path
) -> None:
    for value, held in ((np.nan, "NaN"), (np.inf, "infinity")):
        model = keras.saving.load_model(folder / "net.keras")
        weights = model.get_weights()
        weights[0][0, 0, 0, 0] = value
        model.set_weights(weights)
        with pytest.raises(pk.UserError, match=rf"^prune: net: .*kernel holds {held}"):
            pk.prune(model, speedup=1.3)
        model.save(tmp_path / "net.keras")
        with pytest.raises(pk.UserError, match=rf"net.keras: .*kernel holds {held}"):
            pk.import_model(tmp_path / "net.keras")
        prune = ["prune", tmp_path / "net.keras", "--speedup", 1.3, "-o", tmp_path / "small.keras"]
        assert f"holds {held}" in refused(*prune)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--speedup", "nan"], "--speedup: nan is no number that makes a model faster"),
        (["--speedup", "inf"], "--speedup: inf is no number that makes a model faster"),
        (["--speedup=-inf"], "--speedup: -inf is no number that makes a model faster"),
        (["--speedup", "1e300"], "cannot be reached"),
        (["--speedup", "2", "--round-to", "0"], "--round-to: must be at least 1"),
        (["--speedup", "2", "--round-to", "1" + 30 * "0"], "--round-to: must be at most"),
        (["--speedup", "2", "--image-size", "0", "8"], "image size"),
    ],
)
def test_numbers_of_prune(folder: Path, tmp_path: Path, words: list[str], said: str) -> None:
    command = ["prune", str(folder / "net.keras"), "-o", str(tmp_path / "small.keras"), *words]
    assert said in refused(*command)
    assert not (tmp_path / "small.keras").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--runs", "4"], "runs: must be at least 5"),
        (["--runs", "1" + 30 * "0"], "runs: must be at most"),
        (["--threads", "0"], "threads"),
        (["--threads", "-1"], "threads"),
        (["--threads", "100000"], "threads"),
        (["--threads", "1" + 30 * "0"], "threads"),
    ],
)
def test_numbers_of_benchmark(folder: Path, words: list[str], said: str) -> None:
    assert said in refused("benchmark", folder / "net.tflite", *words)
    if words[0] == "--threads":
        table = ["benchmark", folder / "net.keras", "--table", "-o", folder / "table.json", *words]
        assert said in refused(*table)


def test_a_least_agreement_is_a_share(folder: Path, tmp_path: Path) -> None:
    for value in ("nan", "inf", "-1", "2"):
        export = ["export", folder / "net.keras", "-o", tmp_path / "net.tflite", "--format", "float16"]
        assert "has to be between 0 and 1" in refused(*export, f"--min-agreement={value}")


def test_one_unit_is_no_output_of_a_loss_of_classes() -> None:
    model = keras.Sequential([keras.Input(SHAPE), layers.Flatten(), layers.Dense(1)])
    model.compile(loss="sparse_categorical_crossentropy")
    with pytest.raises(pk.UserError, match="has a single unit, but is compiled with"):
        pk.fine_tune(model, (X, LABELS % 2))


def test_whole_numbers_that_32_bits_do_not_hold_are_refused() -> None:
    ids = keras.Sequential([keras.Input((4,), dtype="int32"), layers.Embedding(9, 4), layers.Flatten()])
    with pytest.raises(pk.UserError, match="whole numbers of 32 bits; one of them is 4294967296"):
        pk.compare(ids, ids, np.full((20, 4), 2**32))


@pytest.mark.parametrize("number", [-1, 9])
def test_numbers_that_an_embedding_does_not_know_are_refused(tmp_path: Path, number: int) -> None:
    parts = [keras.Input((4,), dtype="int32"), layers.Embedding(9, 4), layers.Flatten()]
    model = keras.Sequential([*parts, layers.Dense(3, activation="softmax")], name="ids")
    ids = RNG.integers(0, 9, (60, 4))
    ids[5, 1] = number
    with pytest.raises(pk.UserError, match=rf"(from|to) {number}.* of ids knows 0 to 8"):
        pk.fine_tune(model, (ids, LABELS))
    model.save(tmp_path / "net.keras")
    np.savez(tmp_path / "data.npz", x=ids, y=LABELS)
    line = refused(*run(tmp_path, tmp_path / "data.npz", tmp_path))
    assert "of ids knows 0 to 8" in line
