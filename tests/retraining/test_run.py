"""A model that is deployed, looked at with each partition, retrained where needed, rolled back."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pocketkube.errors import UserError
from pocketkube.litert.running import LiteRTModel
from pocketkube.retraining.lineage import Outcome
from pocketkube.retraining.registry import Registry
from pocketkube.retraining.run import retrain
from pocketkube.retraining.settings import RetrainingJob, load_retraining
from tests.retraining.data import GATE, SPEC, add_partition, digits, write_settings
from tests.storage.gateway import BUCKET, Gateway

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow


class Killed(BaseException):
    """Stands for a process that ends at once: nothing may catch it."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a first version is deployed, made of 2026-11-01."""
    folder = tmp_path_factory.mktemp("retraining")
    write_settings(folder)
    # Other programs keep theirs in a .cache, as in a home folder.
    for name in (".cache", "steps"):
        (folder / "out" / name).mkdir(parents=True)
        (folder / "out" / name / "mine").touch()
    add_partition(folder / "data", "2026-11-01", 0)
    assert run(folder).result == "deployed"
    return folder


def job_of(folder: Path) -> RetrainingJob:
    return load_retraining(folder / "retraining.yaml")


def run(folder: Path, said: list[str] | None = None) -> Outcome:
    return retrain(job_of(folder), folder / "out", (said if said is not None else []).append)


def trained(folder: Path) -> dict[str, int]:
    """Each training that is kept until a version is registered, and when it was finished."""
    cache = folder / "out" / ".retraining" / "cache"
    folders = (path for path in cache.glob("train_model-*") if path.is_dir())
    return {path.name: path.stat().st_mtime_ns for path in folders}


def files(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes())
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def accuracy(file: Path, part: int, *, inverted: bool) -> float:
    """By LiteRT's interpreter alone."""
    data = digits(part, inverted=inverted)
    outputs = LiteRTModel(file).predict((data["x"],))
    right = [int(one.argmax()) == label for (one,), label in zip(outputs, data["y"], strict=True)]
    return sum(right) / len(right)


def test_a_model_lives_through_its_partitions(folder: Path) -> None:
    registry = Registry(job_of(folder).registry)
    (first,) = registry.versions()
    assert registry.facts(first).parent is None
    # The same partition again: nothing is done.
    assert "no newer partition" in run(folder).decision.reasons[0]

    # More of the same: it is kept.
    add_partition(folder / "data", "2026-11-02", 1)
    said: list[str] = []
    kept = run(folder, said)
    assert kept.result == "kept"
    assert not any("train_model" in line for line in said)
    assert kept.decision.drift is not None
    assert not kept.decision.drift.score.drifted
    assert not kept.decision.drift.beyond_chance
    assert registry.versions() == [first]

    # Inverted images: it is retrained, passes its gate and is deployed.
    add_partition(folder / "data", "2026-11-03", 2, inverted=True)
    found = run(folder)
    assert found.result == "deployed"
    assert found.decision.drift is not None
    assert found.decision.drift.score.drifted
    assert found.decision.drift.beyond_chance
    assert found.decision.plan == "anew"
    pointer = registry.deployed()
    assert pointer is not None
    second = pointer.version
    assert registry.versions() == [first, second]
    assert registry.facts(second).parent == first
    with registry.fetched(first) as old, registry.fetched(second) as new:
        assert accuracy(old / "model.tflite", 0, inverted=True) < 0.5
        assert accuracy(new / "model.tflite", 0, inverted=True) > 0.6
    # Nothing but reports stays beside the registry, and what was there.
    assert {path.relative_to(folder / "out").as_posix() for path in (folder / "out").rglob("*")} == {
        *("retraining.json", "report.html", "report.md"),
        *(".cache", ".cache/mine", "steps", "steps/mine"),
    }

    # What decisions rest on stands in the report.
    page = (folder / "out" / "report.html").read_text()
    markdown = (folder / "out" / "report.md").read_text()
    for words in ("more than chance explains", "mean of inputs", "passed", first, "5 % interval"):
        assert words in page
        assert words in markdown

    # Rolled back, the same partition does not bring it again.
    kept_files = files(folder / "registry" / "versions")
    assert registry.roll_back().version == first
    again = run(folder, said)
    assert again.result == "kept"
    assert not any("train_model" in line for line in said)
    assert "was deployed, and another version was chosen since" in again.decision.reasons[-1]
    pointer = registry.deployed()
    assert pointer is not None
    assert pointer.version == first
    assert files(folder / "registry" / "versions") == kept_files
    with pytest.raises(UserError, match="no way back"):
        registry.roll_back()
    assert registry.choose(second).version == second


