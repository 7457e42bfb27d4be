"""A whole job on this machine, with a small network and little training."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest

from pocketkube.bundle import load_bundle, load_model
from pocketkube.errors import UserError
from pocketkube.facts import load_exported
from pocketkube.files.layout import BENCHMARK_FILE
from pocketkube.graph.cost import profile_model
from pocketkube.litert.running import LiteRTModel
from pocketkube.packing import load_packed
from pocketkube.report.result import load_result
from pocketkube.sparsity.selection import sparsifiable_kernels
from pocketkube.spec import parse_spec
from pocketkube.spec.sections import Target
from pocketkube.stages.outputs import collect
from pocketkube.stages.plan import plan, step_named
from pocketkube.stages.reporting import build_report
from pocketkube.stages.targets import _File, _out_of_reach
from pocketkube.stages.whole_job import run_inline

SPEC = {
    "model": "lenet",
    "dataset": "digits",
    "target": {"speedup": 2},
    "stages": [{"prune_channels": {"round_to": 1}}, {"fine_tune": {"epochs": 2}}, "quantize_int8"],
    "training": {"epochs": 5, "batch_size": 32},
    "benchmark": {"runs": 5, "threads": [1]},
}


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("job")
    said: list[str] = []
    folders = run_inline(parse_spec(SPEC), folder / "steps", said.append, cache=folder / "cache")
    result = collect(folders, folder).model_dump(mode="json")
    return folder, folders, result, said


def test_the_result_is_smaller_faster_and_about_as_good(job) -> None:
    _, _, result, _ = job
    assert 2.0 <= result["speedup"] <= 2.02
    assert result["after"]["size_bytes"] < result["before"]["size_bytes"] / 4
    assert result["before"]["score"] > 0.9
    assert result["after"]["score"] > result["before"]["score"] - 0.05
    assert result["targets"] == [
        {
            "name": "speedup",
            "asked": 2.0,
            "reached": result["speedup"],
            "bound": "exact",
            "met": True,
            "interval": None,
            "doubt": "",
        }
    ]


def test_the_files_are_what_the_figures_say(job) -> None:
    folder, _, result, _ = job
    model = keras.saving.load_model(folder / "model.keras")
    assert profile_model(model).macs == result["after"]["macs"]
    assert (folder / "model.tflite").stat().st_size == result["after"]["size_bytes"]
    assert json.loads((folder / "result.json").read_text()) == result
    assert "fewer multiply-adds" in (folder / "report.html").read_text()


def test_a_name_that_no_step_has_is_answered_with_those_of_the_job() -> None:
    with pytest.raises(UserError, match=r"no step load_model; use one of .*train_model, 1_prune_"):
        step_named(parse_spec(SPEC), "load_model")


def test_a_file_that_is_slower_with_fewer_multiply_adds_is_warned_of(job, tmp_path: Path) -> None:
    _, folders, _, _ = job
    measured = json.loads((folders["benchmark"] / BENCHMARK_FILE).read_text())
    (tmp_path / BENCHMARK_FILE).write_text(
        json.dumps(measured | {"latency_ratio_interval": [0.86, 0.87]})
    )
    step = step_named(parse_spec(SPEC), "report")
    inputs = {name: folders[key] for name, key in step.inputs.items()}
    build_report(step.config, inputs | {"measured": tmp_path}, tmp_path / "report", tmp_path)
    result = load_result(tmp_path / "report" / "result.json")
    assert result.warnings[0].startswith(
        "The compressed file is 1.15x to 1.16x slower than the uncompressed file (95 % interval), for "
        "target.speedup counts multiply-adds, not time: int8 is not the fastest"
    )


def test_the_litert_score_is_that_of_the_file(job) -> None:
    folder, folders, result, _ = job
    samples = np.load(folders["baseline"] / "samples.npz")
    outputs = LiteRTModel(folder / "model.tflite").predict([samples["x0"]])
    hits = [out[0].argmax() == y for out, y in zip(outputs, samples["y0"], strict=True)]
    assert result["after"]["score"] == pytest.approx(np.mean(hits))


def test_a_second_run_takes_everything_from_the_cache(job) -> None:
    folder, _, _, said = job
    assert not any("unchanged" in line for line in said)
    again: list[str] = []
    run_inline(parse_spec(SPEC), folder / "again", again.append, cache=folder / "cache")
    assert sum("unchanged" in line for line in again) == len(plan(parse_spec(SPEC))) - 1


def test_a_changed_stage_is_run_anew_and_the_training_before_it_is_not(job) -> None:
    folder, _, _, _ = job
    changed = SPEC | {"stages": [{"prune_channels": {"criterion": "l1"}}]}
    again: list[str] = []
    folders = run_inline(parse_spec(changed), folder / "changed", again.append, cache=folder / "cache")
    checked, trained, pruned = again[1:6:2]
    assert "unchanged" in trained
    assert "unchanged" not in checked + pruned
    assert load_exported(folders["result"]).format == "float32"


def test_bundles_tell_their_lineage(job) -> None:
    _, folders, _, _ = job
    bundle = load_bundle(folders["2_fine_tune"])
    assert [stage.name for stage in bundle.facts.stages] == [
        "train_model",
        "prune_channels",
        "fine_tune",
    ]
    assert bundle.facts.profile.macs == profile_model(bundle.model).macs


@pytest.mark.slow
@pytest.mark.parametrize(
    ("target", "name"),
    [
        ({"max_size": 30_000}, "max_size"),
        ({"max_accuracy_drop": 0.1}, "max_accuracy_drop"),
    ],
)
def test_other_targets_are_reached(job, tmp_path: Path, target: dict, name: str) -> None:
    folder, _, _, _ = job
    folders = run_inline(
        parse_spec(SPEC | {"target": target}),
        tmp_path / "steps",
        lambda _: None,
        cache=folder / "cache",
    )
    result = collect(folders, tmp_path).model_dump(mode="json")
    assert result["speedup"] > 1.04
    (reached,) = result["targets"]
    assert reached["name"] == name
    assert reached["met"]


@pytest.mark.slow
def test_a_latency_that_is_met_already_leaves_the_network_whole(job, tmp_path: Path) -> None:
    folder, _, _, _ = job
    spec = parse_spec(SPEC | {"target": {"max_latency_ms": 1000.0}})
    folders = run_inline(spec, tmp_path / "steps", lambda _: None, cache=folder / "cache")
    result = collect(folders, tmp_path).model_dump(mode="json")
    assert result["speedup"] == 1.0
    (reached,) = result["targets"]
    assert reached["name"] == "max_latency_ms"
    assert reached["met"]


def test_what_is_out_of_reach_is_told_in_whole_sentences() -> None:
    busy = "The machine was busy: measure again when nothing else runs."
    best = _File(2.0, 1234, "5000 bytes, 0.130 ms (95 % interval 0.120 to 0.140 ms)", (busy,))
    assert _out_of_reach(Target(max_latency_ms=0.07, max_size=9000), best) == (
        "The target cannot be reached by pruning: at most 9000 bytes and 0.07 ms is asked for, and the "
        "best file that was seen, of 1234 parameters, has 5000 bytes, 0.130 ms (95 % interval 0.120 to "
        f"0.140 ms). {busy}"
    )


@pytest.mark.slow
def test_a_latency_out_of_reach_names_the_best_that_was_measured(job, tmp_path: Path) -> None:
    folder, _, _, _ = job
    spec = parse_spec(SPEC | {"target": {"max_latency_ms": 1e-6}})
    said = r"at most 1e-06 ms is asked for, .* bytes, [\d.]+ ms \(95 % interval [\d.to ]+ ms\)\."
    with pytest.raises(UserError, match=said):
        run_inline(spec, tmp_path / "steps", lambda _: None, cache=folder / "cache")


def test_pruning_twice_cuts_no_further_than_the_target(job, tmp_path: Path) -> None:
    folder, _, _, _ = job
    spec = parse_spec(SPEC | {"stages": [SPEC["stages"][0], SPEC["stages"][0]]})
    folders = run_inline(spec, tmp_path / "steps", lambda _: None, cache=folder / "cache")
    result = collect(folders, tmp_path).model_dump(mode="json")
    assert 2.0 <= result["speedup"] <= 2.02
    assert "Nothing is cut" in (tmp_path / "report.html").read_text()


def test_a_later_stage_does_not_prune_anew(job, tmp_path: Path) -> None:
    folder, _, _, _ = job
    said: list[str] = []
    shorter = parse_spec(SPEC | {"stages": [*SPEC["stages"][:2], "quantize_float16"]})
    run_inline(shorter, tmp_path / "steps", said.append, cache=folder / "cache")
    assert [line.endswith("unchanged") for line in said[3:10:2]] == [True, True, True, True]


def test_clusters_reach_the_user_as_a_packed_file(job, tmp_path: Path) -> None:
    folder, _, _, _ = job
    spec = parse_spec(SPEC | {"target": None, "stages": [{"cluster_weights": {"epochs": 0}}]})
    folders = run_inline(spec, tmp_path / "steps", lambda _: None, cache=folder / "cache")
    result = collect(folders, tmp_path).model_dump(mode="json")
    packed = tmp_path / "model.packed"
    before, after = result["before"], result["after"]
    assert after["model_bytes"] == packed.stat().st_size
    assert before["model_bytes"] == (folders["train_model"] / "model.keras").stat().st_size
    # An eighth of the weights, and the model's configuration.
    assert after["model_bytes"] < 4 * after["parameters"] / 8 + 4000
    # Only the names of tensors differ.
    assert after["size_bytes"] == pytest.approx(before["size_bytes"], abs=200)
    assert after["gzip_bytes"] < before["gzip_bytes"] / 4
    clustered, exported = result["stages"][-2:]
    (note,) = clustered["notes"]
    assert "weights of kernels are each one of 16 values, from 5 codebooks; a LiteRT file" in note
    assert clustered["history"] is None
    assert "model.packed holds the Keras model in" in exported["notes"][1]
    assert "Keras model, then packed" in (tmp_path / "report.html").read_text()
    for one, other in zip(
        load_packed(packed).weights, load_model(tmp_path / "model.keras").weights, strict=True
    ):
        np.testing.assert_array_equal(one, other)
    # A later run without clusters leaves no packed file of another model behind.
    collect(job[1], tmp_path)
    assert not packed.exists()


@pytest.mark.slow
def test_a_pruned_and_sparse_network_is_clustered(tmp_path: Path) -> None:
    spec = SPEC | {
        "stages": [
            "prune_channels",
            {"sparsify_weights": {"sparsity": 0.8, "epochs": 4}},
            {"cluster_weights": {"bits": 3}},
            "quantize_float16",
        ],
    }
    folders = run_inline(parse_spec(spec), tmp_path / "steps")
    result = collect(folders, tmp_path).model_dump(mode="json")
    before = load_bundle(folders["2_sparsify_weights"]).model
    after = load_bundle(folders["3_cluster_weights"])
    for (_, was), (_, now) in zip(
        sparsifiable_kernels(before), sparsifiable_kernels(after.model), strict=True
    ):
        np.testing.assert_array_equal(np.asarray(now) == 0, np.asarray(was) == 0)
        assert len(np.unique(now)) <= 2**3 + 1
        assert after.forms[now.path].bits == 3
    assert result["after"]["score"] > result["before"]["score"] - 0.05
    # A fifth of the weights at 3 bits, and 0.72 bits to say which.
    bits = 0.2 * 3 + 0.722
    assert result["after"]["model_bytes"] < bits / 8 * result["after"]["parameters"] + 5000


@pytest.mark.slow
def test_a_sparse_network_stays_sparse_to_the_end(tmp_path: Path) -> None:
    spec = SPEC | {
        "stages": [
            "prune_channels",
            {"sparsify_weights": {"sparsity": 0.8, "epochs": 4}},
            {"fine_tune": {"epochs": 1}},
        ]
    }
    folders = run_inline(parse_spec(spec), tmp_path / "steps")
    result = collect(folders, tmp_path).model_dump(mode="json")
    model = keras.saving.load_model(tmp_path / "model.keras")
    found = [np.asarray(kernel) for _, kernel in sparsifiable_kernels(model)]
    zeros, total = sum((k == 0).sum() for k in found), sum(k.size for k in found)
    assert zeros == pytest.approx(0.8 * total, abs=1)
    stages = {stage["name"]: stage for stage in result["stages"]}
    assert list(stages) == [
        *("train_model", "prune_channels", "sparsify_weights", "fine_tune", "export_float32"),
    ]
    for name in ("sparsify_weights", "fine_tune"):
        assert stages[name]["notes"] == [f"80.0% of the {total} weights of kernels are zero."]
    after = result["after"]
    assert after["format"] == "float32"
    assert after["model_bytes"] == (tmp_path / "model.packed").stat().st_size
    assert after["gzip_bytes"] < after["size_bytes"] < 0.6 * 4 * after["parameters"]
    assert after["score"] > result["before"]["score"] - 0.05


def test_pruned_sparse_and_quantised_one_after_the_other(job, tmp_path: Path) -> None:
    folder, _, _, _ = job
    stages = [
        SPEC["stages"][0],
        {"sparsify_weights": {"sparsity": 0.5, "epochs": 1}},
        {"quantize_weights": {"weight_bits": 4, "epochs": 1}},
        {"quantize_int8": {"input_type": "int8", "output_type": "int8", "min_agreement": 0.98}},
    ]
    spec = parse_spec(SPEC | {"stages": stages})
    folders = run_inline(spec, tmp_path / "steps", lambda _: None, cache=folder / "cache")
    result = collect(folders, tmp_path).model_dump(mode="json")
    steps = result["stages"]
    assert [step["name"] for step in steps] == [
        "train_model",
        "prune_channels",
        "sparsify_weights",
        "quantize_weights",
        "quantize_int8",
    ]
    assert all(0 < step["score"] <= 1 and step["macs"] > 0 for step in steps)
    assert steps[1]["macs"] == steps[3]["macs"] < steps[0]["macs"]
    # What sparsification and bits cost shows in neither multiply-adds nor parameters.
    assert [step["zeros"] for step in steps[:3]] == [0, 0, pytest.approx(0.5, abs=1e-3)]
    assert [step["weight_bits"] for step in steps[:4]] == [[32], [32], [32], [4, 8]]
    assert steps[1]["packed_bytes"] is None
    assert steps[3]["packed_bytes"] < steps[2]["packed_bytes"] / 3
    assert steps[3]["packed_bytes"] == result["after"]["model_bytes"]
    found = [
        np.asarray(kernel) for _, kernel in sparsifiable_kernels(load_model(tmp_path / "model.keras"))
    ]
    assert sum((kernel == 0).sum() for kernel in found) >= 0.5 * sum(kernel.size for kernel in found)
    for kernel in found[1:-1]:
        columns = kernel.reshape(-1, kernel.shape[-1]).T
        assert all(len(np.unique(column)) <= 15 for column in columns)
    after, weights = result["after"], result["after"]["parameters"]
    assert after["format"] == "int8"
    # Half a byte for a weight, a byte in the first and last layer, and the file's own needs.
    assert after["size_bytes"] < weights + 8000
    assert after["model_bytes"] < after["size_bytes"]
    file = LiteRTModel(tmp_path / "model.tflite")
    assert file.input_types == (np.dtype("int8"),)
