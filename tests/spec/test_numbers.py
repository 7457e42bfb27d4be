"""Numbers of a spec that no model can compute with: refused in one line, wherever they stand."""

import copy
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketkube.errors import UserError
from pocketkube.spec import parse_spec
from tests.fuzzing import fuzzed

# Every number that a job on one machine can be told.
SPEC: dict[str, Any] = {
    "model": "resnet20",
    "width": 0.5,
    "seed": 3,
    "dataset": {
        "image_folder": "photos",
        "image_size": [32, 32],
        "value_range": [-1.0, 1.0],
        "validation_fraction": 0.1,
        "test_fraction": 0.2,
        "max_train": 600,
    },
    "task": {"segmentation": {"ignore_class": 255}},
    "target": {"speedup": 2.0, "max_accuracy_drop": 0.01, "max_size": 100000, "max_latency_ms": 5.0},
    "stages": [
        {"distill_model": {"student": "lenet", "width": 0.5, "epochs": 2, "learning_rate": 0.1}},
        {
            "prune_channels": {
                "max_ratio": 0.9,
                "round_to": 8,
                "calibration_examples": 64,
                "group_size": 2,
                "group_epochs": 1,
            }
        },
        {
            "sparsify_weights": {
                "sparsity": 0.5,
                "begin_fraction": 0.1,
                "end_fraction": 0.5,
                "power": 3.0,
                "refresh_steps": 20,
                "epochs": 1,
                "learning_rate": 0.1,
            }
        },
        {"fine_tune": {"epochs": 1, "learning_rate": 0.1}},
        {
            "quantize_weights": {
                "weight_bits": 4,
                "activation_bits": 8,
                "first_last_bits": 8,
                "layers": {"conv": 4},
                "calibration_examples": 64,
                "epochs": 1,
                "learning_rate": 0.1,
            }
        },
    ],
    "training": {
        "epochs": 2,
        "batch_size": 16,
        "gradient_accumulation_steps": 2,
        "learning_rate": 0.002,
        "learning_rate_batch": 8,
        "warmup_fraction": 0.1,
        "weight_decay": 0.01,
        "momentum": 0.9,
        "label_smoothing": 0.1,
        "class_weights": [1.0, 2.0],
        "clip_norm": 1.0,
        "ema": 0.9,
        "workers": 1,
        "checkpoint_steps": 50,
        "augmentation": {"shift": 1, "cutout": 2, "mixup": 0.2},
    },
    "distillation": {
        "temperature": 4.0,
        "weight": 0.5,
        "features_weight": 0.1,
        "attention_weight": 0.1,
    },
    "benchmark": {"runs": 5, "precision": 0.1, "max_seconds": 1.0, "warmup_runs": 1, "threads": [1, 2]},
    "cluster": {"workers": {"slots": 1, "gpus": 0}, "benchmark": {"nodes": 1, "timeout_minutes": 60}},
}


def places(part: Any, at: tuple = ()) -> Iterator[tuple]:
    """Where the numbers stand."""
    if isinstance(part, dict | list):
        for key, value in part.items() if isinstance(part, dict) else enumerate(part):
            yield from places(value, (*at, key))
    elif isinstance(part, int | float):
        yield at


def changed(place: tuple, value: Any) -> dict[str, Any]:
    spec = copy.deepcopy(SPEC)
    part: Any = spec
    for key in place[:-1]:
        part = part[key]
    part[place[-1]] = value
    return spec


def numbers(part: Any) -> Iterator[float]:
    for place in places(part):
        value = part
        for key in place:
            value = value[key]
        yield value


def test_all_of_them_are_right_as_they_stand() -> None:
    parse_spec(SPEC)


@pytest.mark.parametrize("place", list(places(SPEC)), ids=lambda place: ".".join(map(str, place)))
def test_what_is_no_number_of_float32_is_refused_wherever_it_stands(place: tuple) -> None:
    for value in (math.nan, math.inf, -math.inf, 1e300, -1e300, 1e-300, 10**300, -(10**300), "nan"):
        with pytest.raises(UserError) as refused:
            parse_spec(changed(place, value))
        named = [str(key) for key in place if not isinstance(key, int)]
        assert named[-1] in str(refused.value)
        assert len(str(refused.value).splitlines()) == 1


@fuzzed(100)
@given(place=st.sampled_from(list(places(SPEC))), value=st.one_of(st.floats(), st.integers()))
def test_what_is_taken_can_be_computed_with(place: tuple, value: float) -> None:
    try:
        found = parse_spec(changed(place, value)).model_dump(mode="json")
    except UserError:
        return
    with np.errstate(over="raise"):
        assert all(np.isfinite(np.float32(number)) for number in numbers(found))
