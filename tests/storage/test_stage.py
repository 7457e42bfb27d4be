"""`pocketkube stage` reads its bundles from an S3 server and writes one back."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from importlib.util import find_spec
from pathlib import Path
from socketserver import BaseRequestHandler, ThreadingTCPServer
from threading import Event, Thread
from typing import Literal
from urllib.parse import urlsplit

import keras
import numpy as np
import pytest
from keras import layers

from pocketkube.bundle import load_bundle
from pocketkube.errors import UserError
from pocketkube.extension import Registry
from pocketkube.spec import parse_spec
from pocketkube.spec.sections import StageBase
from pocketkube.stages.call import StageCall, config_of
from pocketkube.stages.configs import LearningConfig
from pocketkube.stages.registry import StageDefinition
from pocketkube.stages.remote import run_stage_at
from pocketkube.stages.replaceable import refuse_to_replace
from pocketkube.storage import fetch_folder, parse_uri, send_folder
from tests.mpirun import mpirun_command
from tests.steps import call_of
from tests.storage.gateway import BUCKET, KEYS, Gateway
from tests.storage.relay import refusal, relay

JOB = {"model": "lenet", "dataset": "digits", "stages": []}
POCKETKUBE = [sys.executable, "-m", "pocketkube"]


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    """A job whose model is a file, which takes no training."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((32, 32, 1)),
            layers.Conv2D(8, 3, strides=2, activation="relu"),
            layers.Conv2D(8, 3, activation="relu"),
            layers.Flatten(),
            layers.Dense(10),
        ]
    )
    model.save(tmp_path / "net.keras")
    return write_spec(tmp_path, model="net.keras", stages=[{"prune_channels": {"criterion": "l2"}}])


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The one folder, beside outputs, that a stage may write to."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


def write_spec(folder: Path, **fields) -> Path:
    settings = {"dataset": "digits", "training": {"epochs": 1}} | fields
    if "prune_channels" in str(settings["stages"]):
        settings["target"] = {"speedup": 1.5}
    # JSON is YAML.
    (folder / "spec.yaml").write_text(json.dumps(settings))
    return folder / "spec.yaml"


def stage(*arguments: object) -> subprocess.CompletedProcess:
    command = [*POCKETKUBE, "stage", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


def refused(*arguments: object) -> str:
    done = stage(*arguments)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert KEYS["AWS_SECRET_ACCESS_KEY"] not in done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("pocketkube: ")]
    return line


def here(uri: str, folder: Path):
    fetch_folder(parse_uri(uri), folder)
    return load_bundle(folder)


@pytest.mark.slow
def test_stages_on_a_server_do_what_they_do_in_folders(
    s3: Gateway, spec: Path, tmp_path: Path, temporary: Path
) -> None:
    bundles = {}
    for where in (f"s3://{BUCKET}/runs/a", str(tmp_path / "local")):
        model, pruned = f"{where}/train_model", f"{where}/prune_channels"
        done = stage("train_model", "--spec", spec, "--output", model)
        assert done.returncode == 0, done.stderr
        inputs = [f"--input=model={model}", f"--input=teacher={model}"]
        done = stage("prune_channels", "--spec", spec, *inputs, "-o", pruned)
        assert done.returncode == 0, done.stderr
        is_local = where.startswith("/")
        bundles[is_local] = load_bundle(Path(pruned)) if is_local else here(pruned, tmp_path / "back")
    remote, local = bundles[False], bundles[True]
    assert [s.name for s in remote.facts.stages] == ["load_model", "prune_channels"]
    assert remote.facts.profile == local.facts.profile
    for theirs, ours in zip(remote.model.get_weights(), local.model.get_weights(), strict=True):
        np.testing.assert_array_equal(theirs, ours)
    # What is read from a server may be written into a folder.
    inputs = [f"--input={role}=minio://{BUCKET}/runs/a/train_model" for role in ("model", "teacher")]
    assert stage("prune_channels", "--spec", spec, *inputs, "-o", tmp_path / "mixed").returncode == 0
    assert load_bundle(tmp_path / "mixed").facts.profile == local.facts.profile
    assert not list(temporary.iterdir())
    # The server's folder is one like any other, with the list beside.
    assert {"model.keras", "bundle.json", "checksums.json"} <= {
        path.name for path in (s3.objects / "runs/a/prune_channels").iterdir()
    }


