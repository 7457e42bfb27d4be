"""Every mistake of a user's: one clear line, exit code 2, nothing half-written."""

import json
import signal
import subprocess
import sys
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

from pocketkube.cli import main
from pocketkube.cli.options import path_here


def refused(*arguments: object) -> str:
    """The one line that a mistake is answered with."""
    handler = signal.getsignal(signal.SIGTERM)
    # In this process: a start of TensorFlow for each mistake takes seconds.
    try:
        with redirect_stderr(StringIO()) as said, pytest.raises(SystemExit) as ended:
            main([str(each) for each in arguments])
    finally:
        signal.signal(signal.SIGTERM, handler)
    assert ended.value.code == 2, said.getvalue()
    lines = [line for line in said.getvalue().splitlines() if line.startswith("pocketkube: ")]
    assert len(lines) == 1, said.getvalue()
    return lines[0]


def write_spec(folder: Path, **changes: str) -> Path:
    fields = {
        "model": "lenet",
        "dataset": "digits",
        "target": "{speedup: 2}",
        "stages": "[prune_channels]",
        "training": "{epochs: 1}",
    } | changes
    path = folder / "spec.yaml"
    path.write_text("".join(f"{key}: {value}\n" for key, value in fields.items()))
    return path


def test_a_search_of_nothing(tmp_path: Path) -> None:
    line = refused("search", write_spec(tmp_path), "-o", tmp_path / "out")
    assert line.endswith(
        "spec.yaml has no section search; give one, as in search: {over: [prune_channels]}."
    )
    searched = write_spec(tmp_path, search="{over: [prune_channels]}")
    assert "--seeds: 0 is too few" in refused(
        "search", searched, "-o", tmp_path / "out", "--compare", "tpe", "--seeds", 0
    )
    assert not (tmp_path / "out").exists()


def save_net(path: Path, model: keras.Model | None = None) -> Path:
    model = model or keras.Sequential(
        [keras.Input((8, 8, 1)), layers.Conv2D(8, 3), layers.Flatten(), layers.Dense(3)]
    )
    model.save(path)
    return path


def test_lambda_layer(tmp_path: Path) -> None:
    net = keras.Sequential([keras.Input((4,)), layers.Lambda(lambda x: x * 2), layers.Dense(2)])
    line = refused("profile", save_net(tmp_path / "net.keras", net))
    assert "has a Lambda layer" in line
    assert "register_keras_serializable" in line


