"""Results of runs that a report has to show well: what strangers' networks brought."""

import copy
from typing import Any

import numpy as np


def head(
    score_name: str, score: float, confusion: list[list[int]] | None = None, name: str = "output"
) -> dict[str, Any]:
    """What is known of one output of a file."""
    return {"name": name, "score_name": score_name, "score": score, "confusion": confusion}


FIGURES = {
    "format": "float32",
    "score": 0.9944,
    "macs": 40_518_272,
    "parameters": 273_754,
    "size_bytes": 1_102_408,
    "gzip_bytes": 1_021_533,
    "latency_ms": {"p50": 0.82, "p90": 0.85, "p99": 0.87, "p50_interval": [0.81, 0.83]},
    "threads": {
        "1": {"p50": 0.82, "p90": 0.85, "p99": 0.87, "p50_interval": [0.81, 0.83]},
        "2": {"p50": 0.5, "p90": 0.9, "p99": 1.2, "p50_interval": [0.4, 0.6]},
    },
    "latency_samples_ms": [0.82, 0.83, 0.81, 0.85, 0.9],
    "load_ms": 1.9,
    "peak_memory_bytes": 4_558_848,
    "heads": [head("accuracy", 0.9944, [[10, 1], [0, 12]])],
    "op_latency_ms": {"conv": 0.5, "dense": 0.1},
}
HISTORY = {
    "loss": [2.0, 1.0],
    "score": [0.4, 0.8],
    "val_loss": [2.1, 1.2],
    "val_score": [0.3, 0.7],
    "learning_rate": [0.01, 0.001],
}
RESULT = {
    "pocketkube": "0.1.0",
    "command": "pocketkube run digits.yaml --output runs/digits",
    "spec": {"model": "resnet20", "dataset": {"builtin": "digits"}},
    "seed": 0,
    "task": {
        "score_name": "accuracy",
        "description": "cross-entropy",
        "heads": [{"name": "output", "kind": "classification"}],
    },
    "before": FIGURES | {"file": "baseline.tflite"},
    "after": FIGURES
    | {
        "file": "model.tflite",
        "format": "int8",
        "score": 0.9904,
        "macs": 16_175_504,
        "size_bytes": 78_024,
        "gzip_bytes": 61_200,
        "latency_ms": {"p50": 0.14, "p90": 0.16, "p99": 0.2, "p50_interval": [0.139, 0.142]},
        "threads": {
            "1": {"p50": 0.14, "p90": 0.16, "p99": 0.2, "p50_interval": [0.139, 0.142]},
            "2": {"p50": 0.52, "p90": 0.8, "p99": 1.1, "p50_interval": [0.45, 0.6]},
        },
        "latency_samples_ms": [0.14, 0.15, 0.14, 0.16],
    },
    "speedup": 2.505,
    "latency_ratio": 5.86,
    "latency_ratio_interval": [5.79, 5.92],
    "latency_ratios": {
        "1": {"value": 5.86, "low": 5.79, "high": 5.92},
        "2": {"value": 0.96, "low": 0.9, "high": 1.03},
    },
    "reference_threads": 1,
    "load": {
        "activity": {"cores": 2, "others_cores": 0.1, "load_average": 0.4},
        "spread": 0.03,
        "slowdown": 1.01,
        "warnings": [],
    },
    "warnings": [],
    "agreement": 0.998,
    "targets": [{"name": "speedup", "asked": 2.5, "reached": 2.505, "met": True}],
    "stages": [
        {
            "name": "train_model",
            "seconds": 60.0,
            "score": 0.9944,
            "val_score": 0.99,
            "macs": 40_518_272,
            "parameters": 273_754,
            "heads": [head("accuracy", 0.9944)],
            "history": HISTORY,
            "notes": ["a_layer (Odd) is not known: left whole"],
        },
        {
            "name": "quantize_weights",
            "seconds": 9.0,
            "score": 0.99,
            "val_score": 0.99,
            "macs": 40_518_272,
            "parameters": 273_754,
            "heads": [head("accuracy", 0.99)],
            "zeros": 0.503,
            "weight_bits": [4, 8],
            "packed_bytes": 71_000,
            "history": None,
            "notes": [],
        },
    ],
    "layers": [
        {
            "name": "conv",
            "kind": "Conv2D",
            "channels_before": 16,
            "channels_after": 8,
            "macs_before": 147_456,
            "macs_after": 73_728,
            "parameters_before": 144,
            "parameters_after": 72,
        }
    ],
    "environment": {
        "cpu": "A processor",
        "cpu_features": ["avx2"],
        "cores": 2,
        "machine": "x86_64",
        "python": "3.11.7",
        "packages": {"keras": "3.15.1"},
        "when": "2026-11-24T11:00:00+00:00",
    },
}