def test_what_is_wrong_is_said_before_the_work(
    s3: Gateway, spec: Path, tmp_path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = ("train_model", "--spec", spec, "--output")
    assert "gs:/… is no place" in refused(*job, "gs://models/a")
    assert "there is no bucket nowhere" in refused(*job, "s3://nowhere/a")
    absent = f"s3://{BUCKET}/absent"
    pruning = ("prune_channels", "--spec", spec, "--output", tmp_path / "out")
    line = refused(*pruning, "--input", f"model={absent}", "--input", f"teacher={absent}")
    assert f"{absent} is not there" in line
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody")
    assert f"s3://{BUCKET}/a: {s3.endpoint} refuses access" in refused(*job, f"s3://{BUCKET}/a")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    assert "AWS_ACCESS_KEY_ID is not set" in refused(*job, f"s3://{BUCKET}/a")
    assert not list(temporary.iterdir())
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["prune_channels"],
            "needs model as its inputs, and may take teacher, ratios; received nothing.",
        ),
        (["prune_channels", "--input=teacher={}"], "received teacher."),
        (["train_model", "--input=model={}"], "needs nothing as its inputs; received model."),
        (["result", "--input=modle={}"], "needs model as its inputs; received modle."),
        (["export_litert", "--input=model={}", "--input=model={}"], "model is given twice"),
        (["export_litert", "--input=s3://me:hush@models/a"], "a URI with an @, ? or # needs the form"),
        (["export_litert", "--input=model={}"], "has several steps export_litert; use one of baseline"),
        (["fine_tune_model", "--input=model={}"], "no step fine_tune_model; use one of check_export"),
        (["result", "--input=model={}/out/"], "is the model that export_litert reads"),
    ],
)
def test_a_call_that_is_wrong_is_told_before_anything_is_fetched(
    tmp_path: Path, arguments: list[str], said: str
) -> None:
    spec = write_spec(tmp_path, model="lenet", stages=["prune_channels"])
    store = f"s3://{BUCKET}/nowhere"
    line = refused(
        *(argument.replace("{}", store) for argument in arguments),
        "--spec",
        spec,
        "--output",
        f"{store}/out",
    )
    assert said in line
    assert "hush" not in line


def test_a_place_for_two_roles_is_one_folder(
    s3: Gateway, tmp_path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "model.keras").write_bytes(b"weights")
    uri = f"s3://{BUCKET}/twice"
    send_folder(tmp_path / "made", parse_uri(uri))
    given: list = []
    monkeypatch.setattr(
        "pocketkube.stages.remote.run_stage",
        lambda call: given.append(call.inputs),
    )
    job = parse_spec(JOB | {"stages": ["fine_tune"]})
    inputs = {"model": uri, "teacher": f"minio://{BUCKET}/twice/"}
    run_stage_at(call_of(job, "fine_tune_model", inputs, tmp_path / "out"))
    assert given[0]["model"] == given[0]["teacher"]
    log = s3.log.read_text().splitlines()
    assert sum("s3_GetObject" in line and "twice/model.keras" in line for line in log) == 1


class ClipWeights(StageBase):
    name: Literal["clip_weights"] = "clip_weights"


class ClipWeightsConfig(LearningConfig):
    settings: ClipWeights = ClipWeights()


