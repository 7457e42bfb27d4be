"""The benchmark on real LiteRT files: figures, scores, refusals, and what it does without."""

import dataclasses
import gzip
import io
import json
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema
from rich.console import Console

import pocketkube as pk
from pocketkube.benchmarking import benchmark, environment, memory, render_table
from pocketkube.benchmarking.memory import measure_loading
from pocketkube.benchmarking.number_format import number_format
from pocketkube.benchmarking.samples import load_samples
from pocketkube.benchmarking.timing import Rounds
from pocketkube.deploy import convert_litert
from pocketkube.errors import UserError
from pocketkube.litert.flatbuffer import is_constant, read_model, write_model
from pocketkube.litert.running import LiteRTModel
from pocketkube.spec.sections import Benchmark
from pocketkube.stages.without_data import random_inputs

FEW = Benchmark(runs=8, warmup_runs=2, threads=(1, 2))


def net(width: int = 256) -> keras.Model:
    """Three classes from six numbers, with weights from a fixed seed."""
    keras.utils.set_random_seed(0)
    numbers = keras.Input((6,), name="numbers")
    x = keras.layers.Dense(width, activation="relu")(numbers)
    x = keras.layers.Dense(width, activation="relu")(x)
    return keras.Model(numbers, keras.layers.Dense(3)(x), name="net")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A float and an int8 file of one network, and examples: 50 are labelled right, 10 wrong."""
    folder = tmp_path_factory.mktemp("files")
    model, inputs = net(), np.random.default_rng(0).normal(size=(60, 6)).astype("float32")
    (folder / "plain.tflite").write_bytes(convert_litert(model, "float32"))
    for name, ends in (("int8", "float32"), ("ints", "int8")):
        content = convert_litert(
            model, "int8", calibration=(inputs,), input_type=ends, output_type=ends
        )
        (folder / f"{name}.tflite").write_bytes(content)
    for name in ("float16", "dynamic"):
        (folder / f"{name}.tflite").write_bytes(convert_litert(model, name))
    predicted = np.argmax(model(inputs).numpy(), axis=-1).astype("int32")
    labels = predicted.copy()
    labels[:10] = (labels[:10] + 1) % 3
    np.savez(folder / "test.npz", x0=inputs, y=labels)
    np.savez(folder / "right.npz", inputs=inputs, predicted=predicted, labels=labels)
    return folder


@pytest.fixture(scope="module")
def report(place):
    files = [place / "plain.tflite", place / "int8.tflite"]
    return benchmark(files, FEW, place / "test.npz")


def test_the_score_is_the_share_of_right_classes(report, place):
    plain, int8 = report.files
    assert report.score_name == "accuracy"
    assert report.examples == 60
    assert plain.score == pytest.approx(50 / 60)
    assert int8.score == pytest.approx(50 / 60, abs=0.05)


def test_the_confusion_has_true_classes_in_rows(report, place):
    with np.load(place / "right.npz") as known:
        wanted = np.zeros((3, 3), int)
        np.add.at(wanted, (known["labels"], known["predicted"]), 1)
    assert np.array(report.files[0].heads[0].confusion).tolist() == wanted.tolist()
    assert not np.array_equal(wanted, wanted.T), "would not tell rows from columns"


def test_latency_is_told_for_every_thread_count(report):
    for figures in report.files:
        assert list(figures.threads) == ["1", "2"]
        for each in figures.threads.values():
            assert 0 < each.p50 <= each.p90 <= each.p99
        assert 8 <= len(figures.latency_samples_ms) <= 80
        assert figures.latency_ms == figures.threads["1"]
        assert figures.latency_ms.p50 == pytest.approx(np.median(figures.latency_samples_ms))
        low, high = figures.latency_ms.p50_interval
        assert low <= figures.latency_ms.p50 <= high


def test_the_ratio_is_the_median_pair_by_pair_with_its_interval(report):
    first, last = (figures.latency_samples_ms for figures in report.files)
    pairs = sorted(a / b for a, b in zip(first, last, strict=True))
    assert report.latency_ratio == pytest.approx(np.median(pairs))
    low, high = report.latency_ratio_interval
    assert pairs[0] <= low <= report.latency_ratio <= high <= pairs[-1]
    assert list(report.latency_ratios) == ["1", "2"]
    assert report.latency_ratios["1"].value == report.latency_ratio
    assert report.reference_threads == 1


def test_beside_programs_that_work_it_says_that_the_machine_was_busy(place, burners):
    found = benchmark([place / "plain.tflite", place / "int8.tflite"], FEW)
    assert found.load.warnings[0].startswith("The machine was busy: other programs kept")
    screen = io.StringIO()
    Console(file=screen, width=200).print(render_table(found))
    assert found.load.warnings[0] in " ".join(screen.getvalue().split())


def test_names_sizes_and_loading_are_those_of_the_files(report, place):
    for figures in report.files:
        content = (place / figures.file).read_bytes()
        assert figures.size_bytes == len(content)
        assert figures.gzip_bytes == len(gzip.compress(content))
        assert figures.load_ms > 0
        assert figures.op_latency_ms == {}
    assert [figures.file for figures in report.files] == ["plain.tflite", "int8.tflite"]
    assert [figures.format for figures in report.files] == ["float32", "int8"]


def test_the_report_goes_through_json_unchanged_with_the_keys_of_result_json(report):
    as_dict = dataclasses.asdict(report)
    read = json.loads(json.dumps(as_dict))
    assert set(read["files"][0]) == {
        *("file", "format", "score", "size_bytes", "gzip_bytes", "latency_ms", "threads"),
        *("latency_samples_ms", "load_ms", "peak_memory_bytes", "heads", "op_latency_ms"),
    }
    assert read["files"][0]["threads"]["2"].keys() == {"p50", "p90", "p99", "p50_interval"}
    assert read["latency_ratio_interval"] == list(report.latency_ratio_interval)
    assert read["latency_ratios"]["2"].keys() == {"value", "low", "high"}
    assert read["load"].keys() == {
        *("activity", "spread", "slowdown", "warnings", "clock", "throttled"),
    }
    assert read["load"]["activity"].keys() == {"cores", "others_cores", "load_average"}
    assert set(read["environment"]) == {
        *("cpu", "cpu_features", "cores", "machine", "emulated_on", "python", "packages", "when"),
        *("core_kinds", "node"),
    }


@pytest.mark.parametrize("name", ["float16", "dynamic", "ints"])
def test_the_number_format_is_read_from_the_file(place, name):
    figures = benchmark([place / f"{name}.tflite"], Benchmark(runs=5, threads=(1,))).files[0]
    assert figures.format == {"ints": "int8"}.get(name, name)


@pytest.mark.parametrize(("kind", "named"), [("INT16", "int16"), ("UINT8", "uint8")])
def test_integers_of_other_sizes_are_not_called_int8(place, tmp_path, kind, named):
    model = read_model((place / "int8.tflite").read_bytes())
    for tensor in model.subgraphs[0].tensors:
        if tensor.type == schema.TensorType.INT8 and not is_constant(model, tensor):
            tensor.type = getattr(schema.TensorType, kind)
    (tmp_path / "net.tflite").write_bytes(write_model(model, 1 << 16))
    assert number_format(tmp_path / "net.tflite") == named


@pytest.mark.parametrize("end", ["int8", "uint8", "float32"])
def test_a_file_of_one_layer_is_called_by_what_it_computes_with_not_by_its_ends(tmp_path, end):
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(3)])
    examples = (np.random.default_rng(0).normal(size=(20, 6)).astype("float32"),)
    content = convert_litert(model, "int8", calibration=examples, input_type=end, output_type=end)
    (tmp_path / "net.tflite").write_bytes(content)
    assert number_format(tmp_path / "net.tflite") == "int8"


def test_integer_ends_are_scaled_on_the_way_in_and_out(place):
    model = net()
    file = LiteRTModel(place / "ints.tflite")
    assert file.input_types == (np.dtype("int8"),)
    inputs = np.random.default_rng(1).normal(size=(20, 6)).astype("float32")
    given = np.concatenate([outputs[0] for outputs in file.predict((inputs,))])
    wanted = model(inputs).numpy()
    assert np.abs(given - wanted).max() < 0.1 * np.abs(wanted).max()
    figures = benchmark([place / "ints.tflite"], FEW, place / "test.npz").files[0]
    assert figures.score == pytest.approx(50 / 60, abs=0.05)


def test_without_examples_there_is_no_score(place):
    found = benchmark([place / "plain.tflite"], Benchmark(runs=5, warmup_runs=0, threads=(2,)))
    assert (found.score_name, found.files[0].score, found.files[0].heads) == (None, None, ())
    assert found.latency_ratio is None
    assert found.reference_threads == 2
    assert (found.latency_ratio_interval, found.latency_ratios) == (None, {})
    assert 5 <= len(found.files[0].latency_samples_ms) <= 50


@pytest.mark.parametrize("kind", ["uint8", "int8"])
def test_ids_of_a_byte_need_no_examples(kind, tmp_path):
    ids = keras.Input((4,), dtype=kind, name="ids")
    model = keras.Model(ids, keras.layers.Dense(3)(keras.layers.Embedding(20, 6)(ids)))
    (made_up,) = random_inputs(model)
    np.testing.assert_array_equal(made_up, np.zeros((16, 4)))
    exported = pk.export(model, tmp_path / "ids.tflite")
    assert (exported.on_random_inputs, exported.agreement.share) == (True, 1)
    assert LiteRTModel(exported.path).input_types == (np.dtype(kind),)
    assert benchmark([exported.path], FEW).files[0].format == "float32"


class Witness:
    """A model that writes down when it runs and on what; its work is none of this test's."""

    def __init__(self, name, log):
        self.name, self.log = name, log

    def prepare(self, example):
        return example

    def invoke(self, prepared):
        self.log.append((self.name, int(prepared[0])))


