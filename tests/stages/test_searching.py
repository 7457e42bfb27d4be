"""A job searches for its layers' channels before it cuts them, and loses nothing when it is killed."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from pocketkube.bundle import load_bundle
from pocketkube.errors import UserError
from pocketkube.search.comparison import ComparisonFacts
from pocketkube.search.evaluation import Evaluator
from pocketkube.search.judging import Judged
from pocketkube.spec import parse_spec, settings_document
from pocketkube.spec.sections import PruneChannels
from pocketkube.stages import searching
from pocketkube.stages.call import StageCall
from pocketkube.stages.comparing import compare_samplers
from pocketkube.stages.outputs import (
    OF_A_SEARCH,
    collect,
    refuse_changed_ratios,
    take_note_of_earlier,
)
from pocketkube.stages.plan import SEARCH, plan, step_named, steps_to
from pocketkube.stages.run import run_stage
from pocketkube.stages.searched import with_found
from pocketkube.stages.whole_job import run_inline

ROOT = Path(__file__).parents[2]
SPEC: dict[str, Any] = {
    "model": "lenet",
    "dataset": "digits",
    "target": {"speedup": 2},
    "stages": [{"prune_channels": {"round_to": 1}}, "quantize_int8"],
    "search": {
        "over": ["prune_channels"],
        "trials": 4,
        "sampler": "random",
        "evaluate": {"fine_tune_steps": 0},
    },
    "training": {"epochs": 2, "batch_size": 64},
    "benchmark": {"runs": 5, "threads": [1], "warmup_runs": 0, "precision": 9},
}


def keys(spec: dict[str, Any]) -> dict[str, tuple[str, dict[str, str]]]:
    return {step.key: (step.stage, dict(step.inputs)) for step in plan(parse_spec(spec))}


def test_the_search_stands_before_the_first_stage_that_it_decides() -> None:
    spec = SPEC | {
        "stages": ["prune_channels", "fine_tune", "sparsify_weights", "quantize_weights"],
        "search": {"over": ["quantize_weights"], "mean_bits": 4},
    }
    steps = keys(spec)
    assert list(steps)[2:7] == [
        *("1_prune_channels", "2_fine_tune", "3_sparsify_weights", "search", "4_quantize_weights")
    ]
    assert steps["search"] == (
        "search_ratios",
        {"model": "3_sparsify_weights", "teacher": "train_model"},
    )
    assert steps["4_quantize_weights"][1]["ratios"] == "search"
    assert "ratios" not in steps["1_prune_channels"][1]
    assert steps["report"][1]["searched"] == "search"
    both = keys(
        SPEC
        | {"stages": ["prune_channels", "fine_tune", "quantize_weights"], "target": {"max_size": 9000}}
        | {"search": {"over": ["quantize_weights", "prune_channels"]}}
    )
    # The uncompressed model is the model itself: one output is not to be two inputs.
    assert both["search"][1] == {"model": "train_model"}
    assert {both[key][1]["ratios"] for key in ("1_prune_channels", "3_quantize_weights")} == {"search"}
    assert "search" not in keys({**SPEC, "search": None})
    assert [step.key for step in steps_to(parse_spec(SPEC), "search")] == [
        *("check_export", "train_model", "search")
    ]


def test_the_search_depends_on_what_decides_it_alone() -> None:
    def told(**changes: Any) -> dict[str, Any]:
        return settings_document(step_named(parse_spec(SPEC | changes), "search").config)

    same = told()
    assert set(same) == {"dataset", "search", "stages", "target"}
    assert [stage["name"] for stage in same["stages"]] == ["prune_channels"]
    assert told(training={"epochs": 7}, benchmark={"runs": 9}, distillation={"weight": 0.1}) == same
    assert told(stages=[SPEC["stages"][0], "fine_tune"]) == same
    # Trials that cut channels are trained, if nothing else is said; not for training's epochs.
    trained = {name: value for name, value in SPEC["search"].items() if name != "evaluate"}
    assert told(search=trained)["training"] == {"batch_size": 64}
    by_size = told(target={"max_size": 9000})
    assert [stage["name"] for stage in by_size["stages"]] == ["prune_channels", "quantize_int8"]


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Path]]:
    folder = tmp_path_factory.mktemp("job")
    spec = parse_spec(SPEC)
    return folder, run_inline(spec, folder / "steps", lambda _: None, cache=folder / "cache")


def test_what_was_found_is_what_is_cut(job: tuple[Path, dict[str, Path]], tmp_path: Path) -> None:
    _, folders = job
    result = collect(folders, tmp_path)
    ratios = yaml.safe_load((tmp_path / "ratios.yaml").read_text())["prune_channels"]
    kept = load_bundle(folders["1_prune_channels"]).facts.kept
    assert set(ratios) == set(kept)
    for name, (left, of) in kept.items():
        assert ratios[name] == pytest.approx(1 - left / of, abs=1e-6)
    assert result.search is not None
    # The table of the search and a count over the real network agree, and so does the target.
    best = result.search.best_trial
    assert result.stages[-1].macs == result.after.macs == best.costs["macs"]
    assert all(target.met for target in result.targets)
    assert 2.0 <= result.speedup <= 2.5
    with (tmp_path / "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4
    assert max(float(row["score"]) for row in rows) == best.score
    page = (tmp_path / "report.html").read_text()
    assert "The best so far, on validation examples" in page
    assert (tmp_path / "best_so_far.svg").read_text().startswith("<svg")


def with_steps_of(job: tuple[Path, dict[str, Path]], output: Path) -> tuple[Path, dict[str, Path]]:
    """An output folder with the steps of a job, and where each of them is."""
    shutil.copytree(job[0] / "steps", output / "steps")
    return output, {key: output / "steps" / folder.name for key, folder in job[1].items()}


def test_ratios_that_a_person_changed_are_not_passed_over(
    job: tuple[Path, dict[str, Path]], tmp_path: Path
) -> None:
    output, folders = with_steps_of(job, tmp_path / "out")
    refuse_changed_ratios(output)
    collect(folders, output)
    refuse_changed_ratios(output)
    (output / "ratios.yaml").write_text("prune_channels: {conv1: 0.5}\n")
    with pytest.raises(UserError, match=r"out/ratios.yaml was changed, .* prune_channels: {ratios: "):
        refuse_changed_ratios(output)


def test_a_job_without_a_search_leaves_no_files_of_an_earlier_one(
    job: tuple[Path, dict[str, Path]], tmp_path: Path
) -> None:
    output, folders = with_steps_of(job, tmp_path / "out")
    # Named as a job's files are, and from no job.
    own = [output / "front" / "app.js", output / "sentencepiece.model", output / "model.packed"]
    for place in own:
        place.parent.mkdir(exist_ok=True)
        place.write_text("mine")
    collect(folders, output)
    of_a_search = [output / name for name in OF_A_SEARCH]
    assert all(place.exists() for place in of_a_search)
    (output / "trials.csv").write_text("changed")
    del folders[SEARCH]
    collect(folders, output)
    assert [place.name for place in of_a_search if place.exists()] == ["trials.csv"]
    assert (output / "model.tflite").is_file()
    assert [place.read_text() for place in own] == ["mine"] * 3


def test_files_of_an_earlier_version_s_job_are_known_by_its_steps(
    job: tuple[Path, dict[str, Path]], tmp_path: Path
) -> None:
    output, folders = with_steps_of(job, tmp_path / "out")
    collect(folders, output)
    (output / ".shown.json").unlink()
    for place in (output, output / "steps" / "1_prune_channels"):
        (place / "model.packed").write_text("packed")
    (output / "sentencepiece.model").write_text("mine")
    take_note_of_earlier(output)
    (output / "steps" / "1_prune_channels" / "model.packed").unlink()
    collect(folders, output)
    assert not (output / "model.packed").exists()
    assert (output / "sentencepiece.model").read_text() == "mine"


def test_ratios_from_no_search_are_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "ratios.yaml").write_text("prune_channels: {conv1: 0.5}\n")
    with pytest.raises(UserError, match=r"ratios.yaml is of no search of this folder, and a spec with"):
        refuse_changed_ratios(tmp_path)


def test_another_sampler_does_not_take_up_the_trials_of_one_that_was_killed(
    job: tuple[Path, dict[str, Path]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for sampler in ("random", "uniform"):
        search = SPEC["search"] | {"sampler": sampler, "trials": 2}
        step = step_named(parse_spec(SPEC | {"search": search}), SEARCH)
        inputs = {name: str(job[1][key]) for name, key in step.inputs.items()}
        call = StageCall(step.stage, step.config, inputs, str(tmp_path / "found"))
        with monkeypatch.context() as patched:
            if sampler == "random":
                patched.setattr(searching, "write_found", interrupt)
                with pytest.raises(KeyboardInterrupt):
                    run_stage(call)
                continue
            run_stage(call)
        with (tmp_path / "found" / "trials.csv").open() as file:
            found = [row["sampler"] for row in csv.DictReader(file)]
    assert found == ["uniform", "uniform"]


def test_more_trials_or_another_sampler_measure_nothing_again(
    job: tuple[Path, dict[str, Path]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    measured: list[tuple[int, ...]] = []
    judge = Evaluator._judged

    def counted(self: Evaluator, levels: tuple[int, ...], *others: Any) -> Judged:
        measured.append(levels)
        return judge(self, levels, *others)

    monkeypatch.setattr(Evaluator, "_judged", counted)
    shutil.copytree(job[0] / "cache", tmp_path / "cache")

    def searched(**changes: Any) -> list[dict[str, str]]:
        step = step_named(parse_spec(SPEC | {"search": SPEC["search"] | changes}), SEARCH)
        inputs = {name: str(job[1][key]) for name, key in step.inputs.items()}
        found = tmp_path / "found"
        assert not run_stage(
            StageCall(step.stage, step.config, inputs, str(found)), tmp_path / "cache"
        ).cached
        with (found / "trials.csv").open() as file:
            return list(csv.DictReader(file))

    five = searched(trials=5)
    with (job[1][SEARCH] / "trials.csv").open() as file:
        assert five[:4] == list(csv.DictReader(file))
    assert len(measured) == 1
    # The first trial of milp is what the losses foresee to be the best, and is new.
    searched(sampler="milp", trials=1)
    assert len(measured) == 2
    # What another search wrote and this one cannot read stands in nobody's way.
    for file in (tmp_path / "cache").glob(".search_ratios-*/milp-*/trials.jsonl"):
        file.write_text(f"none\n{file.read_text()}")
    searched(sampler="random", trials=1)
    assert "Not looked at: " in capsys.readouterr().err
    # No examples stay there.
    assert not list((tmp_path / "cache").glob(".search_ratios-*/**/*.npy"))


def interrupt(*args: object) -> None:
    raise KeyboardInterrupt


def test_a_front_is_searched_drawn_and_can_be_taken_up(
    job: tuple[Path, dict[str, Path]], tmp_path: Path
) -> None:
    folder, _ = job
    search = {
        "over": ["prune_channels"],
        "trials": 5,
        "sampler": "milp",
        "front": {"speedup": [1.5, 4]},
        "evaluate": {"fine_tune_steps": 0},
    }
    spec = parse_spec(SPEC | {"search": search})
    folders = run_inline(spec, tmp_path / "steps", lambda _: None, cache=folder / "cache")
    result = collect(folders, tmp_path)
    facts = result.search
    assert facts is not None
    assert facts.front is not None
    whole = result.before.macs
    assert facts.front == pytest.approx((whole / 4, whole / 1.5))
    assert facts.best_trial.costs["macs"] <= whole / 2
    assert result.stages[-1].macs == facts.best_trial.costs["macs"]
    points = {point.name for point in (tmp_path / "front").iterdir()}
    assert points == {f"trial_{trial.number + 1}.yaml" for trial in facts.front_trials}
    for point in points:
        ratios = yaml.safe_load((tmp_path / "front" / point).read_text())["prune_channels"]
        taken = SPEC | {
            "search": None,
            "target": None,
            "stages": [{"prune_channels": {"ratios": ratios}}],
        }
        parse_spec({key: value for key, value in taken.items() if value is not None})
    page = (tmp_path / "report.html").read_text()
    assert "Score against multiply-adds" in page
    assert (
        f"# Trial {facts.best + 1}, the best that meets the target"
        in (tmp_path / "ratios.yaml").read_text()
    )


@pytest.mark.slow
def test_a_file_that_was_searched_for_has_the_size_that_was_foreseen(
    job: tuple[Path, dict[str, Path]], tmp_path: Path
) -> None:
    folder, _ = job
    over = ["prune_channels", "quantize_weights"]
    stages = [{"prune_channels": {"round_to": 1}}, {"quantize_weights": {"epochs": 0}}]
    changed = {
        "search": {"over": over, "trials": 2, "sampler": "random", "tie": "stage"},
        "stages": stages,
        "target": {"max_size": 24000},
    }
    spec = parse_spec(SPEC | changed)
    folders = run_inline(spec, tmp_path / "steps", lambda _: None, cache=folder / "cache")
    result = collect(folders, tmp_path)
    assert result.search is not None
    size = (tmp_path / "model.tflite").stat().st_size
    assert size <= 24000
    assert result.search.best_trial.costs["bytes"] == pytest.approx(size, abs=400)


def test_ratios_of_another_stage_are_refused(tmp_path: Path) -> None:
    (tmp_path / "ratios.yaml").write_text("quantize_weights: {conv1: 4}\n")
    with pytest.raises(UserError, match=r"ratios\.yaml says nothing of prune_channels"):
        with_found(PruneChannels(), {"ratios": tmp_path})
    (tmp_path / "ratios.yaml").write_text("prune_channels: {conv1: 0.25}\n")
    assert with_found(PruneChannels(), {"ratios": tmp_path}).ratios == {"conv1": 0.25}
    assert with_found(PruneChannels(), {}) == PruneChannels()


def lines(cache: Path) -> list[dict[str, Any]]:
    journals = list(cache.glob(".search_ratios-*.trials/*/trials.jsonl"))
    return [json.loads(line) for file in journals for line in file.read_text().splitlines()]


@pytest.mark.slow
def test_a_killed_search_goes_on_where_it_was(
    job: tuple[Path, dict[str, Path]], tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    shutil.copytree(job[0] / "cache", cache, ignore=shutil.ignore_patterns("*search_ratios-*"))
    search = SPEC["search"] | {"trials": 12, "parallel": 2}
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump(SPEC | {"search": search}))
    words = ["search", "spec.yaml", "-o", "out"]
    command = [sys.executable, "-m", "pocketkube", *words]
    environment = os.environ | {"POCKETKUBE_CACHE": str(cache), "PYTHONPATH": str(ROOT)}
    first = subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True)
    ended: list[dict[str, Any]] = []
    while len(ended) < 3:
        assert first.poll() is None, first.communicate()[1]
        time.sleep(0.05)
        ended = [line for line in lines(cache) if line.get("score") is not None]
    started = psutil.Process(first.pid).children(recursive=True)
    assert len(started) >= 2
    first.send_signal(signal.SIGKILL)
    first.communicate()
    _, alive = psutil.wait_procs(started, timeout=10)
    assert not alive
    assert not (tmp_path / "out" / "ratios.yaml").exists()
    again = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert f"Ratios:  {tmp_path / 'out' / 'ratios.yaml'}" in again.stdout
    assert "was the best: accuracy" in again.stdout
    with (tmp_path / "out" / "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["trial"] for row in rows] == [f"{number}" for number in range(1, 13)]
    # What had ended keeps the time that it took.
    scores = {int(row["trial"]) - 1: float(row["score"]) for row in rows}
    for line in ended:
        assert scores[line["number"]] == line["score"]
    assert "stage=search trial=12/12" in again.stderr


def test_samplers_are_compared_at_equal_trials(
    job: tuple[Path, dict[str, Path]], tmp_path: Path
) -> None:
    folder, _ = job
    said: list[str] = []

    def compare() -> ComparisonFacts:
        spec = parse_spec(SPEC | {"search": SPEC["search"] | {"trials": 3}})
        return compare_samplers(
            spec, ("random", "uniform"), 2, tmp_path, cache=folder / "cache", say=said.append
        )

    found = compare()
    assert [(run.sampler, run.seed) for run in found.runs] == [
        *(("random", 0), ("uniform", 0), ("random", 1), ("uniform", 1))
    ]
    for run in found.runs:
        assert len(run.best_so_far) == 3
        assert list(run.best_so_far) == sorted(run.best_so_far)
    # A rule knows no chance, and is evaluated once.
    assert found.runs[1].best_so_far == found.runs[3].best_so_far
    assert found.evaluated <= 9
    page = (tmp_path / "comparison.html").read_text()
    assert "uniform" in page
    assert (tmp_path / "comparison.md").read_text().startswith("| sampler | 1 trial | 3 trials |")
    assert (tmp_path / "comparison.svg").is_file()
    assert compare().runs == found.runs
