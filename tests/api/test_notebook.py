"""The public API as a notebook uses it: its lines in order, on a small network and real digits."""

import inspect
import pydoc
import re
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from sklearn.datasets import load_digits

import pocketkube as pk
from pocketkube.api.learning import several
from pocketkube.litert.running import LiteRTModel

IMAGES, LABELS = load_digits(return_X_y=True)
DATA = (IMAGES.reshape(-1, 8, 8, 1).astype("float32") / 16, LABELS)


def network() -> keras.Model:
    given = keras.Input((8, 8, 1))
    x = layers.Conv2D(16, 3, activation="relu")(given)
    x = layers.Flatten()(layers.Conv2D(16, 3, activation="relu")(x))
    return keras.Model(given, layers.Dense(10, name="logits")(x), name="digits")


def weights(model: keras.Model) -> list[np.ndarray]:
    return [keras.ops.convert_to_numpy(weight) for weight in model.weights]


@dataclass(frozen=True)
class Notebook:
    model: keras.Model
    before: list[np.ndarray]
    pruned: pk.Network
    tuned: pk.Network
    quantized: pk.Network
    exported: pk.Exported
    old: pk.Exported


@pytest.fixture(scope="module")
def notebook(tmp_path_factory) -> Notebook:
    folder = tmp_path_factory.mktemp("notebook")
    keras.utils.set_random_seed(0)
    model, data = network(), DATA
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, metrics=["accuracy"])
    model.fit(*data, epochs=3, verbose=0)
    before = weights(model)
    pruned = pk.prune(model, speedup=2, data=data)
    tuned = pk.fine_tune(pruned, data, teacher=model, epochs=2)
    quantized = pk.quantize(tuned, data, bits=8, epochs=1)
    exported = pk.export(quantized, folder / "net.tflite", data)
    old = pk.export(model, folder / "old.tflite")
    return Notebook(model, before, pruned, tuned, quantized, exported, old)


def test_the_callers_model_is_left_as_it_is_by_all_calls(notebook) -> None:
    for now, before in zip(weights(notebook.model), notebook.before, strict=True):
        np.testing.assert_array_equal(now, before)
    assert notebook.model.optimizer is not None


def test_a_result_is_left_as_it_is_by_the_next_call(notebook) -> None:
    shapes = [tuple(w.shape) for w in notebook.pruned.model.weights]
    assert [tuple(w.shape) for w in notebook.tuned.model.weights] == shapes
    pairs = zip(weights(notebook.pruned.model), weights(notebook.tuned.model), strict=True)
    assert not all(np.array_equal(ours, theirs) for ours, theirs in pairs)


def test_a_pruned_model_is_smaller_and_still_reads_digits(notebook) -> None:
    assert notebook.pruned.speedup >= 1.9
    assert notebook.pruned.model.count_params() < notebook.model.count_params() / 1.5
    right = notebook.tuned.model.predict(DATA[0], verbose=0).argmax(1) == LABELS
    assert right.mean() > 0.9


def test_what_was_quantized_is_exported_in_integers_and_reads_digits_too(notebook) -> None:
    assert notebook.exported.number_format == "int8"
    assert notebook.exported.agreement is not None
    assert notebook.exported.agreement.share > 0.97
    file = LiteRTModel(notebook.exported.path)
    said = np.concatenate([outputs[0] for outputs in file.predict((DATA[0][:200],))]).argmax(1)
    assert (said == LABELS[:200]).mean() > 0.9
    assert notebook.exported.size_bytes < notebook.old.size_bytes / 2


def test_files_are_measured_and_shown_as_the_command_line_shows_them(notebook, capsys) -> None:
    found = pk.benchmark(
        notebook.exported.path, notebook.old.path, data=DATA, runs=5, max_seconds=1, threads=[1]
    )
    found.show()
    assert "latency p50, 1" in capsys.readouterr().out
    assert [file.format for file in found.files] == ["int8", "float32"]
    assert found.latency_ratio is not None
    assert min(file.score or 0 for file in found.files) > 0.9
    assert "<td" in found._repr_html_()