def test_models_run_in_turn_on_the_same_examples():
    log: list[tuple[str, int]] = []
    rounds = Rounds([Witness("A", log), Witness("B", log)], (np.arange(3),))
    rounds.warm_up(1)
    assert rounds.times_ms == [[], []]
    done: list[int] = []
    for more in (2, 2):
        rounds.run(more, done.append)
    assert log == [(name, place) for place in (0, 1, 2, 0, 1) for name in ("A", "B")]
    assert done == [1, 2, 1, 2]
    assert [len(of_model) for of_model in rounds.times_ms] == [4, 4]


def test_peak_memory_grows_with_the_model_and_leaves_the_runtime_out(tmp_path):
    files = []
    for width in (8, 2048):
        files.append(tmp_path / f"{width}.tflite")
        files[-1].write_bytes(convert_litert(net(width), "float32"))
    small, large = measure_loading(files, 1, [(1, 6)])
    weights_bytes = 2048 * 2048 * 4
    # Python, numpy and the runtime take some 50 MB, none of which is the small model's.
    assert 0 <= small.peak_memory_bytes < 10e6
    assert large.peak_memory_bytes - small.peak_memory_bytes > 0.9 * weights_bytes
    assert large.peak_memory_bytes < 4 * weights_bytes


def of_signature(model, shape) -> bytes:
    """A file whose input has a shape of the caller's, None for any size."""
    function = tf.function(lambda x: model(x)).get_concrete_function(tf.TensorSpec(shape))
    return tf.lite.TFLiteConverter.from_concrete_functions([function], model).convert()