class TestAFolderOfThisMachine:
    """A stage replaces what a stage has written there, and nothing else."""

    @pytest.fixture(autouse=True)
    def began(self, monkeypatch: pytest.MonkeyPatch) -> list[StageCall]:
        """The calls that would have gone on, and replaced their output."""
        calls: list[StageCall] = []
        monkeypatch.setattr("pocketkube.stages.remote.run_stage", calls.append)
        return calls

    def call(self, output: Path, name: str = "train_model", **inputs: Path) -> StageCall:
        return call_of(parse_spec(JOB | {"stages": ["fine_tune"]}), name, inputs, output)

    @pytest.mark.parametrize(
        ("files", "named"),
        [
            (["thesis.txt"], "thesis.txt"),
            # A network of the user's own has the name that Keras's examples give it.
            (["model.keras"], "model.keras"),
            (["bundle.json", "model.keras", "notes.md"], "notes.md"),
            (["search.json", "front/trial_1.yaml", "front/mine.yaml"], "front/mine.yaml"),
            (["a/bundle.json"], "a"),
            (["bundle.json", ".git/config"], ".git"),
            (["checksums.json"], "checksums.json"),
        ],
        ids=[
            *("a text", "a network", "notes in a bundle", "notes in a front", "runs below"),
            *("a repository", "sums of something"),
        ],
    )
    def test_what_no_stage_has_written_stays(
        self, tmp_path: Path, began: list[StageCall], files: list[str], named: str
    ) -> None:
        output = tmp_path / "mine"
        put_files(output, files)
        with pytest.raises(UserError) as refusal:
            run_stage_at(self.call(output))
        assert str(refusal.value) == (
            f"--output: {output / named} is there, which no stage has written, and would be gone "
            f"with all of {output}: give another place, or remove what is there."
        )
        assert not began

    @pytest.mark.parametrize(
        "files",
        [
            [],
            ["bundle.json", "model.keras", "model.packed", "scores.npz"],
            ["bundle.json", "model.tflite", "samples.npz", "sentencepiece.model", "translator.tflite"],
            ["ratios.yaml", "search.json", "trials.csv", "best_so_far.svg", "front/trial_12.yaml"],
            ["networks.json", "0.tflite", "17.tflite"],
            ["result.json", "report.html"],
            ["bundle.json", "checksums.json", "model.keras"],
            [".DS_Store"],
            ["search.json", "front/trial_1.yaml", "front/.DS_Store", ".ipynb_checkpoints/a", ".nfs01"],
        ],
        ids=[
            *("nothing", "a bundle", "an export", "a search", "networks", "a report"),
            *("fetched by another program", "looked into", "a search looked into"),
        ],
    )
    def test_what_a_stage_has_written_is_replaced(
        self, tmp_path: Path, began: list[StageCall], files: list[str]
    ) -> None:
        put_files(tmp_path / "out", files)
        run_stage_at(self.call(tmp_path / "out"))
        assert began

    @pytest.mark.parametrize("maker", ["clip_weights", "fine_tune"])
    def test_a_stage_of_a_package_replaces_the_files_beside_its_own_bundle(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, maker: str
    ) -> None:
        added: Registry = Registry("test.stages", "stage")
        added.register("clip_weights")(StageDefinition("nowhere", ClipWeightsConfig))
        monkeypatch.setattr("pocketkube.stages.registry.stages", added)
        facts = json.loads((Path(__file__).parents[1] / "old_files/bundle.json").read_text())
        facts["stages"][-1]["name"] = maker
        output = tmp_path / "out"
        put_files(output, ["clipped.csv", "model.keras"])
        (output / "bundle.json").write_text(json.dumps(facts))
        config = config_of("clip_weights", {"dataset": {"builtin": "digits"}})
        call = StageCall("clip_weights", config, {"model": str(tmp_path / "in")}, str(output))
        ours = maker == "clip_weights"
        with nullcontext() if ours else pytest.raises(UserError, match=r"clipped\.csv is there"):
            refuse_to_replace(output, call)

    def test_a_file_is_no_folder(self, tmp_path: Path, began: list[StageCall]) -> None:
        (tmp_path / "notes.txt").write_text("mine")
        with pytest.raises(UserError, match=r"notes\.txt is a file, and a stage writes a folder"):
            run_stage_at(self.call(tmp_path / "notes.txt"))
        assert not began

    def test_what_a_server_holds_is_not_in_the_current_folder(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        model, teacher = f"s3://{BUCKET}/model", f"minio://{BUCKET}/teacher"
        job = parse_spec(JOB | {"stages": ["fine_tune"], "distillation": {"teachers": [teacher]}})
        refuse_to_replace(tmp_path, call_of(job, "fine_tune_model", {"model": model}, tmp_path))

    def test_what_is_read_is_not_in_what_is_replaced(
        self, tmp_path: Path, began: list[StageCall]
    ) -> None:
        put_files(tmp_path / "runs" / "a", ["bundle.json", "model.keras"])
        inputs = {"model": tmp_path / "runs" / "a"}
        with pytest.raises(UserError, match=r"model: .*a is read, and would be written over"):
            run_stage_at(self.call(tmp_path / "runs", "fine_tune_model", **inputs))
        model = str(tmp_path / "runs" / "a" / "model.keras")
        job = parse_spec(JOB | {"model": model})
        with pytest.raises(
            UserError, match=r"model: .*model\.keras is read, and would be written over"
        ):
            run_stage_at(call_of(job, "train_model", {}, tmp_path / "runs" / "a"))
        assert not began


def put_files(folder: Path, names: list[str]) -> None:
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()


class TestAServerThatIsAwayAtTheEnd:
    @pytest.fixture(autouse=True)
    def made(self, s3: Gateway, temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def make(call: StageCall) -> bool:
            output = Path(call.output)
            output.mkdir()
            (output / "model.keras").write_bytes(b"hours of work")
            return False

        monkeypatch.setattr("tempfile.tempdir", str(temporary))
        monkeypatch.setattr("pocketkube.stages.remote.run_stage", make)
        monkeypatch.setattr("pocketkube.storage.patience.PAUSES_S", (0.1, 0.1))

    def run(self, endpoint: str, uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", endpoint)
        run_stage_at(call_of(parse_spec(JOB), "train_model", {}, uri))

    def test_it_is_waited_for(
        self, s3: Gateway, tmp_path: Path, temporary: Path, monkeypatch, capfd
    ) -> None:
        uri, left = f"s3://{BUCKET}/away/shortly", [refusal(503, "SlowDown")] * 5
        # A request is tried 4 times before the whole is tried again.
        away = lambda _, path: left.pop() if left and path.endswith("/model.keras") else None  # noqa: E731
        with relay(s3, away) as endpoint:
            self.run(endpoint, uri, monkeypatch)
            fetch_folder(parse_uri(uri), tmp_path / "back")
        assert (tmp_path / "back" / "model.keras").read_bytes() == b"hours of work"
        assert capfd.readouterr().err.count("stage=send again_in=0.1s reason=") == 1
        assert not list(temporary.iterdir())

    @pytest.mark.parametrize(("status", "tries"), [(503, 3), (403, 1)])
    def test_what_cannot_be_sent_is_kept(
        self, s3: Gateway, temporary: Path, monkeypatch, capfd, status: int, tries: int
    ) -> None:
        answer = refusal(status, "Told")
        away = lambda _, path: answer if path.endswith("/model.keras") else None  # noqa: E731
        with relay(s3, away) as endpoint, pytest.raises(UserError) as caught:
            self.run(endpoint, f"s3://{BUCKET}/away/{status}", monkeypatch)
        (kept,) = temporary.iterdir()
        assert f"The output is complete, and kept in {kept}" in str(caught.value)
        assert (kept / "model.keras").read_bytes() == b"hours of work"
        assert capfd.readouterr().err.count("stage=send again_in=") == tries - 1


def test_no_place_for_temporary_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "none"))
    with pytest.raises(UserError, match="set TMPDIR to one that can be written"):
        run_stage_at(call_of(parse_spec(JOB), "train_model", {}, f"s3://{BUCKET}/a"))


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_an_interrupted_stage_leaves_nothing_half(
    s3: Gateway, spec: Path, tmp_path: Path, temporary: Path, sent: signal.Signals
) -> None:
    uri = f"s3://{BUCKET}/interrupted/{sent.name}"
    with stalling_relay(s3, b"/bundle.json") as (endpoint, stalled):
        running = subprocess.Popen(
            [*POCKETKUBE, "stage", "train_model", "--spec", str(spec), "--output", uri],
            env={**os.environ, "AWS_ENDPOINT_URL_S3": endpoint},
            stderr=subprocess.PIPE,
            text=True,
        )
        assert stalled.wait(timeout=240)
        running.send_signal(sent)
        _, said = running.communicate()
    assert running.returncode == 130, said
    assert f"interrupted; {uri} was not written whole; the same command runs this stage again" in said
    assert "Traceback" not in said
    assert not list(temporary.iterdir())
    with pytest.raises(UserError, match="is incomplete: the stage that writes it was interrupted"):
        fetch_folder(parse_uri(uri), tmp_path / "back")


@contextmanager
def stalling_relay(s3: Gateway, word: bytes) -> Iterator[tuple[str, Event]]:
    """A way to the server that stops for good when a request with `word` comes by, and says so."""
    stalled = Event()
    address = urlsplit(s3.endpoint)

    class Relay(BaseRequestHandler):
        def handle(self) -> None:
            with socket.create_connection((address.hostname, address.port)) as server:
                back = Thread(target=copy, args=(server, self.request))
                back.start()
                copy(self.request, server, until=word)
                server.shutdown(socket.SHUT_RDWR)
                back.join()

    def copy(source: socket.socket, target: socket.socket, until: bytes | None = None) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                if until and until in data:
                    stalled.set()
                if not (until and stalled.is_set()):
                    target.sendall(data)

    with ThreadingTCPServer(("127.0.0.1", 0), Relay) as relay:
        thread = Thread(target=relay.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{relay.server_address[1]}", stalled
        relay.shutdown()
        thread.join()


@pytest.mark.slow
@pytest.mark.skipif(find_spec("horovod") is None, reason="Horovod is missing: run make horovod")
@pytest.mark.skipif(shutil.which("mpirun") is None, reason="mpirun is missing: install openmpi-bin")
class TestTogether:
    def test_every_process_reads_and_the_first_writes(
        self, s3: Gateway, tmp_path: Path, temporary: Path
    ) -> None:
        settings = {"epochs": 1, "batch_size": 64}
        spec = write_spec(tmp_path, model="lenet", stages=["fine_tune"], training=settings)
        model, tuned = (f"s3://{BUCKET}/together/{name}" for name in ("model", "tuned"))
        self.together("train_model", "--spec", spec, "--output", model)
        inputs = [f"--input=model={model}", f"--input=teacher={model}"]
        self.together("fine_tune_model", "--spec", spec, *inputs, "--output", tuned)
        facts = here(tuned, tmp_path / "back").facts
        assert [done.name for done in facts.stages] == ["train_model", "fine_tune"]
        assert not [path for path in temporary.iterdir() if path.name.startswith("pocketkube-")]
        requests = [line for line in s3.log.read_text().splitlines() if "together/" in line]
        written = [
            line for line in requests if "s3_PutObject" in line and "tuned/checksums.json" in line
        ]
        read = [line for line in requests if "s3_GetObject" in line and "model/model.keras" in line]
        assert len(written) == 1
        # Once for both roles of both processes.
        assert len(read) == 1

    def test_workers_of_the_spec(self, s3: Gateway, tmp_path: Path, temporary: Path) -> None:
        settings = {"epochs": 1, "batch_size": 64, "workers": 2}
        spec = write_spec(tmp_path, model="lenet", stages=["prune_channels"], training=settings)
        uri = f"s3://{BUCKET}/workers"
        done = stage("train_model", "--spec", spec, "--output", uri)
        assert done.returncode == 0, done.stderr
        assert here(uri, tmp_path / "back").facts.stages[0].name == "train_model"

    def together(self, *arguments: object) -> None:
        command = [*mpirun_command(2), *POCKETKUBE, "stage", *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