def points(folder: Path) -> Iterator[tuple[int, Outcome | None]]:
    """Runs again and again, each time killed one line later, until a run is through."""
    for number in range(1, 100):
        said: list[str] = []

        def say(line: str, said: list[str] = said, number: int = number) -> None:
            said.append(line)
            if len(said) == number:
                raise Killed(line)

        try:
            yield number, retrain(job_of(folder), folder / "out", say)
        except Killed:
            yield number, None
        else:
            return


def test_killed_anywhere_it_ends_as_if_it_were_not(folder: Path, tmp_path: Path) -> None:
    """A first version is copied, so that only one more is trained."""
    subprocess.run(["cp", "-a", *folder.iterdir(), str(tmp_path)], check=True)
    registry = Registry(job_of(tmp_path).registry)
    first = registry.versions()[0]
    if registry.deployed().version != first:  # type: ignore[union-attr]
        registry.choose(first)
    add_partition(tmp_path / "data", "2026-11-04", 1, inverted=True)
    seen: dict[str, int] = {}
    killed = 0
    for _, outcome in points(tmp_path):
        killed += outcome is None
        # What was trained stays as it is, and nothing is trained beside it.
        seen |= trained(tmp_path)
        assert not trained(tmp_path) or trained(tmp_path) == seen
    assert killed > 12
    assert len(seen) == 1
    made = [name for name in registry.versions() if name.startswith("2026-11-04")]
    assert len(made) == 1
    pointer = registry.deployed()
    assert pointer is not None
    assert pointer.version == made[0]
    assert [change.version for change in pointer.history].count(made[0]) == 1
    assert not list((tmp_path / "registry").rglob(".*"))


def test_a_run_that_is_killed_for_real_goes_on(folder: Path, tmp_path: Path) -> None:
    subprocess.run(["cp", "-a", *folder.iterdir(), str(tmp_path)], check=True)
    registry = Registry(job_of(tmp_path).registry)
    first = registry.versions()[0]
    registry.choose(first)
    add_partition(tmp_path / "data", "2026-11-05", 2, inverted=True)
    command = [sys.executable, "-m", "pocketkube", "retrain", "retraining.yaml", "-o", "out", "--json"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("judge "):
                process.send_signal(signal.SIGKILL)
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["result"] in ("deployed", "kept")
    assert "[2/5] train_model" not in done.stderr or "[2/5] unchanged" in done.stderr
    pointer = registry.deployed()
    assert pointer is not None
    assert pointer.version.startswith("2026-11-05")
    shown = subprocess.run(
        [sys.executable, "-m", "pocketkube", "deployed", "retraining.yaml", "--roll-back"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stdout == f"{first} is deployed\n"


def test_by_age_it_keeps_its_channels(folder: Path, tmp_path: Path, s3: Gateway) -> None:
    """Data and versions are on a server."""
    place = f"s3://{BUCKET}/by-age"
    write_settings(
        tmp_path,
        partitions=f"{place}/data",
        registry=f"{place}/registry",
        max_age_days=1e-6,
        gate=GATE | {"max_score_drop": 0.5},
    )
    here, registry = Registry(job_of(folder).registry), Registry(job_of(tmp_path).registry)
    first = here.versions()[0]
    with here.fetched(first) as version:
        registry.add(first, version)
    registry.choose(first)
    add_partition(s3.objects / "by-age" / "data", "2026-11-06", 1)
    outcome = run(tmp_path)
    assert outcome.result == "deployed"
    assert outcome.decision.plan == "stored"
    assert "days old" in outcome.decision.reasons[0]
    assert outcome.made is not None
    kept = []
    for name in (first, outcome.made.version):
        with registry.fetched(name) as version:
            kept.append(json.loads((version / "bundle.json").read_text())["kept"])
    assert kept[0] == kept[1]
    assert any(after < before for after, before in kept[0].values())


def test_what_does_not_pass_is_kept_but_not_deployed(folder: Path, tmp_path: Path) -> None:
    subprocess.run(["cp", "-a", *folder.iterdir(), str(tmp_path)], check=True)
    registry = Registry(job_of(tmp_path).registry)
    first = registry.versions()[0]
    registry.choose(first)
    whole = {key: value for key, value in SPEC.items() if key != "target"} | {"stages": []}
    write_settings(tmp_path, spec=whole, gate=GATE | {"max_size_growth": 0.0})
    add_partition(tmp_path / "data", "2026-11-07", 2, inverted=True)
    outcome = run(tmp_path)
    assert outcome.result == "refused"
    assert outcome.made is not None
    refused = {each.name for each in outcome.made.gate.criteria if not each.passed}
    assert refused == {"size"}
    pointer = registry.deployed()
    assert pointer is not None
    assert pointer.version == first
    assert outcome.made.version in registry.versions()
    said: list[str] = []
    again = run(tmp_path, said)
    assert again.result == "kept"
    assert "did not pass its gate" in again.decision.reasons[-1]
    assert not any("train_model" in line for line in said)
    # A person may think otherwise.
    assert registry.choose(outcome.made.version).version == outcome.made.version