@pytest.fixture(scope="module")
def any_size(tmp_path_factory):
    """A network of images of any size, but none smaller than its kernel, beside one of 256 x 256."""
    folder = tmp_path_factory.mktemp("open")
    image = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(8, 3, activation="relu")(image)
    x = keras.layers.Conv2D(8, 3, activation="relu")(x)
    model = keras.Model(image, keras.layers.Dense(2)(keras.layers.GlobalAveragePooling2D()(x)))
    for name, shape in (("open", (1, None, None, 3)), ("fixed", (1, 256, 256, 3))):
        (folder / f"{name}.tflite").write_bytes(of_signature(model, shape))
    return folder


def test_a_file_of_any_size_takes_the_memory_that_one_of_the_examples_size_takes(any_size):
    files = [any_size / "fixed.tflite", any_size / "open.tflite"]
    one_plane = 4 * 8 * 254**2
    fixed, opened = measure_loading(files, 1, [(1, 256, 256, 3)])
    assert min(fixed.peak_memory_bytes, opened.peak_memory_bytes) > one_plane


def test_a_file_of_any_size_is_measured_at_that_of_its_examples_and_not_without(any_size, tmp_path):
    settings = Benchmark(runs=5, threads=(1,))
    np.savez(tmp_path / "x.npz", x=np.zeros((2, 32, 24, 3), "float32"))
    assert benchmark([any_size / "open.tflite"], settings, tmp_path / "x.npz").examples == 2
    with pytest.raises(
        UserError, match=r"^open.tflite takes inputs of any size, \(None, None, 3\): give"
    ):
        benchmark([any_size / "open.tflite"], settings)
    np.savez(tmp_path / "small.npz", x=np.zeros((2, 4, 2, 3), "float32"))
    with pytest.raises(
        UserError, match=r"^open.tflite: LiteRT cannot run it on .*small.npz, .*\. Node number"
    ):
        benchmark([any_size / "open.tflite"], settings, tmp_path / "small.npz")


