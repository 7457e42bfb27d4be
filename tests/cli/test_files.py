"""export and compare: from a model file to a LiteRT file, and how far two models agree."""

import json
import re
from pathlib import Path

import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from keras import layers
from sklearn.datasets import load_digits

from pocketkube.cli import main
from tests.cli.test_bad_input import refused


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small classifier of digits with its data, with labels and without, and networks of any size."""
    place = tmp_path_factory.mktemp("files")
    keras.utils.set_random_seed(0)
    digits = load_digits()
    x, y = (digits.images[..., None] / 16).astype("float32")[:600], digits.target[:600]
    net = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(8, 3, activation="relu"),
            layers.Flatten(),
            layers.Dense(10, activation="softmax"),
        ]
    )
    net.compile("adam", "sparse_categorical_crossentropy")
    net.fit(x, y, epochs=5, verbose=0)
    net.save(place / "net.keras")
    np.savez(place / "data.npz", x=x, y=y)
    np.savez(place / "x.npz", x=x[:64])
    # The same for pixels of 0 to 255, as many networks have it inside.
    scaled = layers.Rescaling(1 / 255)
    keras.Sequential([keras.Input((8, 8, 1)), scaled, *net.layers]).save(place / "bytes.keras")
    np.savez(place / "bytes.npz", x=(255 * x).astype("uint8"), y=y)
    np.savez(place / "others.npz", x=x, y=np.random.default_rng(0).permutation(y))
    image = keras.Input((None, None, 3))
    boxes = layers.Conv2D(4, 1, name="boxes")(layers.PReLU(shared_axes=[1, 2])(image))
    keras.Model(image, boxes).save(place / "open.keras")
    return place


def litert(path: Path, rows: np.ndarray) -> np.ndarray:
    """The runtime by itself; the file takes and gives floats."""
    interpreter = Interpreter(str(path))
    interpreter.allocate_tensors()
    (entry,), (end,) = interpreter.get_input_details(), interpreter.get_output_details()
    outputs = []
    for row in rows:
        interpreter.set_tensor(entry["index"], row[None])
        interpreter.invoke()
        outputs.append(interpreter.get_tensor(end["index"])[0])
    return np.stack(outputs)


def asked(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict:
    capsys.readouterr()
    main([*map(str, arguments), "--json"])
    return json.loads(capsys.readouterr().out)


def test_int8_is_calibrated_on_the_data_and_compared_on_it(folder: Path, capsys) -> None:
    file = folder / "int8.tflite"
    found = asked(
        capsys,
        "export",
        folder / "net.keras",
        "-o",
        file,
        "--format",
        "int8",
        "--data",
        folder / "x.npz",
    )
    assert (found["format"], found["size_bytes"]) == ("int8", file.stat().st_size)
    x = np.load(folder / "x.npz")["x"]
    wanted = keras.saving.load_model(folder / "net.keras").predict(x, verbose=0)
    given = litert(file, x)
    assert found["agreement"]["examples"] == 64
    same = float((given.argmax(1) == wanted.argmax(1)).mean())
    assert found["agreement"]["share"] == pytest.approx(same)
    (output,) = found["agreement"]["outputs"]
    assert output["error"] == pytest.approx(float(np.sqrt(np.square(given - wanted).mean())), rel=1e-4)
    assert not found["on_random_inputs"]


@pytest.mark.parametrize("kind", ["float32", "float16", "dynamic"])
def test_without_data_random_numbers_say_how_far_a_file_is(folder: Path, capsys, kind: str) -> None:
    file = folder / f"{kind}.tflite"
    main(["export", str(folder / "net.keras"), "-o", str(file), "--format", kind])
    said = capsys.readouterr().out
    assert "random inputs" in said
    assert kind in said
    Interpreter(str(file)).allocate_tensors()


def test_with_labels_the_classes_are_compared_on_test_examples(folder: Path, capsys) -> None:
    found = asked(
        capsys,
        "export",
        folder / "net.keras",
        "-o",
        folder / "labelled.tflite",
        "--format",
        "int8",
        "--data",
        folder / "data.npz",
    )
    assert found["agreement"]["examples"] == 120
    assert found["agreement"]["share"] > 0.95


def test_a_size_that_is_open_is_asked_for(folder: Path, tmp_path: Path, capsys) -> None:
    net, file = folder / "open.keras", tmp_path / "open.tflite"
    line = refused("export", net, "-o", file)
    assert "open.keras takes inputs of any size, (None, None, 3): give --image-size" in line
    asked(capsys, "export", net, "-o", file, "--image-size", 12, 20)
    x = np.random.default_rng(0).random((3, 12, 20, 3), np.float32)
    wanted = keras.saving.load_model(net).predict(x, verbose=0)
    np.testing.assert_allclose(litert(file, x), wanted, atol=1e-5)
    np.savez(tmp_path / "x.npz", x=x[:, :, :9])
    found = asked(capsys, "export", net, "-o", file, "--data", tmp_path / "x.npz")
    assert found["agreement"]["share"] > 0.99
    assert tuple(Interpreter(str(file)).get_input_details()[0]["shape"]) == (1, 12, 9, 3)


def test_a_pruned_model_takes_any_size_as_the_first_does(tmp_path: Path, capsys) -> None:
    net, small, file = (tmp_path / name for name in ("net.keras", "small.keras", "small.tflite"))
    conv = keras.layers.Conv2D
    keras.Sequential([keras.Input((None, None, 3)), conv(8, 3), conv(2, 1)]).save(net)
    found = asked(
        capsys,
        *("prune", net, "--image-size", 12, 20, "--speedup", 1.5),
        *("--round-to", 1, "-o", small),
    )
    assert found["speedup"] >= 1.5
    asked(capsys, "export", small, "-o", file, "--image-size", 8, 16)
    x = np.random.default_rng(0).random((3, 8, 16, 3), np.float32)
    wanted = keras.saving.load_model(small).predict(x, verbose=0)
    np.testing.assert_allclose(litert(file, x), wanted, atol=1e-5)


def test_what_is_wrong_with_an_export_is_one_line_and_no_file(folder: Path, tmp_path: Path) -> None:
    net, file = folder / "net.keras", tmp_path / "net.tflite"
    assert "has to end in .tflite" in refused("export", net, "-o", tmp_path / "net.lite")
    line = refused("export", net, "-o", file, "--format", "int8")
    assert "int8 is calibrated on examples; give --data" in line
    np.savez(tmp_path / "other.npz", x=np.zeros((4, 9, 9, 1), np.float32))
    line = refused("export", net, "-o", file, "--data", tmp_path / "other.npz")
    assert "takes inputs of the shapes [(8, 8, 1)] an example; received [(9, 9, 1)]" in line
    np.savez(tmp_path / "flat.npz", x=np.zeros((4, 9), np.float32))
    line = refused("export", folder / "open.keras", "-o", file, "--data", tmp_path / "flat.npz")
    assert "takes inputs of the shapes [(None, None, 3)] an example; received [(9,)]" in line
    line = refused("export", net, "-o", file, "--image-size", 9, 9)
    assert "takes inputs of the fixed shapes [(8, 8, 1)]; leave the image size out" in line
    assert "goes with --format" in refused("export", net, "-o", file, "--min-agreement", 0.5)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["flat.npz", "other.npz"]


def test_images_in_another_range_than_the_models_are_refused(
    folder: Path, tmp_path: Path, capsys
) -> None:
    net, data, file = folder / "bytes.keras", folder / "bytes.npz", tmp_path / "net.tflite"
    export = ("export", net, "-o", file, "--format", "int8", "--data")
    for command in ((*export, data), ("compare", net, net, "--data", data)):
        line = refused(*command)
        assert re.search(
            r"range \[0, 1\], where .* has accuracy \d.*; in \[0, 255\] it has accuracy 9", line
        )
        assert line.endswith(": give --value-range 0 255.")
    asked(capsys, "export", net, "-o", tmp_path / "floats.tflite")
    benchmark = ("benchmark", tmp_path / "floats.tflite", "--runs", 5, "--samples", data)
    assert refused(*benchmark).endswith(": give --value-range 0 255.")
    found = asked(capsys, *benchmark, "--value-range", 0, 255)
    assert found["files"][0]["score"] > 0.8
    (tmp_path / "floats.tflite").unlink()
    line = refused(*export, folder / "data.npz")
    assert line.endswith("save 255 * x as x, for it is not of 8 bits and taken as it is.")
    assert not file.exists()
    found = asked(capsys, *export, data, "--value-range", 0, 255)
    assert found["agreement"]["share"] > 0.9
    assert not any("chance" in note for note in found["notes"])
    found = asked(capsys, "compare", net, file, "--data", data, "--value-range", 0, 255)
    assert min(found["scores"]["first"], found["scores"]["second"]) > 0.8
    assert found["warnings"] == []
    assert "must rise, as in 0 255; received 255 0" in refused(*export, data, "--value-range", 255, 0)
    assert "goes with --data" in refused("export", net, "-o", file, "--value-range", 0, 255)


def test_a_model_that_is_at_chance_in_every_range_is_told_of(
    folder: Path, tmp_path: Path, capsys
) -> None:
    net, data = folder / "net.keras", folder / "others.npz"
    found = asked(capsys, "export", net, "-o", tmp_path / "net.tflite", "--data", data)
    assert "chance for 10 classes" in found["notes"][0]
    found = asked(capsys, "compare", net, net, "--data", data)
    assert "chance for 10 classes" in found["warnings"][0]
    main(["compare", str(net), str(net), "--data", str(data)])
    said = capsys.readouterr()
    assert "chance for 10 classes" in said.err
    assert "chance for 10 classes" not in said.out
    # Without labels all that can be told is that nothing changes.
    constant = keras.Sequential([keras.Input((8, 8, 1)), layers.Flatten(), layers.Dense(10, "softmax")])
    constant.layers[-1].set_weights([np.zeros((64, 10)), np.arange(10.0)])
    constant.save(tmp_path / "constant.keras")
    net, data = tmp_path / "constant.keras", folder / "x.npz"
    found = asked(capsys, "compare", net, net, "--data", data)
    assert found["warnings"][0].startswith("the model answers the same on all 64 examples")
    found = asked(capsys, "export", net, "-o", tmp_path / "net.tflite", "--data", data)
    assert found["notes"][0].startswith("the model answers the same on all 64 examples")


def test_two_models_are_compared_with_labels(folder: Path, tmp_path: Path, capsys) -> None:
    net, file = folder / "net.keras", tmp_path / "net.tflite"
    main(["export", str(net), "-o", str(file), "--format", "int8", "--data", str(folder / "data.npz")])
    found = asked(capsys, "compare", net, file, "--data", folder / "data.npz")
    with np.load(folder / "data.npz") as data:
        x, y = data["x"], data["y"]
    before, after = keras.saving.load_model(net).predict(x, verbose=0), litert(file, x)
    assert found["examples"] == 600
    (output,) = found["outputs"]
    assert output["same_class"] == pytest.approx(float((before.argmax(1) == after.argmax(1)).mean()))
    relative = np.linalg.norm(after - before) / np.linalg.norm(before)
    assert output["relative_error"] == pytest.approx(float(relative), rel=1e-4)
    assert output["largest_difference"] == pytest.approx(float(np.abs(after - before).max()), rel=1e-4)
    assert found["scores"]["name"] == "accuracy"
    assert found["scores"]["first"] == pytest.approx(float((before.argmax(1) == y).mean()))
    assert found["scores"]["second"] == pytest.approx(float((after.argmax(1) == y).mean()))
    main(["compare", str(file), str(net), "--data", str(folder / "data.npz")])
    said = capsys.readouterr().out
    assert "Accuracy" in said
    assert "Same class" in said


def test_two_models_are_compared_without_labels(folder: Path, capsys) -> None:
    found = asked(
        capsys, "compare", folder / "net.keras", folder / "net.keras", "--data", folder / "x.npz"
    )
    assert found["scores"] is None
    (output,) = found["outputs"]
    assert (output["same_class"], output["relative_error"]) == (1.0, 0.0)
    data = folder / "any.npz"
    np.savez(data, x=np.random.default_rng(0).random((2, 5, 7, 3), np.float32))
    found = asked(capsys, "compare", folder / "open.keras", folder / "open.keras", "--data", data)
    (output,) = found["outputs"]
    # Boxes at each place are no classes.
    assert output == {
        "name": "boxes",
        "same_class": None,
        "relative_error": 0.0,
        "largest_difference": 0.0,
    }


def test_models_that_cannot_be_compared(folder: Path, tmp_path: Path) -> None:
    net, data = folder / "net.keras", folder / "x.npz"
    line = refused("compare", net, folder / "open.keras", "--data", data)
    assert "open.keras takes inputs of the shapes [(None, None, 3)] an example" in line
    other = keras.Sequential([keras.Input((8, 8, 1)), layers.Flatten(), layers.Dense(3)])
    other.save(tmp_path / "other.keras")
    line = refused("compare", net, tmp_path / "other.keras", "--data", data)
    assert "gives outputs of the shapes [(10,)] an example, but" in line
    assert "[(3,)]: they cannot be compared" in line
    (tmp_path / "no.tflite").write_bytes(b"nothing of the kind")
    assert "is not a LiteRT file" in refused("compare", net, tmp_path / "no.tflite", "--data", data)
    np.savez(tmp_path / "y.npz", x=np.zeros((2, 8, 8, 1), np.float32), y=[3, 11])
    line = refused("compare", net, net, "--data", tmp_path / "y.npz")
    assert "class numbers run from 3 to 11" in line
    np.savez(tmp_path / "none.npz", y=[3, 11])
    assert "has no array x" in refused("compare", net, net, "--data", tmp_path / "none.npz")
    np.savez(tmp_path / "other.npz", images=np.zeros((2, 8, 8, 1)), labels=[3, 1])
    for words in (["compare", net, net], ["export", net, "-o", tmp_path / "net.tflite"]):
        line = refused(*words, "--data", tmp_path / "other.npz")
        assert line.endswith(
            "has no array x; give x, or x0, x1, … without gaps. It has: images, labels."
        )
