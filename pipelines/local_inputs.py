"""Lets kfp.local run tasks whose optional input artifacts are left out, as a back end does."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from kfp.local import executor_input_utils

_construct = executor_input_utils.construct_executor_input


@contextmanager
def optional_inputs() -> Iterator[None]:
    """Takes optional artifacts that are left out from what kfp.local asks of a task.

    kfp 2.16 looks each of them up among the arguments, and ends with a KeyError.
    """
    executor_input_utils.construct_executor_input = _of_those_given
    try:
        yield
    finally:
        executor_input_utils.construct_executor_input = _construct


def _of_those_given(component_spec: Any, arguments: Mapping[str, Any], **others: Any) -> Any:
    asked = type(component_spec)()
    asked.CopyFrom(component_spec)
    artifacts = asked.input_definitions.artifacts
    for name in [name for name, artifact in artifacts.items() if artifact.is_optional]:
        if name not in arguments:
            del artifacts[name]
    return _construct(component_spec=asked, arguments=arguments, **others)
