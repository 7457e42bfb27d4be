"""Models of an older Keras give what Keras 2 wrote beside them."""

import json
import shutil
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import pocketkube as pk
from pocketkube import keras_private
from pocketkube.bundle import load_model
from pocketkube.cli import main
from pocketkube.errors import UserError
from pocketkube.older_keras import load_older, masks
from pocketkube.stages.networks import network_with_notes
from tests.cli.test_bad_input import refused, write_spec

FILES = Path(__file__).with_name("files")


def outputs(model: keras.Model, x: np.ndarray) -> dict[str, np.ndarray]:
    found = model.predict(x, verbose=0)
    return found if isinstance(found, dict) else {"y": found}


@pytest.mark.parametrize(
    ("file", "data"),
    [
        ("images.h5", "images"),
        ("images", "images"),
        ("words.h5", "words"),
        ("sequences.h5", "sequences"),
        ("masked.h5", "masked"),
        ("nested.h5", "nested"),
        ("transfer.h5", "transfer"),
        ("frames.h5", "frames"),
    ],
)
def test_outputs_are_those_of_keras_2(file: str, data: str, tmp_path: Path) -> None:
    with np.load(FILES / f"{data}.npz") as archive:
        wanted = dict(archive)
    x = wanted.pop("x")
    model = load_older(FILES / file).model
    model.save(tmp_path / "net.keras")
    for each in (model, load_model(tmp_path / "net.keras")):
        found = outputs(each, x)
        assert found.keys() == wanted.keys()
        for name, values in wanted.items():
            np.testing.assert_allclose(found[name], values, rtol=1e-5, atol=1e-6)


def test_a_single_input_and_output_are_no_lists() -> None:
    """Keras 2 writes them as lists of one and reads them as tensors."""
    model = load_older(FILES / "frames.h5").model
    assert isinstance(model.input, keras.KerasTensor)
    assert isinstance(model.output, keras.KerasTensor)
    assert model(np.zeros((1, 2, 6, 6, 3), np.float32)).shape == (1, 2, 8)


def test_a_saved_models_own_graph_gives_the_same() -> None:
    x = np.load(FILES / "images.npz")["x"]
    graph = tf.saved_model.load(str(FILES / "images")).signatures["serving_default"]
    own = graph(**{name: tf.constant(x) for name in graph.structured_input_signature[1]})
    found = outputs(load_older(FILES / "images").model, x)
    for name, values in found.items():
        np.testing.assert_allclose(values, own[name].numpy(), rtol=1e-5, atol=1e-6)


def test_the_loss_is_kept_and_what_is_not_is_told() -> None:
    found = load_older(FILES / "images.h5")
    assert {name: getattr(each, "name", each) for name, each in found.model.loss.items()} == {
        "kind": "sparse_categorical_crossentropy",
        "box": "mse",
    }
    assert found.notes == (
        "Its optimizer and metrics are left behind: training begins with those of a spec.",
    )


def test_a_file_of_keras_3s_own_is_read_too(tmp_path: Path) -> None:
    image = keras.Input((6, 6, 2))
    inner = keras.Sequential([keras.Input((6, 6, 2)), layers.Conv2D(2, 3, padding="same")])
    net = keras.Model(image, layers.Dense(3)(layers.Flatten()(layers.Add()([inner(image), image]))))
    net.compile("adam", "mse")
    net.save(tmp_path / "net.h5")
    found = load_older(tmp_path / "net.h5").model
    x = np.random.default_rng(0).random((3, 6, 6, 2), np.float32)
    np.testing.assert_array_equal(found.predict(x, verbose=0), net.predict(x, verbose=0))
    assert found.loss == "mse"


def test_sequential_models_of_early_keras_2_are_lists(tmp_path: Path) -> None:
    """Before 2.2.3 the configuration was the list of layers, and GRU had no reset_after."""
    shutil.copy(FILES / "words.h5", tmp_path / "old.h5")
    with h5py.File(tmp_path / "old.h5", "r+") as file:
        config = json.loads(file.attrs["model_config"])
        listed = config["config"]["layers"][1:]
        for layer in listed:
            layer["config"].pop("reset_after", None)
        listed[0]["config"]["batch_input_shape"] = [None, 7]
        file.attrs["model_config"] = json.dumps({"class_name": "Sequential", "config": listed})
        file.attrs["keras_version"] = "2.1.6"
    with np.load(FILES / "words.npz") as data:
        found = load_older(tmp_path / "old.h5").model.predict(data["x"], verbose=0)
        np.testing.assert_allclose(found, data["y"], rtol=1e-5, atol=1e-6)


