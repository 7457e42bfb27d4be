"""The pipelines that are compiled once and started from a form."""

from collections.abc import Callable
from typing import Any

from pipelines.compression.compress_model import ready_pipeline
from pipelines.compression.search_and_compress import search_and_compress
from pipelines.training.scheduled_retraining import scheduled_retraining

# By the names of their packages.
READY: dict[str, Callable[[], Any]] = {
    "compress_model": ready_pipeline,
    "search_and_compress": search_and_compress,
    "scheduled_retraining": scheduled_retraining,
}
