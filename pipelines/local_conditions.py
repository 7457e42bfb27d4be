"""Lets kfp.local run what stands in a condition, as a back end does."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kfp.local.orchestrator.enhanced_dag_orchestrator import ConditionEvaluator

_evaluate = ConditionEvaluator.evaluate_condition
_ASKED = re.compile(r"inputs\.parameter_values\['pipelinechannel--(?P<name>[^']+)'\] == true")


@contextmanager
def conditions() -> Iterator[None]:
    """Has conditions that ask whether an earlier task's output is true looked up as they are meant.

    kfp 2.16 takes such an output for a parameter of the pipeline, finds none, and skips the tasks.
    """
    ConditionEvaluator.evaluate_condition = staticmethod(_is_met)
    try:
        yield
    finally:
        ConditionEvaluator.evaluate_condition = staticmethod(_evaluate)


def _is_met(condition: str, io_store: Any) -> bool:
    asked = _ASKED.fullmatch(" ".join(condition.split()))
    if asked is None:
        return bool(_evaluate(condition, io_store))
    name = asked["name"]
    # Tasks' names have hyphens, and so has what joins them to their outputs'.
    for place in (found.start() for found in re.finditer("-", name)):
        try:
            return io_store.get_task_output(name[:place], name[place + 1 :]) is True
        except (KeyError, ValueError):
            continue
    return bool(_evaluate(condition, io_store))