def node(kind: str, name: str, *inputs: str, **settings: object) -> dict:
    """A layer as Keras 2 wrote it, called once."""
    calls = [[[each, 0, 0, {}] for each in inputs]] if inputs else []
    config = {"name": name, "trainable": True, "dtype": "float32", **settings}
    return {"class_name": kind, "config": config, "name": name, "inbound_nodes": calls}


def convnext_of_keras_2(place: Path, rng: np.random.Generator, **scale: object) -> dict:
    """A block of keras.applications.ConvNeXtTiny in the words of Keras 2.10, and its weights."""
    dense = {"activation": "linear", "use_bias": True}
    block = "convnext_tiny_stage_0_block_0"
    added = node("TFOpLambda", "tf.__operators__.add", function="__operators__.add")
    added["inbound_nodes"] = [["stem", 0, 0, {"y": [f"{block}_drop", 0, 0], "name": None}]]
    nodes = [
        node("InputLayer", "image", batch_input_shape=[None, 16, 16, 3], sparse=False, ragged=False),
        node("Conv2D", "stem", "image", filters=8, kernel_size=[4, 4], strides=[4, 4]),
        node("DepthwiseConv2D", f"{block}_depthwise", "stem", kernel_size=[3, 3], padding="same"),
        node("LayerNormalization", f"{block}_norm", f"{block}_depthwise", axis=[3], epsilon=1e-6),
        node("Dense", f"{block}_out", f"{block}_norm", units=16, **dense),
        node("Activation", f"{block}_gelu", f"{block}_out", activation="gelu"),
        node("Dense", f"{block}_in", f"{block}_gelu", units=8, **dense),
        node(
            "LayerScale", f"{block}_scale", f"{block}_in", init_values=1e-6, projection_dim=8, **scale
        ),
        node("StochasticDepth", f"{block}_drop", f"{block}_scale", drop_path_rate=0.1),
        added,
        node("GlobalAveragePooling2D", "pooled", "tf.__operators__.add"),
    ]
    config = {"name": "convnext", "layers": nodes, "trainable": True}
    config |= {"input_layers": [["image", 0, 0]], "output_layers": [["pooled", 0, 0]]}
    shapes = {
        "stem": {"kernel": (4, 4, 3, 8), "bias": (8,)},
        f"{block}_depthwise": {"depthwise_kernel": (3, 3, 8, 1), "bias": (8,)},
        f"{block}_norm": {"gamma": (8,), "beta": (8,)},
        f"{block}_out": {"kernel": (8, 16), "bias": (16,)},
        f"{block}_in": {"kernel": (16, 8), "bias": (8,)},
        f"{block}_scale": {"Variable": (8,)},
    }
    weights = {
        layer: {name: rng.normal(size=shape).astype("float32") for name, shape in each.items()}
        for layer, each in shapes.items()
    }
    with h5py.File(place, "w") as file:
        file.attrs["keras_version"], file.attrs["backend"] = "2.10.0", "tensorflow"
        file.attrs["model_config"] = json.dumps({"class_name": "Functional", "config": config})
        group = file.create_group("model_weights")
        group.attrs["layer_names"] = list(weights)
        for layer, each in weights.items():
            group.create_group(layer).attrs["weight_names"] = [f"{layer}/{name}:0" for name in each]
            for name, value in each.items():
                group[layer][f"{layer}/{name}:0"] = value
    return weights


def test_a_convnext_of_keras_2(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    weights = convnext_of_keras_2(tmp_path / "net.h5", rng)
    main(["import", str(tmp_path / "net.h5"), "-o", str(tmp_path / "net.keras")])
    x = rng.normal(size=(3, 16, 16, 3)).astype("float32")
    (stem, depthwise, norm, widened, narrowed, scale) = (
        list(each.values()) for each in weights.values()
    )
    y = keras.ops.conv(x, stem[0], strides=4) + stem[1]
    z = keras.ops.depthwise_conv(y, depthwise[0], padding="same") + depthwise[1]
    z = z - keras.ops.mean(z, -1, keepdims=True)
    z = z / keras.ops.sqrt(keras.ops.mean(z**2, -1, keepdims=True) + 1e-6) * norm[0] + norm[1]
    z = keras.activations.gelu(z @ widened[0] + widened[1]) @ narrowed[0] + narrowed[1]
    wanted = keras.ops.mean(y + z * scale[0], (1, 2))
    found = keras.saving.load_model(tmp_path / "net.keras").predict(x, verbose=0)
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)
    convnext_of_keras_2(tmp_path / "other.h5", rng, temperature=2.0)
    with pytest.raises(UserError, match="a LayerScale has temperature: 2"):
        load_older(tmp_path / "other.h5")


