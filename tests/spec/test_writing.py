"""A spec that was written down is the spec, whichever way it went."""

import json
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from pydantic import BaseModel

from pocketkube.errors import UserError
from pocketkube.spec import document_of, load_spec, parse_spec, yaml_of
from pocketkube.spec.problems import models_in, stage_model
from pocketkube.spec.spec import Spec
from pocketkube.spec.stage_settings import STAGE_NAMES
from tests.spec.generated import specs

SHORT = {"model": "lenet", "dataset": "digits"}


def as_floats(value: Any) -> Any:
    """What a pipeline on this machine makes of numbers."""
    if isinstance(value, dict):
        return {key: as_floats(item) for key, item in value.items()}
    if isinstance(value, list):
        return [as_floats(item) for item in value]
    return float(value) if type(value) is int else value


def values_in(value: Any) -> list[Any]:
    """Keys, and values that hold no others."""
    if isinstance(value, dict):
        return [*value, *values_in(list(value.values()))]
    return (
        [found for each in value for found in values_in(each)] if isinstance(value, list) else [value]
    )


@settings(
    max_examples=100,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(specs())
def test_what_is_read_back_is_equal(tmp_path_factory: pytest.TempPathFactory, spec: Spec) -> None:
    document = document_of(spec)
    assert {type(value) for value in values_in(document)} <= {str, int, float, bool}
    assert parse_spec(document) == spec
    through_json = json.loads(json.dumps(document))
    assert through_json == document
    assert parse_spec(as_floats(through_json)) == spec
    file = tmp_path_factory.getbasetemp() / "spec.yaml"
    file.write_text(yaml_of(document), "utf-8")
    assert load_spec(file) == spec


@pytest.mark.parametrize(
    "document",
    [
        SHORT | {"stages": []},
        SHORT | {"stages": ["fine_tune", {"quantize_weights": {"activation_bits": "float"}}]},
        SHORT | {"task": "landmarks", "stages": ["quantize_int8"], "training": {"epochs": 3}},
        {
            "model": "a.keras",
            "dataset": {"npz": "a.npz", "value_range": [0, 255]},
            "target": {"speedup": 2.5},
            "stages": [{"prune_channels": {"criterion": "l1", "round_to": 1}}, "quantize_float16"],
            "benchmark": {"threads": [1]},
        },
    ],
)
def test_it_is_what_a_user_would_write(document: dict) -> None:
    assert document_of(parse_spec(document)) == document


@pytest.mark.parametrize(
    "name",
    ["010", "08", "1:30", "1e3", "1e-3", "0o10", "1_000", "0b1", "0x1f", "2026-01-01", "no", "="],
)
def test_a_file_that_is_called_like_a_number_is_read_back_by_all_readers(name: str) -> None:
    text = yaml_of(document_of(parse_spec(SHORT | {"dataset": {"npz": name}, "stages": []})))
    assert f"npz: '{name}'" in text
    assert yaml.safe_load(text)["dataset"]["npz"] == name


def test_null_is_never_more_than_leaving_a_field_out() -> None:
    """Else a pipeline's parameter, which holds no null, could not say it."""
    waiting: list[type[BaseModel]] = [Spec, *map(stage_model, STAGE_NAMES)]
    seen = []
    for model in waiting:
        for name, field in model.model_fields.items():
            waiting += [inner for inner in models_in(field.annotation) if inner not in waiting]
            seen.append(name)
            if NoneType in get_args(field.annotation):
                assert field.default is None, f"{model.__name__}.{name}"
            assert not any(allows_none(part) for part in get_args(field.annotation)), name
    assert {"activation_bits", "normalize_by", "cutout", "student", "clip_norm"} <= set(seen)


def allows_none(annotation: Any) -> bool:
    """Whether an entry of a list or a mapping may be null."""
    parts = get_args(annotation)
    if get_origin(annotation) in (Union, UnionType) and NoneType in parts:
        return True
    return any(allows_none(part) for part in parts)


@pytest.mark.parametrize(
    ("bits", "said"),
    [
        ("null", "write float to leave activations in floats; received null"),
        ("9", "must be 2 to 8 bits, or float; received 9"),
        ("floats", "must be 2 to 8 bits, or float; received 'floats'"),
    ],
)
def test_activations_without_bits_have_a_word(tmp_path: Path, bits: str, said: str) -> None:
    text = "model: lenet\ndataset: digits\nstages:\n  - quantize_weights: {activation_bits: %s}\n"
    file = tmp_path / "spec.yaml"
    file.write_text(text % "float")
    assert load_spec(file).stages[0].activation_bits == "float"
    file.write_text(text % bits)
    with pytest.raises(UserError, match=r"^spec.yaml line 4: stages.quantize_weights") as caught:
        load_spec(file)
    assert said in str(caught.value)


def test_a_number_that_a_pipeline_would_round_is_refused() -> None:
    assert float(2**53 + 1) == 2**53
    parse_spec(SHORT | {"stages": [], "seed": 2**53})
    for change in ({"seed": 2**53 + 1}, {"target": {"max_size": 2**60}}):
        with pytest.raises(UserError, match="must be at most 9007199254740992; received"):
            parse_spec(SHORT | {"stages": []} | change)
