"""The components that check a form have the form's parameters, and tell of all parts of a spec."""

import inspect
from typing import Any, get_origin, get_type_hints

import pytest

from components.compression.check_search_spec import check_search_spec
from components.compression.check_spec import check_spec
from pocketkube.spec.form import CompressForm, SearchForm
from pocketkube.stages.parts import (
    SearchParts,
    SpecParts,
    TaskRequest,
    checked_parts,
    checked_search_parts,
)

FUNCTION, SEARCH = check_spec.python_func, check_search_spec.python_func
OF_FORMS = pytest.mark.parametrize(
    ("function", "form"), [(FUNCTION, CompressForm), (SEARCH, SearchForm)]
)


@OF_FORMS
def test_its_parameters_are_the_forms(function: Any, form: Any) -> None:
    parameters = inspect.signature(function).parameters
    assert list(parameters) == list(form.model_fields)
    for name, field in form.model_fields.items():
        assert parameters[name].default == field.default
        # A form's choices are text to Kubeflow.
        plain = {str: str, int: int, float: float}.get(field.annotation) or type(field.default)
        assert parameters[name].annotation is plain


@OF_FORMS
def test_its_docstring_tells_what_the_form_tells(function: Any, form: Any) -> None:
    text = " ".join(str(function.__doc__).split())
    for name, field in form.model_fields.items():
        assert f"{name}: {field.description}" in text


@OF_FORMS
def test_its_outputs_are_the_parts_and_the_pods(function: Any, form: Any) -> None:
    *parts, requests = checked_search_parts({}) if form is SearchForm else checked_parts({})
    told = {name: value for part in parts for name, value in part._asdict().items()}
    for task, request in requests.items():
        told |= {f"{task}_{key}": value for key, value in request._asdict().items()}
    outputs = inspect.signature(function).return_annotation.__annotations__
    assert list(outputs) == list(told)
    for name, value in told.items():
        assert isinstance(value, outputs[name]), name
    assert list(function()) == list(told.values())


def test_the_parts_are_of_the_types_that_kubeflow_is_told() -> None:
    outputs = inspect.signature(SEARCH).return_annotation.__annotations__
    for kind in (SpecParts, SearchParts, TaskRequest):
        for name, hint in get_type_hints(kind).items():
            told = outputs.get(name) or outputs[f"train_model_{name}"]
            assert told is (get_origin(hint) or hint), name


def refusal(function: Any = FUNCTION, **form: Any) -> str:
    """What the component says before it ends."""
    try:
        function(**form)
    except SystemExit as ending:
        return str(ending.code)
    raise AssertionError("it was taken")


def test_a_wrong_form_ends_it_in_one_line() -> None:
    said = refusal(epochs=-1)
    assert said == "pocketkube: epochs: must be at least 1; received -1"
    assert "\n" not in refusal(settings={"a": 1, "b": 2})
    assert refusal(settings={"search": {"trials": 3}}).startswith(
        "pocketkube: settings.search: this pipeline does not search; start search-and-compress"
    )
    assert refusal(SEARCH, trials=0) == "pocketkube: trials: must be at least 1; received 0"
    assert refusal(SEARCH, speedup=0) == (
        "pocketkube: speedup, max_size, max_latency_ms, max_accuracy_drop: all are 0, so that nothing "
        "says how far to prune; give one of them"
    )
    assert refusal(SEARCH, max_size=9000).startswith(
        "pocketkube: speedup, max_size, max_latency_ms: has one budget for all that it decides"
    )


def test_numbers_arrive_as_kubeflow_likes() -> None:
    """One machine makes floats of whole numbers in mappings, a back end whole numbers of floats."""
    parts = FUNCTION(speedup=2, epochs=3, settings={"benchmark": {"runs": 9.0, "threads": [1.0]}})
    told = dict(zip(SpecParts._fields, parts, strict=False))
    assert told["target"] == {"speedup": 2}
    assert told["benchmark"] == {"runs": 9, "threads": [1]}
    assert told["training"] == {"epochs": 3}