def layer(name: str, channels: int, macs: int, kind: str = "Conv2D") -> dict[str, Any]:
    """A layer that lost three eighths of its channels."""
    left = channels - 3 * channels // 8
    return {
        "name": name,
        "kind": kind,
        "channels_before": channels,
        "channels_after": left,
        "macs_before": macs,
        "macs_after": macs * left // channels,
        "parameters_before": 9 * channels,
        "parameters_after": 9 * left,
    }


def changed(**parts: Any) -> dict[str, Any]:
    """The plain result with other parts."""
    return copy.deepcopy(RESULT) | copy.deepcopy(parts)


def trained(epochs: int) -> list[dict[str, Any]]:
    """Its stages with so many epochs, the loss falling."""
    stages = copy.deepcopy(RESULT["stages"])
    fall = np.exp(-np.arange(epochs) / 20)
    stages[0]["history"] = {
        "loss": [*(2.3 * fall)],
        "score": [*(1 - 0.9 * fall)],
        "val_loss": [*(0.2 + 2.2 * fall)],
        "val_score": [*(0.97 - 0.8 * fall)],
        "learning_rate": [0.01] * epochs,
        "kept_epoch": 3 * epochs // 4 or 1,
    }
    return stages


def confusion(classes: int) -> list[list[int]]:
    matrix = 40 * np.eye(classes, dtype=int)
    matrix[np.arange(classes), (np.arange(classes) * 7 + 3) % classes] += np.arange(classes) % 5
    return [[int(value) for value in row] for row in matrix]


def samples(scale: float) -> list[float]:
    """Times as a machine gives them: most alike, a few much longer."""
    rng = np.random.default_rng(0)
    return [float(scale * value) for value in rng.gamma(2.0, 0.05, 400) + 1]


def _nme() -> dict[str, Any]:
    result = changed(
        task={
            "score_name": "negative_nme",
            "description": "smooth L1",
            "heads": [{"name": "points", "kind": "landmarks", "normalize_by": [0, 1]}],
        },
        targets=[{"name": "max_accuracy_drop", "asked": 0.001, "reached": 0.0041, "met": False}],
    )
    result["before"] |= {"score": -0.0301, "heads": [head("negative_nme", -0.0301)]}
    result["after"] |= {"score": -0.0342, "heads": [head("negative_nme", -0.0342)]}
    history = HISTORY | {"score": [-0.9, -0.04], "val_score": [-0.8, -0.035]}
    result["stages"][0] |= {"score": -0.0301, "history": history}
    result["stages"][1] |= {"score": -0.0342}
    return result


def _emulated() -> dict[str, Any]:
    place = RESULT["environment"] | {
        "cpu": "Arm Cortex-A76",
        "machine": "aarch64",
        "emulated_on": "x86_64",
        "node": "n1, n2",
    }
    node = {"cpu": "Arm Cortex-A76", "before_ms": 0.8, "after_ms": 0.14}
    return changed(
        environment=place,
        nodes=[
            node | {"node": "n1", "latency_ratio": 5.71, "latency_ratio_interval": [5.6, 5.8]},
            node
            | {"node": "n2", "before_ms": 0.9, "after_ms": 0.15, "latency_ratio": 6.0}
            | {"latency_ratio_interval": [5.9, 6.1]},
        ],
        targets=[
            {
                "name": "max_latency_ms",
                "asked": 1.0,
                "reached": 0.14,
                "bound": "about",
                "met": False,
                "interval": [0.139, 0.142],
                "doubt": "measured under emulation, which says nothing of a real device",
            }
        ],
    )


