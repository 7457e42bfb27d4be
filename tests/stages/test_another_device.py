"""A latency on another device, by its latency table: pruned for, and never told as measured there."""

import itertools
import math
from pathlib import Path

import pytest

from pocketkube.errors import UserError
from pocketkube.latency_table.another_device import another_device
from pocketkube.latency_table.of_network import measure_network
from pocketkube.latency_table.table import CallCost, LatencyTable, write_table
from pocketkube.models import build_model
from pocketkube.report.result import Result
from pocketkube.spec import parse_spec, resolve_paths
from pocketkube.spec.spec import Spec
from pocketkube.stages.configs import PruneChannelsConfig
from pocketkube.stages.foreseen import foreseen_file
from pocketkube.stages.outputs import collect
from pocketkube.stages.outside import outside_locations
from pocketkube.stages.plan import step_named
from pocketkube.stages.whole_job import run_inline

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> LatencyTable:
    """A table with this network's operations, each as fast as it is small: no noise of this machine."""
    file = tmp_path_factory.mktemp("table") / "here.json"
    table = measure_network(build_model("lenet", (32, 32, 1), 10), file, formats=("float32",), rounds=1)
    kinds = tuple(
        each.model_copy(update={"times_us": tuple(map(math.prod, itertools.product(*each.levels)))})
        for each in table.kinds
    )
    calls = {"float32": CallCost(overhead_us=1.0, scale=1.0)}
    return table.model_copy(update={"kinds": kinds, "calls": calls})


def of_device(table: LatencyTable, **changes: object) -> LatencyTable:
    device = {"cpu": "Arm Cortex-A76", "machine": "aarch64", **changes}
    return table.model_copy(update={"device": table.device.model_copy(update=device)})


def job(limit_ms: float, place: Path | str, **more: object) -> Spec:
    return parse_spec(
        more
        | {
            "model": "lenet",
            "dataset": "digits",
            "target": {"max_latency_ms": limit_ms, "latency_table": str(place)},
            "stages": [{"prune_channels": {"round_to": 1}}],
            "training": {"epochs": 1, "batch_size": 64},
            "benchmark": {"runs": 5, "threads": [1]},
        }
    )


def whole_ms(table: Path) -> float:
    content = foreseen_file((), build_model("lenet", (32, 32, 1), 10), [])
    return another_device(str(table)).latency_ms(content, "float32")


def run(spec: Spec, folder: Path) -> Result:
    return collect(run_inline(spec, folder / "steps", lambda _: None), folder)


def test_a_job_is_pruned_by_the_table_and_says_so(here: LatencyTable, tmp_path: Path) -> None:
    write_table(of_device(here), tmp_path / "phone.json")
    limit_ms = 0.5 * whole_ms(tmp_path / "phone.json")
    result = run(job(limit_ms, tmp_path / "phone.json"), tmp_path)
    (target,) = result.targets
    assert target.met
    assert target.reached <= limit_ms
    assert target.interval is None
    said = "foreseen by the latency table of Arm Cortex-A76 (aarch64), not measured there"
    assert target.doubt == said
    notes = [note for stage in result.stages for note in stage.notes]
    assert any(said in note for note in notes)
    assert not any("95 % interval" in note for note in notes)
    assert result.after.macs < result.before.macs
    # What was measured stays what it is: this machine's.
    assert result.environment.machine != "aarch64" or result.environment.cpu != "Arm Cortex-A76"
    assert said in (tmp_path / "report.html").read_text()


def test_a_search_keeps_to_the_latency_of_the_table(here: LatencyTable, tmp_path: Path) -> None:
    write_table(of_device(here), tmp_path / "phone.json")
    limit_ms = 0.5 * whole_ms(tmp_path / "phone.json")
    search = {
        "over": ["prune_channels"],
        "trials": 2,
        "sampler": "random",
        "evaluate": {"fine_tune_steps": 0},
    }
    result = run(job(limit_ms, tmp_path / "phone.json", search=search), tmp_path)
    (target,) = result.targets
    assert target.met
    assert 0.8 * limit_ms < target.reached <= limit_ms


def test_a_table_under_emulation_promises_nothing(here: LatencyTable, tmp_path: Path) -> None:
    write_table(of_device(here, emulated_on="x86_64"), tmp_path / "phone.json")
    (target,) = run(job(1000.0, tmp_path / "phone.json"), tmp_path).targets
    assert not target.met
    assert target.bound == "about"
    assert "emulated on x86_64" in target.doubt


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"calls": {}}, r"phone\.json is not complete"),
        ({"threads": 4}, r"is of 4 threads, but max_latency_ms is of one"),
        ({"kinds": ()}, r"target\.latency_table: .*phone\.json: The latency table has no times of"),
    ],
)
def test_a_table_that_does_not_serve_is_refused_in_one_line(
    here: LatencyTable, tmp_path: Path, changes: dict, said: str
) -> None:
    write_table(of_device(here).model_copy(update=changes), tmp_path / "phone.json")
    with pytest.raises(UserError, match=said) as refused:
        run(job(1e-3, tmp_path / "phone.json"), tmp_path)
    assert "\n" not in str(refused.value)


def test_the_table_is_a_part_of_what_pruning_depends_on(tmp_path: Path) -> None:
    spec = resolve_paths(job(1.0, "tables/phone.json"), tmp_path)
    config = step_named(spec, "prune_channels").config
    assert isinstance(config, PruneChannelsConfig)
    table = tmp_path / "tables/phone.json"
    (place,) = [each for each in outside_locations(config) if str(each) == str(table)]
    before = place.stamp()
    table.parent.mkdir()
    table.write_text("{}")
    assert place.stamp() != before


def test_a_table_is_for_a_latency() -> None:
    with pytest.raises(UserError, match="latency_table is read for max_latency_ms"):
        parse_spec(
            {
                "model": "lenet",
                "dataset": "digits",
                "target": {"max_size": 1000, "latency_table": "phone.json"},
                "stages": ["prune_channels"],
            }
        )
    assert parse_spec(
        {
            "model": "lenet",
            "dataset": "digits",
            "target": {"max_latency_ms": 1, "latency_table": "s3://b/phone.json"},
            "stages": ["prune_channels"],
        }
    ).target