def test_unknown_custom_object(tmp_path: Path) -> None:
    script = (
        "import keras\n"
        "@keras.saving.register_keras_serializable('mine')\n"
        "class Wobble(keras.layers.Layer):\n"
        "    def call(self, x):\n"
        "        return x + 1\n"
        "keras.Sequential([keras.Input((4,)), Wobble(), keras.layers.Dense(2)])"
        f".save({str(tmp_path / 'net.keras')!r})\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)
    line = refused("profile", tmp_path / "net.keras")
    assert "uses the class Wobble, which is not known here" in line
    assert "register_keras_serializable" in line


def test_truncated_file(tmp_path: Path) -> None:
    path = save_net(tmp_path / "net.keras")
    path.write_bytes(path.read_bytes()[:2000])
    assert "net.keras is damaged or cut short" in refused("profile", path)


def test_missing_file(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pocketkube", "profile", str(tmp_path / "net.keras")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("pocketkube: ")]
    assert "There is no model file" in line


def test_dynamic_shape(tmp_path: Path) -> None:
    net = keras.Sequential(
        [keras.Input((None, None, 3)), layers.Conv2D(4, 3), layers.GlobalAveragePooling2D()]
    )
    assert "None" in refused("profile", save_net(tmp_path / "net.keras", net))


def test_unreachable_speedup(tmp_path: Path) -> None:
    output = tmp_path / "small.keras"
    line = refused("prune", save_net(tmp_path / "net.keras"), "--speedup", 1000, "--output", output)
    assert "The target of 1000.00x cannot be reached" in line
    assert "which gives" in line
    assert not output.exists()


def test_speedup_that_makes_nothing_faster(tmp_path: Path) -> None:
    net = save_net(tmp_path / "net.keras")
    assert "give more than 1" in refused("prune", net, "--speedup", 0.5, "-o", tmp_path / "a.keras")


def test_labels_out_of_range(tmp_path: Path) -> None:
    save_net(tmp_path / "net.keras")
    rng = np.random.default_rng(0)
    x, y = rng.random((60, 8, 8, 1), np.float32), rng.integers(0, 9, 60)
    np.savez(tmp_path / "data.npz", x=x, y=y)
    spec = write_spec(tmp_path, model="net.keras", dataset="{npz: data.npz}")
    line = refused("run", spec, "--output", tmp_path / "out")
    assert "tells 3 classes apart, but the dataset has 9" in line
    assert not (tmp_path / "out" / "result.json").exists()


def test_folder_with_one_class(tmp_path: Path) -> None:
    (tmp_path / "images" / "cat").mkdir(parents=True)
    keras.utils.save_img(tmp_path / "images" / "cat" / "a.png", np.zeros((8, 8, 3)))
    spec = write_spec(tmp_path, dataset="{image_folder: images}")
    assert "at least two classes. Received: cat" in refused("run", spec, "--output", tmp_path / "out")


def test_missing_idx_folder_hints_at_the_package(tmp_path: Path) -> None:
    spec = write_spec(tmp_path, dataset="{idx: nowhere}")
    assert "dataset-fashion-mnist" in refused("run", spec, "--output", tmp_path / "out")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model": "net.keras"}, "model: There is no model file {folder}/net.keras."),
        ({"dataset": "{npz: data.npz}"}, "dataset: There is no file or folder {folder}/data.npz."),
        (
            {"distillation": "{teachers: [t.keras]}"},
            "distillation.teachers: There is no file or folder {folder}/t.keras.",
        ),
        ({"target": "{max_accuracy_drop: 1}"}, "1 is 100 points of accuracy; for one point give 0.01"),
    ],
)
def test_what_the_spec_alone_tells_is_told_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, str], said: str
) -> None:
    def too_late(*_: object) -> None:
        raise AssertionError("a stage was started")

    monkeypatch.setattr("pocketkube.stages.whole_job.run_stage", too_late)
    spec = write_spec(tmp_path, **changes)
    for command in (("spec", spec), ("run", spec, "-o", tmp_path / "out")):
        assert said.format(folder=tmp_path) in refused(*command)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "words",
    [
        ["prune", "net.keras", "--speedup", 2, "-o", "./net.keras"],
        ["import", "net.keras", "-o", "net.keras"],
        ["unpack", "net.keras", "-o", "net.keras"],
        ["benchmark", "--table", "net.keras", "-o", "net.keras"],
        ["benchmark", "--table", "other.keras", "--cluster", "net.keras", "-o", "net.keras"],
    ],
)
def test_a_command_does_not_write_over_what_it_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[object]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("net.keras").write_text("mine")
    assert "net.keras is read, and would be written over" in refused(*words)
    assert Path("net.keras").read_text() == "mine"


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["run"], "model.keras"),
        (["run"], "steps/1_prune_channels/model.keras"),
        (["run"], "search.json"),
        (["search"], "trials.csv"),
        (["search"], "steps/search/model.keras"),
        (["search", "--compare", "random"], "comparison.json"),
        (["search", "--compare", "random"], "steps/train_model/model.keras"),
    ],
)
def test_a_job_does_not_write_over_what_it_reads(tmp_path: Path, words: list[str], name: str) -> None:
    file = tmp_path / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("mine")
    read = {"model": name} if name.endswith(".keras") else {"dataset": f"{{npz: {name}}}"}
    command, *options = words
    spec = write_spec(tmp_path, search="{over: [prune_channels], trials: 2}", **read)
    said = refused(command, spec, "--output", tmp_path, *options)
    assert f"{next(iter(read))}: {file} is read, and would be written over" in said
    assert file.read_text() == "mine"
    assert {path for path in tmp_path.rglob("*") if path.is_file()} == {file, spec}


