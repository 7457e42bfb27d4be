"""Reads the parameters of an Experiment."""

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, cast

from pocketkube.search.local_katib.document import Problem, Steps
from pocketkube.search.local_katib.parameter import Distribution, Kind, Parameter

if TYPE_CHECKING:
    from kubeflow_katib_api.models import V1beta1ParameterSpec

_DISTRIBUTIONS = ("uniform", "logUniform", "normal", "logNormal")


def parameters_of(specs: Sequence["V1beta1ParameterSpec"]) -> tuple[Parameter, ...]:
    """The parameters, of specs without problems."""
    return tuple(map(_parameter, specs))


def _parameter(spec: "V1beta1ParameterSpec") -> Parameter:
    space = spec.feasible_space
    assert space is not None
    kind = cast(Kind, spec.parameter_type)
    if kind in ("discrete", "categorical"):
        return Parameter(spec.name or "", kind, values=tuple(space.list or ()))
    drawn = space.distribution if space.distribution in _DISTRIBUTIONS else "uniform"
    return Parameter(
        spec.name or "",
        kind,
        float(space.min or 0),
        float(space.max or 0),
        float(space.step or 0),
        distribution=cast(Distribution, drawn),
    )


def parameter_problems(spec: "V1beta1ParameterSpec", place: Steps) -> Iterator[Problem]:
    """What is wrong with a parameter.

    Args:
        spec: The parameter.
        place: Where it stands.
    """
    kind, space = spec.parameter_type, spec.feasible_space
    if kind not in ("double", "int", "discrete", "categorical"):
        yield Problem(
            (*place, "parameterType"),
            f"must be double, int, discrete or categorical; received {kind}",
        )
        return
    here = (*place, "feasibleSpace")
    if space is None:
        yield Problem(here, "is missing")
        return
    if space.distribution not in (None, "", "unknown", *_DISTRIBUTIONS):
        yield Problem(
            (*here, "distribution"),
            f"must be one of {', '.join(_DISTRIBUTIONS)}; received {space.distribution}",
        )
    if kind in ("discrete", "categorical"):
        if space.min or space.max or space.step:
            yield Problem(here, f"a {kind} parameter has a list, but no min, max or step")
        if not space.list:
            yield Problem((*here, "list"), "is missing")
        return
    if space.list:
        yield Problem((*here, "list"), f"a parameter of type {kind} has min and max, but no list")
    numbers = {}
    for key, text in (("min", space.min), ("max", space.max), ("step", space.step)):
        number = _number(text, whole=kind == "int")
        if number is not None:
            numbers[key] = number
        elif text or key != "step":
            what = "a whole number" if kind == "int" else "a number"
            yield Problem((*here, key), f"must be {what} in quotes; received {text!r}")
    if numbers.get("step", 1) <= 0:
        yield Problem((*here, "step"), f"must be above 0; received {space.step}")
    if "min" in numbers and "max" in numbers:
        if numbers["min"] > numbers["max"]:
            yield Problem((*here, "min"), f"must be at most max, {space.max}; received {space.min}")
        if numbers["min"] <= 0 and space.distribution in ("logUniform", "logNormal"):
            yield Problem(
                (*here, "min"), f"must be above 0 for {space.distribution}; received {space.min}"
            )


def _number(text: str | None, *, whole: bool) -> float | None:
    try:
        number = float(int(text or "") if whole else float(text or ""))
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