@pytest.mark.parametrize("with_examples", [True, False])
def test_a_file_that_takes_several_examples_at_a_time_is_refused(place, tmp_path, with_examples):
    (tmp_path / "four.tflite").write_bytes(of_signature(net(), (4, 6)))
    samples = place / "test.npz" if with_examples else None
    with pytest.raises(
        UserError, match=r"^four.tflite takes 4 examples at a time, .* with a batch of 1"
    ):
        benchmark([tmp_path / "four.tflite"], FEW, samples)


def test_a_regression_is_scored_by_its_error(tmp_path):
    numbers = keras.Input((2,))
    model = keras.Model(numbers, keras.layers.Dense(1, kernel_initializer="ones")(numbers))
    (tmp_path / "sum.tflite").write_bytes(convert_litert(model, "float32"))
    inputs = np.array([[1, 2], [3, 4]], "float32")
    np.savez(tmp_path / "test.npz", x=inputs, y=np.array([3.5, 6.0], "float32"))
    found = benchmark([tmp_path / "sum.tflite"], Benchmark(runs=5, threads=(1,)), tmp_path / "test.npz")
    assert found.score_name == "negative_mae"
    assert found.files[0].score == pytest.approx(-0.75)
    assert found.files[0].heads[0].confusion is None


def test_landmarks_are_scored_by_the_task_that_the_examples_tell(tmp_path):
    point = keras.Input((4,))
    (tmp_path / "same.tflite").write_bytes(
        convert_litert(keras.Model(point, keras.layers.Rescaling(1.0)(point)), "float32")
    )
    given = np.array([[0, 0, 3, 4], [1, 1, 3, 1]], "float32")
    true = np.array([[[0, 1], [3, 5]], [[1, 1], [1, 1.5]]], "float32")
    told = json.dumps({"heads": [{"kind": "landmarks", "normalize_by": [0, 1]}]})
    np.savez(tmp_path / "test.npz", x=given, y=true, task=told)
    settings = Benchmark(runs=5, threads=(1,))
    found = benchmark([tmp_path / "same.tflite"], settings, tmp_path / "test.npz")
    assert found.score_name == "negative_nme"
    # Off by 1 and 1 over 5; by 0 and sqrt(4.25) over 0.5.
    assert found.files[0].score == pytest.approx(-(1 / 5 + 4.25**0.5 / 2 / 0.5) / 2)
    screen = Console(width=100, record=True, file=None)
    with screen.capture() as shown:
        screen.print(render_table(found))
    (row,) = (line for line in shown.get().splitlines() if "normalised mean error" in line)
    assert "113.08 %" in row
    for wrong in ("what?", '{"heads": [{"kind": "depth"}]}', told.replace("[0, 1]", '"eyes"')):
        np.savez(tmp_path / "test.npz", x=given, y=true, task=wrong)
        with pytest.raises(UserError, match=r"test\.npz: its task is none that is known here"):
            benchmark([tmp_path / "same.tflite"], settings, tmp_path / "test.npz")