def changed(place: Path, change) -> Path:  # type: ignore[no-untyped-def]
    """images.h5 with another configuration."""
    shutil.copy(FILES / "images.h5", place)
    with h5py.File(place, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        change({layer["name"]: layer for layer in config["config"]["layers"]})
        file.attrs["model_config"] = json.dumps(config)
    return place


def test_operations_without_a_layer_are_named(tmp_path: Path) -> None:
    def change(layers) -> None:  # type: ignore[no-untyped-def]
        layers["tf.math.truediv"]["config"]["function"] = "image.adjust_hue"

    with pytest.raises(UserError, match=r"tf\.math\.truediv is TensorFlow's image\.adjust_hue, called"):
        load_older(changed(tmp_path / "net.h5", change))


def test_settings_that_keras_3_has_not_are_named(tmp_path: Path) -> None:
    def change(layers) -> None:  # type: ignore[no-untyped-def]
        layers["stem/bn"]["config"]["virtual_batch_size"] = 4

    with pytest.raises(UserError, match="a BatchNormalization has virtual_batch_size: 4, which"):
        load_older(changed(tmp_path / "net.h5", change))


def test_settings_that_are_true_do_not_vanish(tmp_path: Path) -> None:
    """True equals 1, which many settings are where they say nothing."""

    def change(layers) -> None:  # type: ignore[no-untyped-def]
        layers["stem/bn"]["config"]["time_major"] = True

    with pytest.raises(UserError, match="a BatchNormalization has time_major: True, which"):
        load_older(changed(tmp_path / "net.h5", change))

    def ragged(layers) -> None:  # type: ignore[no-untyped-def]
        first = next(each for each in layers.values() if each["class_name"] == "InputLayer")
        first["config"]["ragged"] = True

    with pytest.raises(UserError, match="a InputLayer has ragged: True, which"):
        load_older(changed(tmp_path / "net.h5", ragged))


def test_an_array_that_is_not_there_fills_no_memory(tmp_path: Path) -> None:
    shutil.copy(FILES / "images.h5", tmp_path / "net.h5")
    with h5py.File(tmp_path / "net.h5", "r+") as file:
        group = next(g for g in file["model_weights"].values() if len(g.attrs.get("weight_names", ())))
        name = group.attrs["weight_names"][0]
        del group[name]
        group.create_dataset(name, (10**6, 10**6), "f4", chunks=(1024, 1024))
    with pytest.raises(UserError, match=r"it unpacks to 4e\+03 GB or more; of"):
        load_older(tmp_path / "net.h5")


def test_weights_of_another_shape_are_refused(tmp_path: Path) -> None:
    def change(layers) -> None:  # type: ignore[no-untyped-def]
        layers["box"]["config"]["units"] = 5

    with pytest.raises(UserError, match=r"weights of box \(Dense\) are kernel \(6, 2\), bias \(2,\)"):
        load_older(changed(tmp_path / "net.h5", change))


def test_bad_files_are_one_line_and_nothing_is_left(tmp_path: Path) -> None:
    output = tmp_path / "net.keras"
    line = refused("import", FILES / "lambda.h5", "-o", output)
    assert "lambda.h5 has a Lambda layer (lambda), whose code safe mode does not run" in line
    line = refused("import", FILES / "weights_alone.h5", "-o", output)
    assert "weights_alone.h5 holds weights alone, without the network" in line
    cut = tmp_path / "cut.h5"
    cut.write_bytes((FILES / "images.h5").read_bytes()[:20_000])
    assert "cut.h5 is damaged or cut short" in refused("import", cut, "-o", output)
    assert "There is no model file" in refused("import", tmp_path / "no.h5", "-o", output)
    assert "no SavedModel's folder" in refused("import", tmp_path, "-o", output)
    assert "has to end in .keras" in refused("import", FILES / "images.h5", "-o", tmp_path / "a.h5")

    def change(layers) -> None:  # type: ignore[no-untyped-def]
        layers["re_lu"]["class_name"] = "Wobble"

    line = refused("import", changed(tmp_path / "own.h5", change), "-o", output)
    assert "own.h5 uses the class Wobble (re_lu), which is not known here" in line
    assert not output.exists()


def test_a_saved_model_of_functions_or_one_that_is_cut_short(tmp_path: Path) -> None:
    keras.Sequential([keras.Input((4,)), layers.Dense(2)]).export(tmp_path / "functions", verbose=False)
    line = refused("import", tmp_path / "functions", "-o", tmp_path / "net.keras")
    assert "functions holds functions without the layers that they were made of" in line
    for missing in ("variables/variables.index", "saved_model.pb"):
        folder = tmp_path / missing.replace("/", "_")
        shutil.copytree(FILES / "images", folder)
        (folder / missing).write_bytes(b"nothing of the kind")
        line = refused("import", folder, "-o", tmp_path / "net.keras")
        assert "is damaged or incomplete" in line
    assert not (tmp_path / "net.keras").exists()


def test_a_file_that_reads_from_another_is_refused(tmp_path: Path) -> None:
    shutil.copy(FILES / "images.h5", tmp_path / "net.h5")
    with h5py.File(tmp_path / "net.h5", "r+") as file:
        group = file["model_weights/box"]
        del group["box/bias:0"]
        group["box/bias:0"] = h5py.ExternalLink(FILES / "images.h5", "model_weights/box/box/bias:0")
    with pytest.raises(UserError, match="stands in another file"):
        load_older(tmp_path / "net.h5")


def test_lambdas_in_files_of_keras_3_are_refused(tmp_path: Path) -> None:
    net = keras.Sequential([keras.Input((4,)), layers.Lambda(lambda x: x * 2), layers.Dense(2)])
    net.save(tmp_path / "net.h5")
    with pytest.raises(UserError, match="has a Lambda layer"):
        load_older(tmp_path / "net.h5")


def test_commands_and_specs_take_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["import", str(FILES / "images"), "-o", str(tmp_path / "net.keras")])
    assert "12 x 12 x 3 ->" in capsys.readouterr().out
    main(
        [
            "prune",
            str(FILES / "images.h5"),
            "--speedup",
            "1.2",
            "--round-to",
            "1",
            "-o",
            str(tmp_path / "a.keras"),
        ]
    )
    assert "fewer MACs" in capsys.readouterr().out
    shutil.copytree(FILES / "images", tmp_path / "old")
    spec = write_spec(tmp_path, model="old", dataset="digits", width="0.5")
    line = refused("run", spec, "-o", tmp_path / "out")
    assert "width: multiplies built-in networks only, and model is the file" in line
    line = refused("run", write_spec(tmp_path, model="old"), "-o", tmp_path / "out")
    assert "takes inputs of the shapes [(12, 12, 3)] an example; received" in line


