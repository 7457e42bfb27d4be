"""A stage runs again when something that it depends on changed, and only then."""

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import pocketkube
from pocketkube.files.whole import replaced_folder
from pocketkube.spec import parse_spec
from pocketkube.stages import run, training
from pocketkube.stages.cache import is_kept, kept_place, note_digests
from pocketkube.stages.call import StageCall
from pocketkube.stages.plan import plan, step_named
from pocketkube.stages.registry import STAGES
from pocketkube.storage.location import LocalLocation
from tests.steps import run_step

SPEC = {
    "model": "lenet",
    "dataset": "digits",
    "target": {"speedup": 2},
    "stages": ["prune_channels", "fine_tune", "quantize_int8"],
}
DIGESTS = """\
import json
from pocketkube.stages.code import code_digest
from pocketkube.stages.registry import STAGES
print(json.dumps({name: code_digest(stage.module) for name, stage in STAGES.items()}))
"""


def places(cache: Path, changes: dict) -> dict[str, Path]:
    """Where each step's output would be kept, were its inputs alike."""
    found = {}
    for step in plan(parse_spec(SPEC | changes)):
        inputs = {name: str(cache / "input") for name in step.inputs}
        found[step.key] = kept_place(cache, StageCall(step.stage, step.config, inputs, "out"))
    return found


@pytest.mark.parametrize(
    ("changes", "again"),
    [
        ({"benchmark": {"runs": 7}}, {"benchmark", "report"}),
        ({"target": {"speedup": 3}}, {"1_prune_channels", "report"}),
        (
            {"stages": ["prune_channels", {"fine_tune": {"epochs": 1}}, "quantize_int8"]},
            {"check_export", "2_fine_tune", "report"},
        ),
        (
            {"stages": ["prune_channels", "fine_tune", {"quantize_int8": {"min_agreement": 0.5}}]},
            {"check_export", "result", "report"},
        ),
        ({"distillation": {"weight": 0.1}}, {"1_prune_channels", "2_fine_tune", "report"}),
        ({"width": 2.0}, {"check_export", "train_model", "report"}),
    ],
)
def test_what_runs_again(tmp_path: Path, changes: dict, again: set[str]) -> None:
    (tmp_path / "input").mkdir()
    (tmp_path / "input" / "file").write_text("content")
    before, after = places(tmp_path, {}), places(tmp_path, changes)
    assert {key for key in before if before[key] != after[key]} == again


def test_inputs_count_by_their_content(tmp_path: Path) -> None:
    (tmp_path / "input").mkdir()
    (tmp_path / "input" / "file").write_text("content")
    before = places(tmp_path, {})
    shutil.copytree(tmp_path / "input", tmp_path / "copy")
    shutil.rmtree(tmp_path / "input")
    (tmp_path / "copy").rename(tmp_path / "input")
    assert places(tmp_path, {}) == before
    (tmp_path / "input" / "file").write_text("Content")
    changed = {key for key, place in places(tmp_path, {}).items() if place != before[key]}
    assert changed == {key for key in before if key not in ("check_export", "train_model")}