@pytest.mark.parametrize("activation", ["sigmoid", None])
def test_one_unit_tells_two_classes_apart(tmp_path, activation):
    number = keras.Input((1,))
    unit = keras.layers.Dense(1, kernel_initializer="ones", activation=activation)
    (tmp_path / "sign.tflite").write_bytes(convert_litert(keras.Model(number, unit(number)), "float32"))
    inputs = np.array([[-3], [-0.2], [0.2], [3]], "float32")
    np.savez(tmp_path / "test.npz", x=inputs, y=np.array([0, 1, 1, 1]))
    settings = Benchmark(runs=5, threads=(1,))
    figures = benchmark([tmp_path / "sign.tflite"], settings, tmp_path / "test.npz").files[0]
    assert figures.score == 0.75
    assert figures.heads[0].confusion == ((1, 0), (1, 2))


def test_examples_are_taken_as_a_data_set_of_the_same_file(tmp_path):
    """uint8 images are brought to the range, and a test set of the file's own is what is scored."""
    keras.utils.set_random_seed(0)
    image = keras.Input((6, 6, 1))
    x = keras.layers.Dense(16, activation="tanh")(keras.layers.Flatten()(image))
    model = keras.Model(image, keras.layers.Dense(5)(x))
    (tmp_path / "net.tflite").write_bytes(convert_litert(model, "float32"))
    images = np.random.default_rng(0).integers(0, 256, (40, 6, 6, 1)).astype("uint8")
    scores = {}
    for high in (1.0, 255.0):
        classes = model(images.astype("float32") * (high / 255)).numpy().argmax(axis=-1)
        wrong = (classes + 1) % 5
        np.savez(tmp_path / "own.npz", x=images, y=wrong, x_test=images[:30], y_test=classes[:30])
        for value_range in (None, (0.0, 255.0)):
            samples = load_samples(tmp_path / "own.npz", value_range)
            report = benchmark([tmp_path / "net.tflite"], FEW, samples)
            assert report.examples == 30
            scores[high, value_range] = report.files[0].score
    np.savez(tmp_path / "theirs.npz", x_train=images[:9], y_train=classes[:9])
    assert len(load_samples(tmp_path / "theirs.npz").inputs[0]) == 9
    assert scores[1.0, None] == scores[255.0, (0.0, 255.0)] == 1.0
    assert scores[1.0, (0.0, 255.0)] < 1.0


