"""The pipelines that are compiled once and started from a form."""

from collections.abc import Callable
from typing import Any

from pipelines.compression.compress_model import ready_pipeline
from pipelines.training.scheduled_retraining import scheduled_retraining

# By the names of their packages.
READY: dict[str, Callable[[], Any]] = {
    "compress_model": ready_pipeline,
    "scheduled_retraining": scheduled_retraining,
}