@pytest.mark.parametrize("left", ["steps", "kfp/compress-model-2026-11-30"])
def test_a_job_does_not_write_over_a_model_that_no_job_has_made(tmp_path: Path, left: str) -> None:
    (tmp_path / "net.keras").write_text("a network")
    (tmp_path / "model.keras").write_text("another one")
    line = refused("run", write_spec(tmp_path, model="net.keras"), "--output", tmp_path)
    assert f"{tmp_path}/model.keras is of no run of this folder, and would be written over" in line
    # A folder of this name may be somebody's own, too.
    (tmp_path / "kfp").mkdir()
    assert "is of no run of this folder" in refused("run", tmp_path / "spec.yaml", "--output", tmp_path)
    # An earlier run has left its steps, or one of the pipeline on this machine.
    (tmp_path / left).mkdir()
    line = refused("run", tmp_path / "spec.yaml", "--output", tmp_path)
    assert "net.keras is damaged or cut short" in line


def test_a_search_does_not_write_over_its_own_spec(tmp_path: Path) -> None:
    spec = write_spec(tmp_path, search="{over: [prune_channels]}").rename(tmp_path / "ratios.yaml")
    said = refused("search", spec, "--output", tmp_path)
    assert f"the spec: {spec} is read, and would be written over" in said


@pytest.mark.parametrize(
    ("file", "changes", "lost"),
    [
        ("retraining.json", {}, "the settings: {folder}/retraining.json"),
        ("a.yaml", {"spec": "report.md"}, "the spec: {folder}/report.md"),
        ("a.yaml", {"partitions": ".retraining/data"}, "partitions: {folder}/.retraining/data"),
        ("a.yaml", {"registry": ".retraining"}, "registry: {folder}/.retraining"),
    ],
)
def test_a_retraining_does_not_write_over_what_it_reads(
    tmp_path: Path, file: str, changes: dict[str, str], lost: str
) -> None:
    spec = write_spec(tmp_path, dataset="{npz: data.npz}").rename(tmp_path / "report.md")
    settings = {"name": "digits", "spec": "job.yaml", "partitions": "data", "registry": "made"}
    (tmp_path / "job.yaml").write_text(spec.read_text())
    (tmp_path / file).write_text(json.dumps(settings | changes))
    before = {path: path.read_text() for path in tmp_path.iterdir()}
    said = refused("retrain", tmp_path / file, "--output", tmp_path)
    assert f"{lost.format(folder=tmp_path)} is read, and would be written over" in said
    assert {path: path.read_text() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run", "SPEC", "-o", ""], "An empty path was given"),
        (["search", "SPEC", "-o", "out", "--seeds", 9], "--seeds: is of a comparison of samplers"),
        (["search", "SPEC", "-o", "out", "--compare", "foo"], "no sampler foo; there are: ddpg, milp,"),
        (
            ["benchmark", "--table", "a.keras", "-o", "t.json", "--runs", 7],
            "--runs: is for LiteRT files",
        ),
        (
            ["benchmark", "--table", "a.keras", "-o", "t.json", "--samples", "no.npz"],
            "--samples: is for LiteRT files; leave it out with --table",
        ),
        (["report", "result.json", "-o", "result.json"], "result.json has to end in .html"),
    ],
)
def test_what_does_not_go_together(tmp_path: Path, words: list[object], said: str) -> None:
    spec = write_spec(tmp_path, search="{over: [prune_channels], trials: 2}")
    assert said in refused(*[spec if word == "SPEC" else word for word in words])


def test_a_path_of_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert path_here("~/out") == tmp_path / "out"


def test_checkpoints_go_to_a_server_alone(tmp_path: Path) -> None:
    words = ["train_model", "--spec", write_spec(tmp_path), "--output", tmp_path / "out"]
    said = refused("stage", *words, "--checkpoints", tmp_path / "kept")
    assert f"--checkpoints: {tmp_path / 'kept'} is no place on an S3 server, as in s3://" in said


