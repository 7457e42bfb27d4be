"""What the report holds against the target is what was asked for, as it was measured."""

from pathlib import Path

import keras
import pytest

from pocketkube.spec import Spec, parse_spec
from pocketkube.stages.outputs import collect
from pocketkube.stages.whole_job import run_inline


@pytest.fixture(scope="module")
def spec() -> Spec:
    pruning = {"round_to": 1, "budget": "parameters", "criterion": "l2"}
    return parse_spec(
        {
            "model": "lenet",
            "dataset": "digits",
            "target": {"speedup": 3},
            "stages": [{"prune_channels": pruning}],
            "training": {"epochs": 1, "batch_size": 64},
            "benchmark": {"runs": 5, "threads": [1], "warmup_runs": 0, "precision": 9},
        }
    )


@pytest.fixture(scope="module")
def output(spec: Spec, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("job")
    run_inline(spec, folder / "steps", lambda _: None, cache=folder / "cache")
    return folder


def test_a_speed_up_of_parameters_is_judged_by_parameters(spec: Spec, output: Path) -> None:
    folders = run_inline(spec, output / "steps", lambda _: None, cache=output / "cache")
    result = collect(folders, output)
    (target,) = result.targets
    before, after = (
        keras.saving.load_model(place / "model.keras").count_params()
        for place in (folders["train_model"], output)
    )
    assert target.reached == pytest.approx(before / after)
    assert target.met
    # Multiply-adds, which are another figure, are not three times fewer.
    assert result.speedup < 2.5


def test_a_latency_can_be_measured_again_where_nothing_has_changed(spec: Spec, output: Path) -> None:
    ran: dict[bool, list[str]] = {}
    for again in (False, True):
        lines: list[str] = []
        anew = ("benchmark_litert",) if again else ()
        run_inline(spec, output / "steps", lines.append, cache=output / "cache", anew=anew)
        # Of each step it is told that it begins, and how it ended.
        ran[again] = [
            begun.partition("] ")[2]
            for begun, ended in zip(lines[::2], lines[1::2], strict=True)
            if not ended.endswith("unchanged")
        ]
    assert [name.split()[0] for name in ran[False]] == ["build_report"]
    assert [name.split()[0] for name in ran[True]] == ["benchmark_litert", "build_report"]