def test_several_inputs_and_outputs_are_taken_in_the_models_order(tmp_path):
    ends = [keras.Input((1,), name=name) for name in ("z", "a")]
    outputs = [
        keras.layers.Subtract(name="y_difference")(ends),
        keras.layers.Add(name="b_sum")(ends),
    ]
    path = tmp_path / "two.tflite"
    path.write_bytes(convert_litert(keras.Model(ends, outputs), "float32"))
    first, second = np.array([[5.0], [1.0]], "float32"), np.array([[2.0], [4.0]], "float32")
    labels = {"y0": first - second, "y1": first + second + 1}
    np.savez(tmp_path / "test.npz", x0=first, x1=second, **labels)
    found = benchmark([path], Benchmark(runs=5, threads=(1,)), tmp_path / "test.npz")
    # The first output is met, the second missed by 1.
    assert found.files[0].score == pytest.approx(-0.5)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": np.zeros((4, 7), "float32")}, r"input 0 has the shape \(7,\) .* takes \(6,\)"),
        ({"x": np.zeros((4, 6), "float32"), "y": np.arange(4)}, "run from 0 to 3, but .* 0 to 2"),
        ({"x": np.zeros((4, 6)), "y": np.zeros(5, int)}, "there are 4 in x, 5 in y"),
        ({"images": np.zeros((4, 6))}, "has no array x or x0, only images"),
        ({"x0": np.zeros((4, 6)), "x1": np.zeros((4, 6))}, "has 2 inputs, but plain.tflite takes 1"),
        ({"x": np.zeros((0, 6))}, "has no examples"),
        ({"x": np.zeros((4, 6)), "y": np.zeros((4, 2))}, r"shape \(2,\) an example, but .* \(3,\)"),
        ({"x": np.array([None, 1], object)}, "is no .npz of plain number arrays"),
    ],
)
def test_examples_that_do_not_fit_are_refused(place, tmp_path, arrays, message):
    np.savez(tmp_path / "bad.npz", **arrays)
    with pytest.raises(UserError, match=message) as caught:
        benchmark([place / "plain.tflite"], FEW, tmp_path / "bad.npz")
    assert "bad.npz" in str(caught.value)


