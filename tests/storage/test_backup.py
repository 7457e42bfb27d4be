"""Checkpoints that are copied to an S3 server while a stage trains, and found by the next attempt."""

import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pocketkube.bundle import load_bundle
from pocketkube.files.whole import replaced_file, write_text
from pocketkube.spec import parse_spec
from pocketkube.spec.sections import Cluster
from pocketkube.stages.on_cluster import run_on_cluster
from pocketkube.stages.run import forget_checkpoints
from pocketkube.storage import S3Address, backed_up, parse_uri
from pocketkube.storage.backup import remove_objects
from pocketkube.storage.server import connect
from tests.steps import call_of, run_step
from tests.storage.gateway import BUCKET, Gateway

PLACE = f"s3://{BUCKET}/work/train-model-1/checkpoints"


def test_files_that_change_are_there_when_the_block_ends(s3: Gateway, tmp_path: Path) -> None:
    here, elsewhere, address = tmp_path / "a", tmp_path / "b", parse_uri(PLACE)
    with pytest.raises(KeyError):
        write_and_fail(here, address)
    with backed_up(elsewhere, address):
        assert {file.name: file.read_text() for file in elsewhere.iterdir()} == {"one": "1", "two": "2"}
        write_text(elsewhere / "one", "11")
    assert (s3.objects / "work/train-model-1/checkpoints/one").read_text() == "11"
    remove_objects(address)
    with backed_up(tmp_path / "c", address):
        assert not (tmp_path / "c").exists()


def write_and_fail(folder: Path, address: S3Address) -> None:
    with backed_up(folder, address):
        write_text(folder / "one", "1")
        write_text(folder / "two", "2")
        (folder / ".aside").write_text("half")
        raise KeyError


def test_a_change_is_sent_while_the_block_goes_on(s3: Gateway, tmp_path: Path) -> None:
    with backed_up(tmp_path, parse_uri(PLACE)):
        write_text(tmp_path / "one", "1")
        sent = s3.objects / "work/train-model-1/checkpoints/one"
        ends = time.monotonic() + 20
        while not sent.exists() and time.monotonic() < ends:
            time.sleep(0.1)
        assert sent.read_text() == "1"
    remove_objects(parse_uri(PLACE))


def test_a_file_that_was_not_sent_any_more_stays_and_an_older_one_does_not(
    s3: Gateway, tmp_path: Path
) -> None:
    here, elsewhere, address = tmp_path / "here", tmp_path / "elsewhere", parse_uri(PLACE)
    with backed_up(here, address):
        write_text(here / "one", "step 1 of 20")
    write_text(here / "one", "step 2 of 20, and a longer history")
    with backed_up(here, address):
        assert (here / "one").read_text() == "step 2 of 20, and a longer history"
    with backed_up(elsewhere, address):
        assert (elsewhere / "one").read_text() == "step 2 of 20, and a longer history"
        write_text(elsewhere / "one", "step 3")
    with backed_up(here, address):
        assert (here / "one").read_text() == "step 3"
    remove_objects(address)


def test_what_others_put_below_the_place_is_not_brought_back(s3: Gateway, tmp_path: Path) -> None:
    address = parse_uri(PLACE)
    client = connect(address).client
    for name in ("one", "below/two", ".three"):
        client.put_object(BUCKET, address.object(name), io.BytesIO(b"1"), 1)
    with backed_up(tmp_path, address):
        assert [path.name for path in tmp_path.iterdir()] == ["one"]
    remove_objects(address)


IN_A_HURRY = """
from pocketkube.cli import main
from pocketkube.storage import backup
backup.SECONDS_BETWEEN_LOOKS = 0.05
main()
"""


@pytest.mark.slow
def test_a_stage_that_was_killed_goes_on_elsewhere(
    s3: Gateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = {"epochs": 12, "batch_size": 64, "checkpoint_steps": 5}
    spec = parse_spec({"model": "lenet", "dataset": "digits", "stages": [], "training": training})
    call = call_of(spec, "train_model", {}, f"s3://{BUCKET}/trained")
    argv = [*call.argv(), "--checkpoints", PLACE]
    folder = s3.objects / "work/train-model-1/checkpoints"
    process = subprocess.Popen([sys.executable, "-c", IN_A_HURRY, *argv], env=os.environ)
    try:
        while not any(epochs_of(file) > 1 for file in folder.glob("*.npz")):
            assert process.poll() is None
            time.sleep(0.02)
    finally:
        process.kill()
        process.wait()
    with backed_up(tmp_path / "marked", parse_uri(PLACE)):
        mark_first_epoch(tmp_path / "marked")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    subprocess.run([sys.executable, "-m", "pocketkube", *argv], check=True)
    assert not list(folder.glob("*"))
    run_step(spec, "train_model", {}, tmp_path / "whole")
    ours, theirs = load_bundle(s3.objects / "trained"), load_bundle(tmp_path / "whole")
    assert ours.facts.stages[0].history.loss[0] == MARK
    for there, here in zip(ours.model.get_weights(), theirs.model.get_weights(), strict=True):
        np.testing.assert_array_equal(there, here)


@pytest.mark.slow
def test_a_task_leaves_nothing_at_its_place(s3: Gateway, tmp_path: Path) -> None:
    spec = parse_spec({"model": "lenet", "dataset": "digits", "stages": [], "training": {"epochs": 1}})
    cluster = Cluster.model_validate({"object_store": {"work": f"s3://{BUCKET}/tasks"}})
    run_on_cluster(call_of(spec, "train_model", {}, tmp_path / "trained"), cluster)
    assert len(load_bundle(tmp_path / "trained").facts.stages[0].history.loss) == 1
    assert not [path for path in (s3.objects / "tasks").rglob("*") if path.is_file()]


def test_checkpoints_that_cannot_be_removed_do_not_cost_the_output(
    s3: Gateway, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = parse_spec({"model": "lenet", "dataset": "digits", "stages": []})
    trained = call_of(spec, "train_model", {}, tmp_path / "trained")
    forget_checkpoints(replace(trained, checkpoints="s3://nowhere/checkpoints"))
    assert "s3://nowhere/checkpoints was not removed: " in capsys.readouterr().err


# No loss is that large: a history that has it came from the checkpoint.
MARK = 12345.0


def state_of(arrays: Mapping[str, Any]) -> dict[str, Any]:
    return json.loads(str(arrays["state"]))


def epochs_of(file: Path) -> int:
    with np.load(file) as arrays:
        return state_of(arrays)["epoch"]


def mark_first_epoch(folder: Path) -> None:
    (file,) = folder.glob("*.npz")
    with np.load(file) as found:
        arrays = dict(found)
    state = state_of(arrays)
    state["figures"]["loss"][0] = MARK
    with replaced_file(file) as aside:
        np.savez(aside, **(arrays | {"state": json.dumps(state)}))
