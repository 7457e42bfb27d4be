"""Makes pipelines that a person starts from a form."""

import inspect
from collections.abc import Callable
from typing import Any

from kfp import dsl

from pocketkube.spec.form import choices
from pocketkube.spec.settings import Settings


def form_pipeline(
    pipeline: Callable[..., Any],
    form: type[Settings],
    first: Any,
    name: str,
    description: str,
    returns: Any = inspect.Signature.empty,
) -> Any:
    """Makes a pipeline whose parameters are a form's, each with its description, default and choices.

    Args:
        pipeline: Takes the values of the form's fields, in their order, and joins the tasks.
        form: The form.
        first: The component of the first task, which takes the same parameters, and has their defaults.
        name: The pipeline's name.
        description: What it is for.
        returns: The type of its outputs, if it has any.

    Returns:
        The KFP pipeline.
    """
    asked = inspect.signature(first.python_func).parameters
    pipeline.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [asked[field] for field in form.model_fields], return_annotation=returns
    )
    about = "\n".join(f"    {key}: {field.description}" for key, field in form.model_fields.items())
    pipeline.__doc__ = f"{description}\n\nArgs:\n{about}"
    made = dsl.pipeline(name=name, description=description)(pipeline)
    # The IR has a place for them, which kfp 2.16's and 2.17.0's compilers leave empty.
    parameters = made.pipeline_spec.root.input_definitions.parameters
    for key, values in choices(form).items():
        for value in values:
            parameters[key].literals.add(string_value=value)
    return made
