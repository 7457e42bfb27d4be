"""The keyword arguments of the API's functions: the settings of a spec's stages, by the same names."""

import inspect
from collections.abc import Callable, Mapping
from inspect import Parameter
from typing import Any, Literal, TypedDict, TypeVar, get_args

import numpy as np

from pocketkube.errors import UserError, did_you_mean
from pocketkube.spec.reading import parse_settings
from pocketkube.spec.sections import Distillation, TaskSettings, Training
from pocketkube.spec.settings import Settings

Kind = TypeVar("Kind", bound=Settings)
Function = TypeVar("Function", bound=Callable[..., Any])
Granularity = Literal["tensor", "channel", "bucket"]
# What functions call settings that have another name in a spec.
CALLED = {"weight_bits": "bits"}


class LearningKeywords(TypedDict, total=False):
    """How a model is trained: parts of a spec, as mappings or as they are parsed."""

    training: Mapping[str, Any] | Training
    distillation: Mapping[str, Any] | Distillation
    task: str | Mapping[str, Any] | TaskSettings | None
    seed: int


class PruneKeywords(TypedDict, total=False):
    """Settings of prune_channels; lists of groups are made by pruning and fine-tuning in turn."""

    criterion: str
    scope: Literal["global", "uniform"]
    ratios: Mapping[str, float]
    budget: Literal["macs", "parameters"]
    max_ratio: float
    round_to: int
    reconstruct: bool
    calibration_examples: int
    task: str | Mapping[str, Any] | TaskSettings | None
    seed: int


class CourseKeywords(LearningKeywords, total=False):
    """Settings that all stages have that train."""

    epochs: int
    learning_rate: float


class SparsifyKeywords(CourseKeywords, total=False):
    """Settings of sparsify_weights."""

    distribution: Literal["uniform", "size", "global"]
    ratios: Mapping[str, float]
    pattern: Literal["element", "block", "two_of_four"]
    begin_fraction: float
    end_fraction: float
    power: float
    refresh_steps: int


class ClusterKeywords(CourseKeywords, total=False):
    """Settings of cluster_weights."""

    layers: Mapping[str, int]
    granularity: Granularity
    bucket_size: int
    initialization: Literal["kmeans", "quantile"]
    train: Literal["weights", "centroids", "both"]


class QuantizeKeywords(CourseKeywords, total=False):
    """Settings of quantize_weights."""

    activation_bits: int | Literal["float"]
    first_last_bits: int
    layers: Mapping[str, int]
    granularity: Granularity
    bucket_size: int
    scheme: Literal["symmetric", "affine"]
    ranges: Literal["learned", "moving_average"]
    calibration: Literal["minmax", "percentile", "mse"]
    calibration_examples: int
    bias_correction: bool


class ExportKeywords(TypedDict, total=False):
    """Settings of quantize_int8, quantize_float16 and quantize_dynamic."""

    calibration_examples: int
    input_type: Literal["float32", "int8", "uint8"]
    output_type: Literal["float32", "int8", "uint8"]
    min_agreement: float


class BenchmarkKeywords(TypedDict, total=False):
    """A spec's section benchmark."""

    runs: int
    precision: float
    max_seconds: float
    warmup_runs: int
    threads: tuple[int, ...] | list[int]


class _ItsOwn:
    """Stands for the default that a setting has."""

    def __repr__(self) -> str:
        return "..."


def settings_shown(function: Function) -> Function:
    """Makes help() list a function's settings, and notebooks complete them; it takes what it took."""
    signature = inspect.signature(function)
    (settings,) = get_args(signature.parameters["settings"].annotation)
    arguments = [each for name, each in signature.parameters.items() if name != "settings"]
    arguments += [
        Parameter(name, Parameter.KEYWORD_ONLY, default=_ItsOwn(), annotation=kind)
        for name, kind in inspect.get_annotations(settings).items()
    ]
    function.__signature__ = signature.replace(parameters=arguments)  # type: ignore[attr-defined]
    return function


def settings_of(function: str, kind: type[Kind], given: Mapping[str, Any]) -> Kind:
    """Settings from keyword arguments.

    Args:
        function: The API's function, for messages.
        kind: Which settings.
        given: The keyword arguments; settings of a section may be mappings or as they are parsed, and
            numbers may be NumPy's.

    Raises:
        UserError: If a name or a value is wrong; it names each, and what would be right.
    """
    refuse_unknown(function, kind, given)
    plain = {
        name: value.model_dump(exclude_unset=True) if isinstance(value, Settings) else value
        for name, value in given.items()
    }
    try:
        return parse_settings(kind, without_numpy(plain), function)
    except UserError as error:
        message = str(error)
        for name, called in CALLED.items():
            message = message.replace(name, called)
        raise error.saying(message) from None


def refuse_unknown(function: str, kind: type[Settings], given: Mapping[str, Any]) -> None:
    """Refuses names that are none of any settings, with what would be right."""
    for name in given:
        if name not in kind.model_fields:
            raise UserError(f"{function}: {name}: {_what_is_right(function, name, given[name])}")


def without_numpy(value: Any) -> Any:
    """Settings with Python's numbers and lists in the place of NumPy's, as a spec's file has them."""
    if isinstance(value, Mapping):
        return {key: without_numpy(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [without_numpy(each) for each in value]
    return value.tolist() if isinstance(value, np.generic | np.ndarray) else value


def _what_is_right(function: str, name: str, value: Any) -> str:
    """What to write in the place of a keyword argument that there is none of."""
    import pocketkube

    call = inspect.signature(getattr(pocketkube, function)).parameters
    known = [each for each in call if each not in ("model", "student", "files")]
    for section, kind in (("training", Training), ("distillation", Distillation)):
        if section in known and name in kind.model_fields:
            return f"is a setting of {section}: give {section}={{{name!r}: {value!r:.60}}}."
    if question := did_you_mean(name, known):
        return f"is not a known argument; {question}"
    return f"is not a known argument; use one of {', '.join(known)}."


def split(given: Mapping[str, Any], *kinds: type[Settings]) -> list[dict[str, Any]]:
    """Keyword arguments by the settings that know them; the first kind takes what none knows."""
    parts: list[dict[str, Any]] = [{} for _ in kinds]
    for name, value in given.items():
        place = next((n for n, kind in enumerate(kinds) if name in kind.model_fields), 0)
        parts[place][name] = value
    return parts


def refuse_keywords(function: str, given: Mapping[str, Any], reasons: Mapping[str, str]) -> None:
    """Refuses names that a stage's settings have, but a function has not.

    Args:
        function: The API's function, for messages.
        given: The keyword arguments.
        reasons: For each such name what to do instead.
    """
    for name, reason in reasons.items():
        if name in given:
            raise UserError(f"{function}: {name}: {reason}; received {given[name]!r}.")