@pytest.mark.parametrize("drop_remainder", [False, True])
def test_a_file_is_scored_on_batches_as_on_the_arrays(notebook, drop_remainder: bool) -> None:
    settings = {"runs": 5, "max_seconds": 1, "threads": [1]}
    images, labels = DATA[0][:96], DATA[1][:96]
    stream = tf.data.Dataset.from_tensor_slices((images, labels))
    score = pk.benchmark(notebook.old.path, data=(images, labels), **settings).files[0].score
    for data in (stream, stream.batch(8, drop_remainder=drop_remainder)):
        assert pk.benchmark(notebook.old.path, data=data, **settings).files[0].score == score


def test_two_models_are_compared_on_what_was_not_trained_on(notebook) -> None:
    found = pk.compare(notebook.model, notebook.quantized, DATA)
    assert found.examples == round(0.2 * len(LABELS))
    assert found.speedup == pytest.approx(notebook.quantized.speedup)
    assert found.before.size_bytes > 2 * found.after.size_bytes
    assert found.agreement is not None
    assert found.agreement > 0.9
    for text in ("Accuracy", "Multiply-adds (MACs)", "Parameters", "Size, packed", "Same class"):
        assert text in str(found)
        assert text in found._repr_html_()


def test_results_are_text_wherever_they_are_printed(notebook, monkeypatch, capsys) -> None:
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "Multiply-adds (MACs)" in f"result: {notebook.tuned}"
    assert "\x1b" not in str(notebook.tuned)
    assert capsys.readouterr().out == ""


def test_a_prompt_shows_a_line_of_each_result(notebook) -> None:
    found = pk.compare(notebook.model, notebook.pruned)
    for result in (notebook.exported, found, pk.profile(notebook.model), notebook.tuned):
        assert repr(result).startswith(f"<{type(result).__name__} ")
        assert len(repr(result)) < 200
    assert "int8" in repr(notebook.exported)
    assert "fewer MACs" in repr(found)
    same = pk.compare(notebook.model, notebook.model)
    assert repr(same).startswith("<Comparison the same MACs")
    assert repr(pk.Splits(DATA, test=DATA, max_train=9)) == (
        "Splits(validation_fraction=0.1, test_fraction=0.2, max_train=9)"
    )


def test_help_lists_the_settings_that_a_function_takes() -> None:
    for function, setting in (
        (pk.prune, "round_to"),
        (pk.quantize, "granularity"),
        (pk.benchmark, "runs"),
    ):
        assert inspect.signature(function).parameters[setting].kind is inspect.Parameter.KEYWORD_ONLY
        assert re.search(rf"\b{setting}: [^=]+ = \.\.\.", pydoc.plain(pydoc.render_doc(function)))


@pytest.mark.parametrize(
    "several_of",
    [tuple, iter, lambda models: dict(enumerate(models)).values(), lambda models: (m for m in models)],
    ids=["tuple", "iterator", "values of a dict", "generator"],
)
def test_teachers_come_in_whatever_can_be_iterated_over(notebook, several_of) -> None:
    models = [notebook.model, notebook.tuned]
    assert [each.model for each in several(several_of(models), "distil")] == [
        notebook.model,
        notebook.tuned.model,
    ]


def test_what_compresses_leaves_a_model_compiled_that_was(notebook, tmp_path: Path) -> None:
    training = {"epochs": 1, "training": {"batch_size": 256}}
    results = [
        notebook.pruned,
        notebook.tuned,
        notebook.quantized,
        pk.sparsify(notebook.model, DATA, **training),
        pk.cluster(notebook.model),
        pk.distil(notebook.model, DATA, teacher=notebook.model, **training),
    ]
    assert [result.model.compiled for result in results] == [True] * len(results)
    again = keras.saving.load_model(notebook.quantized.save(tmp_path / "small.keras"))
    assert again.evaluate(*DATA, verbose=0, return_dict=True)["accuracy"] > 0.9