def _busy() -> dict[str, Any]:
    result = changed(
        latency_ratio=0.94,
        latency_ratio_interval=[0.88, 1.04],
        latency_ratios={"1": {"value": 0.94, "low": 0.88, "high": 1.04}},
        targets=[
            {"name": "speedup", "asked": 2.5, "reached": 2.505, "met": True},
            {
                "name": "max_latency_ms",
                "asked": 0.138,
                "reached": 0.14,
                "met": False,
                "interval": [0.135, 0.142],
            },
        ],
        warnings=[
            "fine_tune: validation accuracy is 0.69, where it was 0.90 before, more than chance "
            "explains on 1,000 examples: try a smaller target or reconstruct: false.",
            "The machine was busy: other programs kept 1.7 of its 2 cores busy while latency was "
            "measured (load average 8.9); measure again when nothing else runs.",
        ],
    )
    for when, scale in (("before", 0.8), ("after", 0.13)):
        result[when]["latency_samples_ms"] = samples(scale)
    return result


def _many_classes(classes: int) -> dict[str, Any]:
    result = changed()
    result["after"]["heads"] = [head("accuracy", 0.9904, confusion(classes))]
    return result


def _classes_and_values() -> dict[str, Any]:
    """Two that tell classes apart and one that gives values: they have no score in common."""
    kinds = {"digit": "classification", "is_odd": "classification", "ink": "regression"}
    result = changed(
        task={
            "score_name": "negative_loss",
            "description": "digit: sparse categorical crossentropy of logits; is_odd: sparse "
            "categorical crossentropy; ink: huber, times 0.1; as the model was compiled; the score is "
            "minus the loss, for want of one unit",
            "heads": [{"name": name, "kind": kind} for name, kind in kinds.items()],
        }
    )

    def heads(digit: float, odd: float, ink: float, classes: bool = False) -> list[dict[str, Any]]:
        return [
            head("accuracy", digit, confusion(10) if classes else None, "digit"),
            head("accuracy", odd, [[90, 3], [4, 88]] if classes else None, "is_odd"),
            head("negative_mae", ink, None, "ink"),
        ]

    result["before"] |= {"score": None, "heads": heads(0.9812, 0.9944, -0.0212, True)}
    result["after"] |= {"score": None, "heads": heads(0.9756, 0.9931, -0.0254, True)}
    falls = {"score": [-2.0, -1.0], "val_score": [-2.1, -1.2]}
    result["stages"][0] |= {"score": -0.31, "heads": heads(0.9812, 0.9944, -0.0212)}
    result["stages"][0]["history"] = HISTORY | falls
    result["stages"][1] |= {"score": None, "heads": heads(0.9756, 0.9931, -0.0254)}
    return result


def _three_classifiers() -> dict[str, Any]:
    """Each output scored by itself; the long one's name is that of a nested model's layer."""
    result = changed()
    names = ("digit", "is_even", "detector/classification_head_17/per_anchor_logits")
    scores = {"before": (0.99, 0.97, 0.91), "after": (0.98, 0.975, 0.85)}
    for when, of_heads in scores.items():
        result[when] |= {"score": sum(of_heads) / 3}
        result[when]["heads"] = [
            {
                "name": name,
                "score_name": "accuracy",
                "score": score,
                "confusion": confusion(classes),
            }
            for name, score, classes in zip(names, of_heads, (10, 2, 20), strict=True)
        ]
    for stage in result["stages"]:
        stage["heads"] = result["after"]["heads"]
    return result


