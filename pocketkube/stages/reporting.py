"""The stage that gathers all figures into result.json and report.html."""

import json
import shlex
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pocketkube import __version__
from pocketkube.benchmark.environment import package_versions
from pocketkube.facts import load_facts
from pocketkube.figures import size
from pocketkube.files import replaced_folder, write_text
from pocketkube.graph.bounds import Speedup, compare_macs, macs_bound
from pocketkube.graph.paths import is_within
from pocketkube.layout import BENCHMARK_FILE, MODEL_FILE, REPORT_FILE, RESULT_FILE
from pocketkube.measures import task_measure_of, wording_of
from pocketkube.report import build_report as html_of
from pocketkube.spec import Spec, document_of
from pocketkube.stages.configs import BuildReportConfig

# What result.json takes over from the benchmark as it is.
LATENCY = (
    "latency_ratio",
    "latency_ratio_interval",
    "latency_ratios",
    "reference_threads",
    "load",
)


def build_report(
    config: BuildReportConfig, inputs: Mapping[str, Path], output: Path, scratch: Path
) -> None:
    """Writes result.json and report.html."""
    result = gather(config, inputs)
    with replaced_folder(output) as folder:
        write_text(folder / RESULT_FILE, json.dumps(result, indent=1))
        write_text(folder / REPORT_FILE, html_of(result))


def gather(spec: Spec, inputs: Mapping[str, Path]) -> dict[str, Any]:
    """All figures of a job, before and after.

    Args:
        spec: The job.
        inputs: Output folders of its steps: uncompressed, baseline, result and measured.

    Returns:
        The content of result.json.
    """
    before, after = load_facts(inputs["baseline"]), load_facts(inputs["result"])
    measured = json.loads((inputs["measured"] / BENCHMARK_FILE).read_text("utf-8"))
    figures = [
        _figures(facts, file) for facts, file in zip((before, after), measured["files"], strict=True)
    ]
    export, agreement = after["export"], after["agreement"]
    compared = f"{agreement['examples']} test examples"
    stages = [
        *after["stages"],
        {
            "name": export["name"],
            "seconds": export["seconds"],
            "score": figures[1]["score"],
            "val_score": None,
            "heads": [_without_validation(head) for head in figures[1]["heads"]],
            "macs": figures[1]["macs"],
            "macs_bound": figures[1]["macs_bound"],
            "parameters": figures[1]["parameters"],
            "history": None,
            "notes": [
                task_measure_of(after["task"]).agreed(agreement["share"], compared),
                *export["notes"],
                *_packed_note(after.get("packed"), figures[1]),
            ],
            "warnings": export.get("warnings", []),
        },
    ]
    counted = [figure[key] for figure in figures for key in ("macs", "unknown")]
    speedup = compare_macs(*counted)
    result = {
        "pocketkube": __version__,
        "command": _command(),
        "spec": document_of(spec),
        "seed": spec.seed,
        "task": before["task"],
        "before": figures[0] | {"file": "baseline.tflite"},
        "after": figures[1] | {"file": "model.tflite"},
        "speedup": speedup.value,
        "speedup_bound": speedup.bound,
        **{key: measured[key] for key in LATENCY},
        "agreement": agreement["share"],
        "stages": stages,
        "warnings": [
            *(
                f"{stage['name']}: {warning}"
                for stage in stages
                for warning in stage.get("warnings", ())
            ),
            *measured["load"]["warnings"],
        ],
        "layers": _layers(before, after),
        "environment": measured["environment"]
        | {"packages": package_versions(), "when": datetime.now(UTC).isoformat(timespec="seconds")},
    }
    if "packed" in after:
        result["before"]["model_bytes"] = (inputs["uncompressed"] / MODEL_FILE).stat().st_size
        result["after"]["model_bytes"] = after["packed"]["file_bytes"]
    result["targets"] = _targets(spec, result, speedup)
    return result