def test_results_say_in_a_notebook_what_was_done(notebook) -> None:
    html = notebook.quantized._repr_html_()
    assert html.startswith("<table")
    assert "prune → fine_tune → quantize" in html
    assert "Weights have 8 bits" in html
    assert repr(notebook.tuned).startswith("<Network digits: prune → fine_tune; ")
    assert "conv2d" in str(pk.profile(notebook.model))


def test_zeros_stay_through_fine_tuning_and_quantization() -> None:
    training = {"batch_size": 256}
    sparse = pk.sparsify(network(), DATA, sparsity=0.7, epochs=1, training=training)
    tuned = pk.fine_tune(sparse, DATA, epochs=1, training=training)
    levels = pk.quantize(tuned, DATA[0])
    zeros = [np.asarray(each.model.get_layer("logits").kernel.value == 0) for each in (sparse, tuned)]
    assert zeros[0].mean() > 0.5
    assert zeros[1][zeros[0]].all()
    assert levels.is_sparse
    assert np.asarray(levels.model.get_layer("logits").kernel.value == 0)[zeros[0]].all()


def test_a_packed_file_is_read_with_what_it_holds(tmp_path: Path) -> None:
    few = pk.cluster(network(), bits=3)
    again = pk.import_model(few.save(tmp_path / "few.packed"))
    for ours, theirs in zip(weights(again.model), weights(few.model), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    with pytest.raises(pk.UserError, match=r"^fine_tune: fine_tune trains each weight for itself"):
        pk.fine_tune(again, DATA)
    assert not pk.import_model(few.save(tmp_path / "few.keras")).steps


def test_a_tilde_is_the_home_folder_wherever_a_path_is_given(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    np.savez(tmp_path / "digits.npz", x=DATA[0][:50], y=DATA[1][:50])
    small = pk.prune(network(), speedup=1.5)
    assert small.save("~/net.keras") == tmp_path / "net.keras"
    assert pk.export(pk.import_model("~/net.keras"), "~/net.tflite").path == tmp_path / "net.tflite"
    settings = {"runs": 5, "max_seconds": 1, "threads": [1]}
    assert pk.benchmark("~/net.tflite", data="~/digits.npz", **settings).files[0].score is not None
    assert not (tmp_path / "~").exists()


def test_levels_in_a_keras_file_are_seen(notebook, tmp_path: Path) -> None:
    again = pk.import_model(notebook.quantized.save(tmp_path / "net.keras"))
    assert pk.export(again, tmp_path / "net.tflite").number_format == "int8"


def test_a_model_of_mixed_precision_becomes_a_file_of_float32(tmp_path: Path) -> None:
    mixed = network()
    for layer in mixed.layers:
        layer.dtype_policy = "mixed_float16"
    wanted = network()
    wanted.set_weights(mixed.get_weights())
    exported = pk.export(mixed, tmp_path / "net.tflite")
    (found,) = zip(*LiteRTModel(exported.path.read_bytes()).predict([DATA[0][:64]]), strict=True)
    np.testing.assert_allclose(
        np.concatenate(found), wanted.predict(DATA[0][:64], verbose=0), rtol=1e-4, atol=1e-5
    )
    assert pk.prune(mixed, speedup=2).original.get_layer("logits").compute_dtype == "float32"
    # The caller's own is left as it was.
    assert mixed.get_layer("logits").compute_dtype == "float16"


def with_lookup() -> keras.Model:
    lookup = layers.IntegerLookup(vocabulary=[1, 2, 3])
    return keras.Sequential([keras.Input((1,), dtype="int64"), lookup, layers.Embedding(4, 2)])


def stateful() -> keras.Model:
    given = keras.Input(batch_shape=(4, 5, 3))
    return keras.Sequential([given, layers.LSTM(8, stateful=True, name="memory"), layers.Dense(2)])


def with_lora() -> keras.Model:
    model = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(8, name="wide"), keras.layers.Dense(2)], name="small"
    )
    model.get_layer("wide").enable_lora(2)
    return model


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda m: pk.prune(m), "prune: needs to know how far"),
        (lambda m: pk.prune(m, speedup=2, criterion="tailor"), "did you mean taylor"),
        (
            lambda m: pk.prune(m, speedup=2, criterion="taylor"),
            "judges by examples; give .* l1, l2, bn_scale, fpgm",
        ),
        (lambda m: pk.prune(m, speedup=2, group_size=1), "prune and fine-tune in turn"),
        (lambda m: pk.prune("net.keras", speedup=2), r"^prune: .* pk.import_model\('net.keras'\)"),
        (lambda m: pk.compare(m, Path("net.keras")), r"^compare: .* pk.import_model\('net.keras'\)"),
        (
            lambda m: pk.fine_tune(m, DATA, teacher="big.keras"),
            r"^fine_tune: teacher: takes a Keras model, not the path .* pk.import_model\('big.keras'\)",
        ),
        (
            lambda m: pk.distil(m, DATA, teacher=[Path("big.keras")]),
            r"^distil: teacher: takes a Keras model, not the path .* pk.import_model\('big.keras'\)",
        ),
        (
            lambda m: pk.quantize(m, DATA, teacher=3),
            "^quantize: teacher: takes a Keras model.*received 3",
        ),
        (
            lambda m: pk.distil(m, DATA, teacher={"big": m}),
            r"^distil: teacher: takes a Keras model.*received \{'big'",
        ),
        (lambda m: pk.fine_tune(m, DATA[0]), "fine_tune: the data have no labels.*teacher=model"),
        (lambda m: pk.fine_tune(m, DATA, epoch=3), "did you mean epochs"),
        (lambda m: pk.fine_tune(m, DATA, training={"batch_size": 0}), "training.batch_size"),
        (lambda m: pk.fine_tune(m, (DATA[0][:, :4], LABELS)), r"takes inputs.*\(4, 8, 1\)"),
        (lambda m: pk.fine_tune(m, (DATA[0], LABELS[:3])), "as many examples each.*1797 and 3"),
        (lambda m: pk.fine_tune(m, "fingers"), "fine_tune: data: builtin: 'fingers' is not known"),
        (lambda m: pk.fine_tune(m, (*DATA, LABELS, LABELS)), "weights of examples.*a tuple of 4"),
        (lambda m: pk.fine_tune(m, (*DATA, -LABELS)), "weights of examples are one number each, 0 or"),
        (lambda m: pk.fine_tune(m, DATA, batch_size=32), r"give training=\{'batch_size': 32\}"),
        (lambda m: pk.fine_tune(m, DATA, temperature=3), r"give distillation=\{'temperature': 3\}"),
        (lambda m: pk.fine_tune(m, DATA, foo=1), "use one of data, teacher, training, .*, epochs, "),
        (lambda m: pk.prune(m, speed_up=2), "did you mean speedup"),
        (lambda m: pk.fine_tune(m, ([[1], [2, 3]], [0, 1])), "x: .* rows of the list differ in length"),
        (
            lambda m: pk.benchmark("a.tflite", data=({"b": 1, "a": 2}, 3)),
            "benchmark: data: files do not know a model's names; give several inputs or labels as a",
        ),
        (lambda m: pk.quantize(with_lookup(), [[1]]), "quantize: .* looks values up in a vocabulary"),
        (lambda m: pk.prune(with_lora(), speedup=2), "prune: small: the layer wide has LoRA's weights"),
        (lambda m: pk.benchmark(m), r"benchmark: takes the paths of .tflite files.*name=digits"),
        (
            lambda m: pk.export(m, "net.tflite", number_format="int4"),
            "not known; did you mean int8",
        ),
        (lambda m: pk.quantize(m, None), "needs examples to calibrate on"),
        (lambda m: pk.quantize(m, DATA, bits=np.int64(9)), "^quantize: bits: must be .*; received 9$"),
        (lambda m: pk.quantize(m, DATA[0], epochs=2), "or epochs=0"),
        (lambda m: pk.distil(m, DATA, teacher=None), "needs a teacher"),
        (
            lambda m: pk.distil(m, DATA, teacher=m, width=0.5),
            "distil: width=0.5 goes with the name of a built-in network.*leave width out",
        ),
        (lambda m: pk.prune(stateful(), speedup=2), "prune: .* memory is stateful.*stateful=False"),
        (lambda m: pk.profile(stateful()), "profile: .* memory is stateful.*set_weights"),
        (lambda m: pk.export(m, "net.keras"), "has to end in .tflite"),
        (lambda m: pk.export(m, None), "export: needs the path of a file, as 'net.tflite'.*None"),
        (lambda m: pk.import_model(3), "import_model: needs the path of a file.*received 3"),
        (lambda m: pk.cluster(m, bits=2).save(None), "save: needs the path of a file.*None"),
        (lambda m: pk.export(m, "net.tflite", number_format="int8"), "int8 needs examples"),
        (lambda m: pk.export(m, "net.tflite", min_agreement=0.5), "goes with number_format"),
        (
            lambda m: pk.export(m, "net.tflite", DATA, format="int8"),
            "^export: format: is called number_format here; received 'int8'.$",
        ),
        (lambda m: pk.export(m, "net.tflite", min_agree=0.5), "did you mean min_agreement"),
        (lambda m: pk.Splits(DATA, test_fraction=0.7), "test_fraction.*received 0.7"),
    ],
)
def test_a_mistake_ends_in_one_line_that_says_what_would_be_right(call, said) -> None:
    with pytest.raises(pk.UserError, match=said) as caught:
        call(network())
    assert "\n" not in str(caught.value)


