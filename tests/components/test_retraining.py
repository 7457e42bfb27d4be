"""The components of scheduled-retraining have the form's parameters, and tell the next ones theirs."""

import inspect

from components.training.decide_retraining import decide_retraining
from components.training.register_version import register_version
from components.training.retrain_model import retrain_model
from pocketkube.retraining.form import RetrainingForm
from pocketkube.retraining.tasks import TASKS, Decided
from pocketkube.stages.parts import TaskRequest

FUNCTION = decide_retraining.python_func


def test_its_parameters_are_the_forms() -> None:
    parameters = inspect.signature(FUNCTION).parameters
    assert list(parameters)[3:] == list(RetrainingForm.model_fields)
    for name, field in RetrainingForm.model_fields.items():
        assert parameters[name].default == field.default
        assert parameters[name].annotation is type(field.default)


def test_its_outputs_are_what_the_others_are_told() -> None:
    outputs = inspect.signature(FUNCTION).return_annotation.__annotations__
    pods = [f"{task}_{name}" for task in TASKS for name in TaskRequest._fields]
    assert list(outputs) == [*Decided._fields, *pods]
    kinds = Decided.__annotations__
    for name in Decided._fields:
        assert outputs[name] is (kinds[name] if isinstance(kinds[name], type) else dict)


def test_all_are_told_what_they_ask_for() -> None:
    told = {*Decided._fields, "registry", "cluster"}
    for component in (retrain_model, register_version):
        inputs = component.component_spec.inputs.items()
        parameters = {name for name, each in inputs if "system." not in each.type}
        assert parameters <= told