def test_files_that_are_no_models_are_refused_before_anything_runs(place, tmp_path, capfd):
    content = (place / "plain.tflite").read_bytes()
    (tmp_path / "cut.tflite").write_bytes(content[: len(content) // 2])
    (tmp_path / "text.tflite").write_text("this is not a network at all")
    for name, message in (
        ("absent.tflite", r"absent\.tflite: there is no such file"),
        ("text.tflite", r"text\.tflite is not a LiteRT file"),
        ("cut.tflite", r"cut\.tflite: LiteRT cannot load it .* damaged"),
    ):
        with pytest.raises(UserError, match=message):
            benchmark([place / "plain.tflite", tmp_path / name], FEW)
    # Content was just converted: the same again would be no help.
    with pytest.raises(
        UserError, match=r"^the converted model: LiteRT cannot load it .* quantize_float16 "
    ):
        LiteRTModel((tmp_path / "cut.tflite").read_bytes())
    with pytest.raises(UserError, match=r"absent\.npz: there is no such file"):
        benchmark([place / "plain.tflite"], FEW, tmp_path / "absent.npz")
    with pytest.raises(UserError, match="nothing to measure"):
        benchmark([], FEW)
    assert "stage=" not in capfd.readouterr().err


def test_a_file_that_crashes_the_interpreter_is_told_by_its_name(place, tmp_path, capfd):
    (tmp_path / "endless.tflite").write_bytes(endless())
    with pytest.raises(UserError, match=r"endless\.tflite: LiteRT dies of it, by a segmentation fault"):
        benchmark([place / "plain.tflite", tmp_path / "endless.tflite"], FEW, place / "test.npz")
    assert "stage=" not in capfd.readouterr().err


def endless() -> bytes:
    """A file of a graph that calls itself whatever the condition."""

    def graph():
        graph = schema.SubGraphT()
        graph.tensors = [tensor("condition", schema.TensorType.BOOL)]
        graph.tensors += [tensor(name, schema.TensorType.FLOAT32) for name in ("x", "y")]
        call = schema.OperatorT()
        call.opcodeIndex = 0
        call.inputs, call.outputs = np.array([0, 0, 1], np.int32), np.array([2], np.int32)
        call.builtinOptionsType = schema.BuiltinOptions.IfOptions
        call.builtinOptions = schema.IfOptionsT()
        call.builtinOptions.thenSubgraphIndex = call.builtinOptions.elseSubgraphIndex = 1
        graph.operators = [call]
        graph.inputs, graph.outputs = np.array([0, 1], np.int32), np.array([2], np.int32)
        return graph

    def tensor(name, kind):
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.type, tensor.buffer = name, np.array([1], np.int32), kind, 0
        return tensor

    model, code = schema.ModelT(), schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.IF
    code.version = 1
    model.version, model.description, model.buffers = 3, "endless", [schema.BufferT()]
    model.operatorCodes, model.subgraphs = [code], [graph(), graph()]
    return write_model(model, 1024)


def test_neither_it_nor_the_report_needs_tensorflow_or_keras(place):
    program = (
        "import sys; from pathlib import Path; import pocketkube.benchmarking as b; "
        "import pocketkube.stages.measuring, pocketkube.stages.reporting; "
        "from pocketkube.spec.sections import Benchmark; "
        "f = Path(sys.argv[1]); r = b.benchmark([f / 'plain.tflite'], Benchmark(runs=5), "
        "f / 'test.npz');"
        "b.render_table(r); assert r.files[0].score > 0.8; "
        "print(sorted({m.split('.')[0] for m in sys.modules} & "
        "{'tensorflow', 'keras', 'sklearn', 'kfp', 'h5py'}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(place)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_the_environment_names_the_machine():
    here = environment()
    assert here.cpu
    assert here.cores >= 1
    assert here.python == sys.version.split()[0]
    assert here.packages["numpy"] == np.__version__
    assert here.packages["keras"] == keras.__version__
    assert here.when.endswith("Z")


def test_the_table_shows_both_files_and_the_ratio(report):
    screen = io.StringIO()
    Console(file=screen, width=120).print(render_table(report))
    lines = screen.getvalue().splitlines()
    row = {line.split("│")[1].strip(): line for line in lines if line.count("│") > 3}
    assert "83.33 %" in row["accuracy"]
    sizes = [figures.size_bytes for figures in report.files]
    assert f"{sizes[0] / sizes[1]:.2f}x smaller" in row["size"]
    assert "faster" in row["95 % interval"] or "slower" in row["95 % interval"]
    for threads in ("1 thread", "2 threads"):
        for name in ("p50", "p90", "p99"):
            assert "ms" in row[f"latency {name}, {threads}"]
    assert {"peak memory", "load time"} <= set(row)
    assert "score on 60 examples" in screen.getvalue()


def shown(report) -> str:
    screen = io.StringIO()
    Console(file=screen, width=400).print(render_table(report))
    return screen.getvalue()


@pytest.mark.parametrize(
    ("interval", "on", "says"),
    [
        ((0.86, 0.87), None, "int8.tflite is 1.15x to 1.16x slower than plain.tflite (95 % interval)"),
        ((0.86, 1.02), None, ""),
        ((0.996, 0.999), None, ""),
        ((0.86, 0.87), "x86_64", ""),
    ],
)
def test_a_last_file_that_is_surely_slower_is_warned_of_with_what_to_try(report, interval, on, says):
    place = dataclasses.replace(report.environment, emulated_on=on)
    found = dataclasses.replace(report, latency_ratio_interval=interval, environment=place)
    text = shown(found)
    assert ("slower than" in text) == bool(says)
    assert says in text
    assert ("try dynamic or float16, as docs/latency.md says" in text) == bool(says)


def test_the_table_says_how_scores_differ(report):
    def accuracy(found) -> str:
        return next(line for line in shown(found).splitlines() if "accuracy" in line)

    plain = report.files[0]
    less = dataclasses.replace(plain, score=plain.score - 0.05)
    assert "-5.00 points" in accuracy(dataclasses.replace(report, files=(plain, less)))
    assert "the same" in accuracy(dataclasses.replace(report, files=(plain, plain)))


def test_a_process_that_dies_says_what_it_said_itself(tmp_path, monkeypatch):
    script = tmp_path / "script.py"
    script.write_text(
        "import os, sys\n"
        "print('before', 'terminate called', sep='\\n', file=sys.stderr, flush=True)\n"
        "os.abort()\n"
    )
    monkeypatch.setattr(memory, "_SCRIPT", script)
    with pytest.raises(UserError, match=r"small.tflite: .*\(an abort: terminate called\)"):
        measure_loading([tmp_path / "small.tflite"], 1, [(1, 6)])