@pytest.mark.parametrize("command", ["run", "search"])
def test_results_are_written_to_this_machine_and_to_no_folder_called_s3(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.chdir(tmp_path)
    said = refused(command, write_spec(tmp_path), "--output", "s3://models/out")
    assert "s3://models/out is an address, but a path of this machine is needed here" in said
    assert not (tmp_path / "s3:").exists()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model": "resnet-20"}, "model: There is no network 'resnet-20'; did you mean resnet20?"),
        ({"model": "f8"}, "model: There is no network 'f8'; use one of lenet, "),
        (
            {"stages": "[{distill_model: {student: lennet}}]", "target": "null"},
            "stages.distill_model.student: There is no network 'lennet'; did you mean lenet?",
        ),
        ({"model": "s3://nets/net"}, "model: s3://nets/net is no .keras, .h5 or .hdf5 file"),
    ],
    ids=["misspelt", "folder", "student", "address"],
)
def test_a_network_that_is_not_there_is_refused_with_the_spec(
    tmp_path: Path, changes: dict[str, str], said: str
) -> None:
    (tmp_path / "f8").mkdir()
    spec = write_spec(tmp_path, **changes)
    for words in (["spec", spec], ["run", spec, "-o", tmp_path / "out"]):
        line = refused(*words)
        assert line.startswith(f"pocketkube: {said}")
        assert "s3://" in said or "or of a SavedModel, a folder with saved_model.pb." in line


def test_a_network_that_a_module_of_the_spec_may_add_is_left_to_the_job(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "own_nets.py").touch()
    main(["spec", str(write_spec(tmp_path, model="own", imports="[own_nets]"))])
    assert capsys.readouterr().out.endswith("spec.yaml: right\n")


def test_a_spec_whose_files_are_there_or_elsewhere_is_right(tmp_path: Path, capsys) -> None:
    (tmp_path / "part-1.tfrecord").touch()
    spec = write_spec(tmp_path, model="s3://bucket/net.keras", dataset="{tfrecord: part-*.tfrecord}")
    main(["spec", str(spec)])
    assert capsys.readouterr().out.endswith("spec.yaml: right\n")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"stages": "[prune]"}, "spec.yaml line 4"),
        ({"target": "{speedup: 0.5}"}, "spec.yaml line 3"),
        ({"training": "{epochs: 0}"}, "spec.yaml line 5"),
        ({"model": "resnet21"}, "resnet21"),
        (
            {"cluster": "{workers: {elastic: {min_workers: 4, max_workers: 8}}}"},
            "training would wait for 4 processes, and training.workers: 1 begins with 1",
        ),
        (
            {
                "training": "{workers: 4}",
                "cluster": "{workers: {elastic: {max_workers: 2}}}",
            },
            "spec.yaml line 6: cluster.workers.elastic.max_workers: 2 is fewer than training.workers",
        ),
        (
            {
                "training": "{workers: 4, batch_size: 8}",
                "cluster": "{workers: {elastic: {max_workers: 9}}}",
            },
            "spec.yaml line 6: cluster.workers.elastic.max_workers: 9 processes cannot share a batch "
            "of training.batch_size, 8; use at most 8",
        ),
        (
            {
                "training": "{workers: 4, batch_size: 8, gradient_accumulation_steps: 2}",
                "cluster": "{workers: {elastic: {max_workers: 5}}}",
            },
            "training.batch_size, 8, in gradient_accumulation_steps, 2; use at most 4",
        ),
        (
            {
                "training": "{batch_size: 2}",
                "search": "{sampler: random, over: [prune_channels], evaluate: {fine_tune_steps: 5}}",
                "cluster": "{trials: {launcher: katib, workers: 3}}",
            },
            "spec.yaml line 7: cluster.trials.workers: 3 processes cannot share a batch of "
            "training.batch_size, 2; use",
        ),
    ],
)
def test_wrong_specs_name_the_line(tmp_path: Path, changes: dict[str, str], said: str) -> None:
    assert said in refused("run", write_spec(tmp_path, **changes), "--output", tmp_path / "out")