def digests(package: Path) -> dict[str, str]:
    done = subprocess.run(
        [sys.executable, "-P", "-c", DIGESTS],
        env={"PYTHONPATH": str(package.parent), "PYTHONDONTWRITEBYTECODE": "1"},
        cwd=package.parent,
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def test_code_that_changed_counts_where_it_is_used(tmp_path: Path) -> None:
    package = tmp_path / "pocketkube"
    shutil.copytree(
        Path(pocketkube.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__")
    )
    before = digests(package)
    assert set(before) == set(STAGES)
    for file, again in {
        "pruning/allocation.py": {"prune_channels"},
        "report/page.py": {"build_report"},
        "benchmarking/intervals.py": {"benchmark_litert", "prune_channels", "build_report"},
        "cli/main.py": set(),
    }.items():
        with (package / file).open("a") as module:
            module.write("\n# changed\n")
        after = digests(package)
        changed = {name for name in before if before[name] != after[name]}
        assert changed >= again
        assert bool(changed) == bool(again), (file, changed)
        assert len(changed) < len(before)
        before = after


def test_what_an_imported_package_takes_from_its_own_modules_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digests = []
    for name, factor in (("owned_one", 1), ("owned_two", 1), ("owned_three", 2)):
        package = tmp_path / str(factor) / name / "owned"
        package.mkdir(parents=True)
        (package / "__init__.py").write_text("from .blocks import scale\n")
        (package / "blocks.py").write_text("from . import numbers\nscale = numbers.FACTOR\n")
        (package / "numbers.py").write_text(f"FACTOR = {factor}\n")
        run = subprocess.run(
            [
                sys.executable,
                "-c",
                "from pocketkube.stages.code import code_digest as d; print(d('owned'))",
            ],
            env={**os.environ, "PYTHONPATH": os.pathsep.join([*sys.path, str(package.parent)])},
            capture_output=True,
            text=True,
            check=True,
        )
        digests.append(run.stdout)
    assert digests[0] == digests[1] != digests[2]


def test_what_an_imported_module_takes_from_another_that_is_not_installed_counts(
    tmp_path: Path,
) -> None:
    digests = []
    for factor in (1, 1, 2):
        (tmp_path / "named.py").write_text("import json\nfrom helping import FACTOR\n")
        (tmp_path / "helping.py").write_text(f"FACTOR = {factor}\n")
        words = "from pocketkube.stages.code import code_digest as d; print(d('named'))"
        run = subprocess.run(
            [sys.executable, "-c", words],
            env={**os.environ, "PYTHONPATH": os.pathsep.join([*sys.path, str(tmp_path)])},
            capture_output=True,
            text=True,
            check=True,
        )
        digests.append(run.stdout)
    assert digests[0] == digests[1] != digests[2]


def test_images_behind_a_link_to_their_folder_count(tmp_path: Path) -> None:
    images = tmp_path / "images"
    for name in ("cats", "dogs"):
        (tmp_path / "store" / name).mkdir(parents=True)
        (tmp_path / "store" / name / "0.png").write_bytes(name.encode())
        images.mkdir(exist_ok=True)
        (images / name).symlink_to(tmp_path / "store" / name)
    # A link that leads back ends the walk and not the disk.
    (tmp_path / "store" / "cats" / "all").symlink_to(images)
    before = LocalLocation(images).stamp()
    assert LocalLocation(images).stamp() == before
    (tmp_path / "store" / "dogs" / "1.png").write_bytes(b"another")
    assert LocalLocation(images).stamp() != before


def test_an_interrupted_stage_begins_anew_on_other_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not where it is interrupted only, nor in a cache, where other data have another place."""
    seen: list[list[str]] = []

    def interrupted(config: object, inputs: object, output: Path, scratch: Path) -> None:
        seen.append(sorted(file.name for file in scratch.glob("*.keras")))
        (scratch / "checkpoint.keras").touch()
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "train_model", interrupted)
    data = tmp_path / "data.npz"
    for times in (1, 1, 2):
        if len(seen) != 1:
            np.savez(data, x=np.zeros((9, 28, 28, 1), np.uint8), y=np.arange(9) % times)
        step = step_named(parse_spec(SPEC | {"dataset": {"npz": str(data)}}), "train_model")
        with pytest.raises(KeyboardInterrupt):
            run.run_stage(StageCall(step.stage, step.config, {}, str(tmp_path / "out")))
    assert seen == [[], ["checkpoint.keras"], []]
    assert "train_model begins anew: its data have changed." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (lambda kept: (kept / "bundle.json").write_text(""), "bundle.json"),
        (lambda kept: (kept / "model.keras").write_bytes(b"hal"), "model.keras"),
        (lambda kept: (kept / "model.keras").unlink(), "model.keras"),
        (lambda kept: (kept / "more").touch(), "more"),
        (lambda kept: (kept.parent / "train-1.sha256").write_text(""), "bundle.json"),
    ],
)
def test_what_is_not_as_it_was_written_is_not_kept(tmp_path: Path, capsys, spoil, named: str) -> None:
    kept = tmp_path / "train-1"
    assert not is_kept(kept)
    kept.mkdir()
    (kept / "model.keras").write_bytes(b"half")
    (kept / "bundle.json").write_text("{}")
    note_digests(kept)
    sums = ["sha256sum", "--check", "--quiet", "../train-1.sha256"]
    subprocess.run(sums, cwd=kept, check=True)
    assert is_kept(kept)
    assert capsys.readouterr().err == ""
    spoil(kept)
    assert not is_kept(kept)
    said = capsys.readouterr().err
    assert said == f"{kept / named} is not as it was written: the stage runs again.\n"
    assert not list(tmp_path.iterdir())


def test_what_a_run_that_was_killed_right_after_it_kept_is_taken(tmp_path: Path) -> None:
    kept = tmp_path / "train-1"
    kept.mkdir()
    (kept / "bundle.json").write_text("{}")
    assert is_kept(kept)
    (kept / "bundle.json").write_text("")
    assert not is_kept(kept)


def test_a_damaged_model_is_trained_again_to_the_same(tmp_path: Path, capsys) -> None:
    job = parse_spec(SPEC | {"training": {"epochs": 1, "batch_size": 512}})
    folders = [tmp_path / name for name in ("first", "second", "third")]
    assert not run_step(job, "train_model", {}, folders[0], tmp_path / "cache").cached
    assert run_step(job, "train_model", {}, folders[1], tmp_path / "cache").cached
    for file in (tmp_path / "cache").glob("*/model.keras"):
        file.write_bytes(b"")
    assert not run_step(job, "train_model", {}, folders[2], tmp_path / "cache").cached
    assert "model.keras is not as it was written: the stage runs again." in capsys.readouterr().err
    (kept,) = (path for path in (tmp_path / "cache").iterdir() if path.is_dir())
    assert sorted(path.name for path in (tmp_path / "cache").iterdir()) == [
        kept.name,
        f"{kept.name}.sha256",
    ]
    first, *others = ([w.tobytes() for w in _weights(folder)] for folder in folders)
    assert all(weights == first for weights in others)


def _weights(folder: Path) -> list[np.ndarray]:
    from pocketkube.bundle import load_bundle

    return load_bundle(folder).model.get_weights()


def test_of_two_runs_that_make_the_same_one_makes_it_and_the_other_takes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    begun = threading.Event()
    cached: list[bool] = []

    def make(call: StageCall, lasting: Path | None = None) -> run.Ran:
        begun.set()
        time.sleep(0.5)
        with replaced_folder(Path(call.output)) as folder:
            (folder / "bundle.json").write_text("{}")
        return run.Ran(False, 0.5)

    def run_to(name: str) -> None:
        job = parse_spec(SPEC)
        cached.append(run_step(job, "train_model", {}, tmp_path / name, tmp_path / "cache").cached)

    monkeypatch.setattr(run, "_run", make)
    monkeypatch.setattr(run, "_warn", lambda output: None)
    first, second = (threading.Thread(target=run_to, args=(name,)) for name in ("one", "two"))
    first.start()
    assert begun.wait(30)
    second.start()
    for thread in (first, second):
        thread.join(60)
    assert cached == [False, True]
    assert f"waits for process {os.getpid()} on " in capsys.readouterr().err
    assert (tmp_path / "one" / "bundle.json").read_bytes() == b"{}"
    assert (tmp_path / "two" / "bundle.json").read_bytes() == b"{}"


def test_a_cache_that_is_only_read_is_taken_from(tmp_path: Path, monkeypatch, capsys) -> None:
    def make(call: StageCall, lasting: Path | None = None) -> run.Ran:
        with replaced_folder(Path(call.output)) as folder:
            (folder / "bundle.json").write_text("{}")
        return run.Ran(False, 0.5)

    monkeypatch.setattr(run, "_run", make)
    monkeypatch.setattr(run, "_warn", lambda output: None)
    job, cache = parse_spec(SPEC), tmp_path / "cache"
    assert not run_step(job, "train_model", {}, tmp_path / "one", cache).cached
    before = sorted(cache.iterdir())
    if os.getuid() == 0:
        # Whom modes do not keep from writing.
        monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != cache)
        monkeypatch.setattr(run, "_held", pytest.fail)
    cache.chmod(0o555)
    try:
        assert run_step(job, "train_model", {}, tmp_path / "two", cache).cached
    finally:
        cache.chmod(0o755)
    assert (tmp_path / "two" / "bundle.json").read_bytes() == b"{}"
    assert sorted(cache.iterdir()) == before