def test_keras_files_of_keras_2_say_what_to_do() -> None:
    with pytest.raises(
        UserError, match=r"was written by Keras 2\..*call model\.save\('net\.h5'\), and"
    ):
        load_model(FILES / "of_keras_2.keras")


def test_a_file_is_read_as_what_it_is_where_its_ending_says_another(tmp_path: Path) -> None:
    """Up to TensorFlow 2.11, model.save("net.keras") wrote HDF5."""
    with np.load(FILES / "words.npz") as archive:
        wanted = dict(archive)
    x = wanted.pop("x")
    shutil.copy(FILES / "words.h5", tmp_path / "old.keras")
    found = outputs(load_model(tmp_path / "old.keras"), x)
    for name, values in wanted.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-5, atol=1e-6)
    net = keras.Sequential([keras.Input((2,)), layers.Dense(1)])
    net.save(tmp_path / "new.keras")
    (tmp_path / "new.keras").rename(tmp_path / "new.h5")
    with pytest.raises(UserError, match=r"new\.h5 is no HDF5 file.*: rename it to new\.keras\."):
        load_model(tmp_path / "new.h5")
    net.save(tmp_path / "third.h5")
    (tmp_path / "third.h5").rename(tmp_path / "third.keras")
    with pytest.raises(UserError, match=r"third\.keras is an HDF5 file: rename it to third\.h5\."):
        load_model(tmp_path / "third.keras")


def with_loss(place: Path, loss: str) -> Path:
    """words.h5 as if it had been compiled with another loss."""
    shutil.copy(FILES / "words.h5", place)
    with h5py.File(place, "r+") as file:
        file.attrs["training_config"] = json.dumps({"loss": loss, "loss_weights": None})
    return place


def test_losses_that_keras_3_calls_otherwise_stay(tmp_path: Path) -> None:
    for old, new in (("logcosh", "log_cosh"), ("kullback_leibler_divergence", "kl_divergence")):
        found = pk.import_model(with_loss(tmp_path / "net.h5", old))
        assert found.model.loss == new
        assert keras.losses.get(found.model.loss) is getattr(keras.losses, new)