def test_weights_of_classes_hold_for_a_network_that_was_trained_before(notebook) -> None:
    few = (DATA[0][:300], DATA[1][:300])
    tuned = pk.fine_tune(notebook.pruned, few, epochs=1, training={"class_weights": {0: 1, 1: 5}})
    assert tuned.task.heads[0].class_weights == (1.0, 5.0, *(1.0,) * 8)
    assert notebook.pruned.task.heads[0].class_weights == ()


def test_numbers_of_numpy_are_settings_as_pythons_are(notebook) -> None:
    data = (DATA[0][:64], DATA[1][:64])
    calibrated = pk.quantize(
        network(),
        data[0],
        bits=np.int64(4),
        seed=np.int32(3),
        layers={"logits": np.int64(8)},
        calibration_examples=np.int64(16),
    )
    settings = calibrated.steps[-1].settings
    assert (settings.weight_bits, settings.layers, settings.calibration_examples) == (
        4,
        {"logits": 8},
        16,
    )
    training = {"batch_size": np.int64(32), "class_weights": np.linspace(1, 2, 10)}
    tuned = pk.fine_tune(notebook.pruned, data, epochs=np.int64(1), training=training)
    assert len(tuned.steps[-1].history.loss) == 1
    assert tuned.task.heads[0].class_weights == pytest.approx(np.linspace(1, 2, 10))


def test_a_mapping_as_fit_takes_it_says_what_classes_weigh(notebook) -> None:
    balanced = dict(enumerate(np.linspace(0.5, 1.5, 10)))
    data = (DATA[0][:64], DATA[1][:64])
    tuned = pk.fine_tune(notebook.pruned, data, epochs=1, training={"class_weights": balanced})
    assert tuned.task.heads[0].class_weights == pytest.approx(np.linspace(0.5, 1.5, 10))