def _not_all_counted() -> dict[str, Any]:
    result = changed(
        speedup_bound="at most",
        targets=[{"name": "speedup", "asked": 2.5, "reached": 2.505, "bound": "at most", "met": False}],
    )
    for when in ("before", "after"):
        result[when] |= {"macs_bound": "at least", "unknown": ["spectrum (Odd)", "mixer (Custom)"]}
    result["stages"][0]["macs_bound"] = "at least"
    return result


def _searched() -> dict[str, Any]:
    """After a search over channels and bits, one trial of which failed."""
    rng = np.random.default_rng(1)
    scores = [*(0.9 + 0.08 * (1 - np.exp(-np.arange(30) / 8)) + 0.01 * rng.normal(size=30))]

    def costs(number: int) -> dict[str, float]:
        kinds = {"macs": 2e7 - 1e4 * number, "bytes": 9e4 - 900 * (number % 7)}
        return kinds | {"latency": 1.4e5 + 2e3 * (number % 9)}

    values = {"stage1_block1_conv.kept": 0.5, "encoder/block_12/expand/conv2d_3.bits": 4.0}
    trials = [
        {
            "number": number,
            "state": "failed" if number == 4 else "done",
            "score": None if number == 4 else score,
            "costs": {} if number == 4 else costs(number),
            "seconds": 0.8,
            "sampler": "ddpg" if number else "milp",
            "cause": "its process ended by a segmentation fault" if number == 4 else "",
            "values": values,
        }
        for number, score in enumerate(scores)
    ]
    found = [
        {"name": name, "targets": [name.split(".")[0]], "decides": name.split(".")[1]}
        for name in values
    ]
    return changed(
        search={
            "schema_version": 1,
            "sampler": "ddpg",
            "seed": 0,
            "cost": "bytes",
            "most": 90_000.0,
            "whole_costs": {"macs": 40_518_272.0, "bytes": 276_000.0},
            "score_name": "accuracy",
            "whole_score": 0.99,
            "trials": trials,
            "best": int(np.argmax(scores)),
            "foreseen_loss": 0.0214,
            "found": [
                found[0] | {"value": 0.5, "whole": 1.0},
                found[1] | {"value": 4.0, "whole": 8.0},
                found[0] | {"decides": "sparsity", "value": 0.75, "whole": 0.0},
            ],
            "fronts": {"latency": [18, 19, 22], "macs": [29, 28]},
            "seconds": 31.5,
            "prepared_seconds": 4.25,
        }
    )


CASES: dict[str, dict[str, Any]] = {
    "plain": RESULT,
    "emulated on two nodes": _emulated(),
    "deep": changed(
        layers=[
            layer(f"{'stem' if n < 2 else f'stage{n // 10}_block{n % 10}'}_conv", 16 + 8 * n, 10**6 * n)
            for n in range(1, 61)
        ]
    ),
    "long names": changed(
        layers=[
            layer("encoder/block_12/expand/conv2d_3", 960, 12_345_678_901),
            layer("decoder/upsampling_stage_2/separable_conv2d_transpose_17/depthwise", 8, 4_000),
            layer("a" * 90, 1280, 900_000, "DepthwiseConv2D"),
            layer("x", 3, 30),
        ],
        spec={"model": "/somewhere/far/away/a_model_with_a_very_long_name_indeed_v2_final.keras"},
    ),
    "one epoch": changed(stages=trained(1)),
    "many epochs": changed(stages=trained(160)),
    "nothing trained": changed(stages=[RESULT["stages"][0] | {"history": None}]),
    "landmarks": _nme(),
    "classes and values": _classes_and_values(),
    "busy": _busy(),
    "by a pipeline": changed(command=None),
    "10 classes": _many_classes(10),
    "12 classes": _many_classes(12),
    "40 classes": _many_classes(40),
    "three classifiers": _three_classifiers(),
    "not all counted": _not_all_counted(),
    "searched": _searched(),
}