def test_no_disk_space(tmp_path: Path) -> None:
    """Linux's own full device stands in for a full disk."""
    from pocketkube.errors import UserError
    from pocketkube.files.whole import replaced_file

    if not Path("/dev/full").exists():
        pytest.skip("/dev/full is needed: a device that is always full")

    def write() -> None:
        with replaced_file(tmp_path / "a.txt"), Path("/dev/full").open("w") as full:
            full.write("x" * 100_000)

    with pytest.raises(UserError, match="No space left on the disk while writing"):
        write()
    assert list(tmp_path.iterdir()) == []


def test_no_litert_file(tmp_path: Path) -> None:
    (tmp_path / "a.tflite").write_bytes(b"nothing of the kind")
    assert "a.tflite" in refused("benchmark", tmp_path / "a.tflite")


def test_a_benchmark_by_itself_on_another_node_than_the_spec_asks_for(tmp_path: Path) -> None:
    spec = write_spec(tmp_path, cluster="{benchmark: {cpu_part: '0xfff', features: [nothing]}}")
    for role in ("baseline", "result"):
        (tmp_path / role).mkdir()
    inputs = [f"--input={role}={tmp_path / role}" for role in ("baseline", "result")]
    line = refused("stage", "benchmark", "--spec", spec, *inputs, "-o", tmp_path / "measured")
    assert "cluster.benchmark asks for CPU part 0xfff, nothing, but this machine is" in line
    assert "nothing was measured" in line
    assert not (tmp_path / "measured").exists()


def test_a_table_is_not_prepared_for_a_cluster_that_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_late(*_: object) -> None:
        raise AssertionError("networks are made")

    monkeypatch.setattr("pocketkube.cli.commands._networks_of", too_late)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "nosuch"))
    table = ("benchmark", "--table", "net.keras", "-o", tmp_path / "table.json")
    assert "nosuch cannot be used" in refused(*table, "--cluster", write_spec(tmp_path))


def test_unpacking_gives_the_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from pocketkube.packing import write_packed

    net = keras.Sequential([keras.Input((8,)), layers.Dense(3)])
    packed, output = tmp_path / "model.packed", tmp_path / "net.keras"
    write_packed(packed, net, {})
    assert ".keras" in refused("unpack", packed, "-o", tmp_path / "net.h5")
    main(["unpack", str(packed), "-o", str(output)])
    assert capsys.readouterr().out.strip() == str(output)
    restored = keras.saving.load_model(output)
    np.testing.assert_array_equal(restored.weights[0], net.weights[0])


@pytest.mark.parametrize(
    ("words", "wanted", "begins", "listed"),
    [
        (["run", "FILE", "-o", "out"], "a spec", "model: resnet20", "pocketkube spec --explain"),
        (["deployed", "FILE"], "a retraining.yaml", "name: digits", "pocketkube retrain --explain"),
        (["experiment", "run", "FILE"], "a Katib Experiment", "kind: Experiment", ""),
    ],
)
def test_a_file_that_is_none_is_told_of_as_what_it_has_to_be(
    tmp_path: Path, words: list[str], wanted: str, begins: str, listed: str
) -> None:
    file = tmp_path / "file.yaml"
    words = [str(file) if word == "FILE" else word for word in words]
    assert f"there is no such file; give the path of {wanted}" in refused(*words)
    file.write_text("- 1\n")
    assert f"must be a mapping such as `{begins}`" in refused(*words)
    file.write_text("")
    told = f"; `{listed}` lists what it may hold" if listed else ""
    assert refused(*words).endswith(f"file.yaml is empty, and has to be {wanted}{told}")
    file.unlink()
    file.mkdir()
    assert f"is a folder; give the path of {wanted} in it" in refused(*words)