def _command() -> str | None:
    """How a person started the whole job; None where a runner started this stage of it alone."""
    program, *words = sys.argv
    if words[:1] != ["run"]:
        return None
    as_module = Path(program).name == "__main__.py"
    return shlex.join(["python", "-m", "pocketkube", *words] if as_module else ["pocketkube", *words])


def _figures(facts: dict[str, Any], file: dict[str, Any]) -> dict[str, Any]:
    return file | {
        **_error(facts["task"]["score_name"], file["score"]),
        "heads": [head | _error(head["score_name"], head["score"]) for head in file["heads"]],
        "format": facts["format"],
        "macs": facts["profile"]["macs"],
        "macs_bound": macs_bound(facts["profile"]["unknown"]),
        "unknown": facts["profile"]["unknown"],
        "parameters": facts["profile"]["parameters"],
    }


def _error(score_name: str, score: float | None) -> dict[str, float]:
    """The error that a score is minus of, by its short name."""
    wording = wording_of(score_name)
    if score is None or not wording.is_error:
        return {}
    return {wording.short.lower(): wording.read(score)}


def _without_validation(head: dict[str, Any]) -> dict[str, Any]:
    return {name: head[name] for name in ("name", "score_name", "score")} | {"val_score": None}


def _packed_note(packed: dict[str, int] | None, file: dict[str, Any]) -> list[str]:
    if packed is None:
        return []
    return [
        f"model.packed holds the Keras model in {size(packed['file_bytes'])}; the LiteRT file takes "
        f"{size(file['size_bytes'])}, {size(file['gzip_bytes'])} after gzip. Huffman codes as in Deep "
        f"Compression would store the weights alone in {size(packed['huffman_bytes'])}."
    ]


def _layers(before: dict[str, Any], after: dict[str, Any]) -> list[dict[str, Any]]:
    """Layers that have weights, side by side; none where the networks are different ones."""
    if before["model"] != after["model"]:
        return []
    folded = after.get("folded", {})
    now = [layer for layer in after["profile"]["layers"] if layer["kind"] != "FakeQuantize"]
    rows = []
    for was in before["profile"]["layers"]:
        name = was["name"]
        # A layer that became several has them inside; one that was taken up is part of another.
        left = [layer for layer in now if is_within(layer["name"], name)]
        shown = left or [layer for layer in now if layer["name"] == folded.get(name)]
        if was["parameters"] and was["output_shape"] and shown:
            rows.append(
                {
                    "name": name,
                    "kind": was["kind"],
                    "folded_into": folded.get(name),
                    "channels_before": was["output_shape"][-1],
                    "channels_after": shown[-1]["output_shape"][-1],
                    **{f"{figure}_before": was[figure] for figure in ("macs", "parameters")},
                    **{
                        f"{figure}_after": sum(layer[figure] for layer in left)
                        for figure in ("macs", "parameters")
                    },
                }
            )
    return rows


def _targets(spec: Spec, result: dict[str, Any], speedup: Speedup) -> list[dict[str, Any]]:
    """Each part of the target, what was reached, how sure that is, and whether it is enough."""
    if spec.target is None:
        return []
    before, after, target = result["before"], result["after"], spec.target
    reached: dict[str, tuple[float | None, float]] = {
        "max_size": (target.max_size, after["size_bytes"]),
        "max_latency_ms": (target.max_latency_ms, after["latency_ms"]["p50"]),
    }
    if before["score"] is not None:
        drop = before["score"] - after["score"]
        reached["max_accuracy_drop"] = (target.max_accuracy_drop, drop)
    targets = [
        {"name": name, "asked": asked, "reached": got, "bound": "exact", "met": got <= asked}
        | ({"interval": after["latency_ms"]["p50_interval"]} if name == "max_latency_ms" else {})
        for name, (asked, got) in reached.items()
        if asked is not None
    ]
    if target.speedup is not None:
        asked = target.speedup
        found = {"reached": speedup.value, "bound": speedup.bound, "met": speedup.reaches(asked)}
        targets.insert(0, {"name": "speedup", "asked": asked, **found})
    return targets
