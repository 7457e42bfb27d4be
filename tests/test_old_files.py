"""Files of the time before they had a version: of a run of 2026-11-26, its examples cut to four."""

import json
from pathlib import Path

import numpy as np
import pytest

from pocketkube.benchmarking.results import benchmark_document, load_benchmark
from pocketkube.benchmarking.samples import load_samples, save_samples
from pocketkube.errors import UserError
from pocketkube.facts import BundleFacts, ExportedFacts, load_facts, load_warnings, merged
from pocketkube.files.records import document_of, read_document, text_of
from pocketkube.measures.task_facts import TaskFacts
from pocketkube.report import build_report
from pocketkube.report.result import Result, load_result

OLD = Path(__file__).with_name("old_files")
NAMES = ["train_model", "prune_channels", "sparsify_weights"]


@pytest.mark.parametrize(
    ("name", "kind"), [("bundle", BundleFacts), ("exported", ExportedFacts), ("result", Result)]
)
def test_an_old_file_is_read_and_what_is_written_now_reads_alike(name, kind, tmp_path: Path) -> None:
    found = read_document(kind, OLD / f"{name}.json")
    (tmp_path / "now.json").write_text(text_of(found))
    assert json.loads((tmp_path / "now.json").read_text())["schema_version"] == 2
    assert read_document(kind, tmp_path / "now.json") == found
    assert [stage.name for stage in found.stages[:3]] == NAMES
    for earlier, later in zip(found.stages, found.stages[1:], strict=False):
        assert [parent.stage for parent in later.parents] == [earlier.id]


def test_the_figures_of_an_old_bundle_and_result_are_those_in_the_files() -> None:
    written = json.loads((OLD / "bundle.json").read_text())
    facts = read_document(BundleFacts, OLD / "bundle.json")
    assert facts.made.name == "sparsify_weights"
    assert facts.made.score == written["stages"][-1]["score"]
    assert facts.profile.macs == written["profile"]["macs"]
    assert [stage.name for stage in facts.changed_by()] == NAMES[::-1]
    assert f"{facts.packed.file_bytes}" in (OLD / "bundle.json").read_text()
    assert "lenet, compressed" in build_report(load_result(OLD / "result.json"))


def test_an_old_benchmark_and_old_samples(tmp_path: Path) -> None:
    report = load_benchmark(OLD / "benchmark.json")
    (tmp_path / "now.json").write_text(json.dumps(benchmark_document(report)))
    assert load_benchmark(tmp_path / "now.json") == report
    old = load_samples(OLD / "samples.npz")
    task = TaskFacts.model_validate(json.loads(str(np.load(OLD / "samples.npz")["task"])))
    save_samples(tmp_path / "now.npz", old.inputs, old.labels, task)
    now = load_samples(tmp_path / "now.npz")
    assert now.measure == old.measure
    np.testing.assert_array_equal(now.inputs[0], old.inputs[0])
    newer = dict(np.load(tmp_path / "now.npz")) | {"schema_version": np.asarray(3)}
    np.savez(tmp_path / "newer.npz", **newer)
    with pytest.raises(UserError, match=r"newer\.npz is of schema_version 3.*update PocketKube"):
        load_samples(tmp_path / "newer.npz")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"schema_version": 3}, "is of schema_version 3, written by a newer PocketKube"),
        ({"schema_version": "two"}, "schema_version must be 1 to 2; received 'two'"),
        ({"seed": "zero"}, "is damaged: seed: input should be a valid integer"),
        ({"stages": 7}, "is damaged: it lacks what version 1 has"),
        ({"stages": []}, "is damaged: it lacks what version 1 has"),
    ],
)
def test_what_is_damaged_or_newer_is_said_in_one_line(change, said: str, tmp_path: Path) -> None:
    content = json.loads((OLD / "bundle.json").read_text()) | change
    (tmp_path / "bundle.json").write_text(json.dumps(content))
    with pytest.raises(UserError) as caught:
        load_facts(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path / 'bundle.json'} ")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_lineage_may_branch() -> None:
    """A student learns from a sparse teacher: it is no sparse model itself."""
    teacher = read_document(BundleFacts, OLD / "bundle.json")
    content = json.loads(text_of(teacher))
    root, other = content["stages"][0], content["stages"][1]
    begun = other | {"id": "aaa", "parents": [{"role": "teacher", "stage": teacher.made_by}]}
    tuned = other | {
        "id": "bbb",
        "parents": [{"role": "model", "stage": "aaa"}, {"role": "teacher", "stage": root["id"]}],
    }
    content |= {"stages": [*content["stages"], begun, tuned], "made_by": "bbb"}
    facts = document_of(BundleFacts, content, "bundle.json")
    assert [stage.id for stage in facts.changed_by()] == ["bbb", "aaa"]
    assert merged(teacher.stages, facts.stages) == facts.stages
    content["stages"].reverse()
    with pytest.raises(UserError, match="has a parent that is not before it"):
        document_of(BundleFacts, content, "bundle.json")


def test_a_folder_without_facts_warns_of_nothing(tmp_path: Path) -> None:
    assert load_warnings(tmp_path) == []
