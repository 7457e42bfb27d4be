"""Lets the form of a pipeline offer the values that a parameter takes, as a list to choose from."""

from collections.abc import Mapping
from typing import Any


def with_drop_downs(pipeline: Any, choices: Mapping[str, tuple[str, ...]]) -> Any:
    """Writes the values that parameters take into a compiled pipeline.

    The IR has a place for them, which kfp 2.16's and 2.17.0's compilers leave empty.

    Args:
        pipeline: The KFP pipeline; it is changed.
        choices: For each such parameter its values.

    Returns:
        The same pipeline.
    """
    parameters = pipeline.pipeline_spec.root.input_definitions.parameters
    for name, values in choices.items():
        for value in values:
            parameters[name].literals.add(string_value=value)
    return pipeline