def test_a_loss_that_is_left_behind_is_told_wherever_the_file_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    net = with_loss(tmp_path / "net.h5", "wobble")
    told = "Its loss, wobble, is not known here and is left behind"
    found = pk.import_model(net)
    assert [remark[: len(told)] for remark in found.remarks] == [told]
    assert told in str(found).replace("\n", " ")
    main(["prune", str(net), "--speedup", "1.2", "--round-to", "1", "-o", str(tmp_path / "a.keras")])
    assert f"note: {told}" in capsys.readouterr().out
    came = network_with_notes("model", str(net), 1.0, None, 0)
    assert [note[: len(told)] for note in came.notes] == [told]


def test_masks_go_on_as_in_keras_2_where_they_arrive_and_only_there() -> None:
    """What they compute is among the outputs that Keras 2 wrote; see `make_files.masked`."""
    model = load_older(FILES / "masked.h5").model
    kinds = {layer.name: type(layer).__name__ for layer in keras_private.flat_layers(model)}
    assert kinds["add"] == "MergingAdd"
    assert kinds["concatenate"] == "MergingConcatenate"
    assert kinds["tf.concat"] == "UnmaskedConcatenate"
    assert kinds["rescaling"] == "UnmaskedRescaling"
    assert kinds["decoder_mask"] == "MaskOf"
    inner = keras_private.flat_layers(load_older(FILES / "nested.h5").model)
    assert {"MergingMaximum", "MergingAdd"} <= {type(layer).__name__ for layer in inner}
    # After pooling no mask is left, and files without masks are read as ever.
    assert kinds["unmasked_add"] == "Add"
    for name in ("images.h5", "words.h5", "sequences.h5"):
        found = keras_private.flat_layers(load_older(FILES / name).model)
        assert all(type(layer).__module__.startswith("keras.") for layer in found)


def test_what_counts_in_merged_inputs() -> None:
    ones, kinds = np.ones((1, 2, 3, 4), bool), masks.MERGING
    first, second = np.array([[True, True, False]]), np.array([[False, True, True]])
    x = np.zeros((1, 3, 4), np.float32)
    both = kinds["Add"]().compute_mask([x, x, x], [first, None, second])
    assert both.numpy().tolist() == [[False, True, False]]
    wider = kinds["Concatenate"]().compute_mask([x, x], [first, second])
    assert wider.numpy().tolist() == [[False, True, False]]
    longer = kinds["Concatenate"](axis=1).compute_mask([x, x], [first, None])
    assert longer.numpy().tolist() == [[True, True, False, True, True, True]]
    # A mask of two axes beside the batch goes with the second of them.
    rows = kinds["Concatenate"](axis=2).compute_mask([ones, ones], [ones[..., 0], ~ones[..., 0]])
    assert rows.numpy().tolist() == [[[True] * 3 + [False] * 3] * 2]
    assert kinds["Add"]().compute_mask([x, x], [None, None]) is None


def test_a_masked_network_is_cut_and_still_leaves_out_what_it_did(tmp_path: Path) -> None:
    keras.utils.set_random_seed(0)
    words = keras.Input((7,), dtype="int32")
    meant = layers.Embedding(9, 16, mask_zero=True, name="meant")(words)
    y = masks.MERGING["Add"](name="sum")([meant, layers.Embedding(9, 16, name="places")(words)])
    net = keras.Model(words, layers.Dense(3)(layers.GRU(16)(y)))
    net.save(tmp_path / "net.keras")
    smaller = tmp_path / "smaller.keras"
    main(
        ["prune", str(tmp_path / "net.keras"), "--speedup", "2", "--round-to", "1", "-o", str(smaller)]
    )
    model = load_model(smaller)
    table = model.get_layer("meant").embeddings
    assert table.shape[1] < 16, "channels go through the sum"
    assert table.shape == model.get_layer("places").embeddings.shape
    x = np.array([[3, 5, 2, 0, 0, 0, 0], [1, 8, 8, 4, 7, 6, 0]], np.int32)
    before = model.predict(x, verbose=0)
    # What stands for a place without a word does not count.
    table.assign(np.vstack([table.numpy()[:1] + 5, table.numpy()[1:]]))
    np.testing.assert_array_equal(model.predict(x, verbose=0), before)
    x[0, 3:] = 3
    assert not np.allclose(model.predict(x, verbose=0)[0], before[0]), "words do count"
    x[0, 3:] = 0
    content = pk.export(net, tmp_path / "net.tflite").path.read_bytes()
    runner = tf.lite.Interpreter(model_content=content)
    runner.allocate_tensors()
    runner.set_tensor(runner.get_input_details()[0]["index"], x[:1])
    runner.invoke()
    found = runner.get_tensor(runner.get_output_details()[0]["index"])
    np.testing.assert_allclose(found, net.predict(x[:1], verbose=0), rtol=1e-4, atol=1e-5)
