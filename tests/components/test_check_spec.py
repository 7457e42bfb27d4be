"""The component that checks a form has the form's parameters, and tells of all parts of a spec."""

import inspect
from typing import Any, get_origin, get_type_hints

from components.compression.check_spec import check_spec
from pocketkube.spec.form import CompressForm
from pocketkube.stages.parts import SpecParts, TaskRequest, checked_parts

FUNCTION = check_spec.python_func


def test_its_parameters_are_the_forms() -> None:
    parameters = inspect.signature(FUNCTION).parameters
    assert list(parameters) == list(CompressForm.model_fields)
    for name, field in CompressForm.model_fields.items():
        assert parameters[name].default == field.default
        # A form's choices are text to Kubeflow.
        plain = {str: str, int: int, float: float}.get(field.annotation) or type(field.default)
        assert parameters[name].annotation is plain


def test_its_docstring_tells_what_the_form_tells() -> None:
    text = " ".join(str(FUNCTION.__doc__).split())
    for name, field in CompressForm.model_fields.items():
        assert f"{name}: {field.description}" in text


def test_its_outputs_are_the_parts_and_the_pods() -> None:
    parts, requests = checked_parts({})
    told = {**parts._asdict()}
    for task, request in requests.items():
        told |= {f"{task}_{key}": value for key, value in request._asdict().items()}
    outputs = inspect.signature(FUNCTION).return_annotation.__annotations__
    assert list(outputs) == list(told)
    for name, value in told.items():
        assert isinstance(value, outputs[name]), name
    assert list(FUNCTION()) == list(told.values())


def test_the_parts_are_of_the_types_that_kubeflow_is_told() -> None:
    outputs = inspect.signature(FUNCTION).return_annotation.__annotations__
    for kind in (SpecParts, TaskRequest):
        for name, hint in get_type_hints(kind).items():
            told = outputs.get(name) or outputs[f"train_model_{name}"]
            assert told is (get_origin(hint) or hint), name


def refusal(**form: Any) -> str:
    """What the component says before it ends."""
    try:
        FUNCTION(**form)
    except SystemExit as ending:
        return str(ending.code)
    raise AssertionError("it was taken")


def test_a_wrong_form_ends_it_in_one_line() -> None:
    said = refusal(epochs=-1)
    assert said == "pocketkube: epochs: must be at least 1; received -1"
    assert "\n" not in refusal(settings={"a": 1, "b": 2})


def test_numbers_arrive_as_kubeflow_likes() -> None:
    """One machine makes floats of whole numbers in mappings, a back end whole numbers of floats."""
    parts = FUNCTION(speedup=2, epochs=3, settings={"benchmark": {"runs": 9.0, "threads": [1.0]}})
    told = dict(zip(SpecParts._fields, parts, strict=False))
    assert told["target"] == {"speedup": 2}
    assert told["benchmark"] == {"runs": 9, "threads": [1]}
    assert told["training"] == {"epochs": 3}
