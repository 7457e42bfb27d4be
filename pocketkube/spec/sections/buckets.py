"""The size of the buckets of weights that share a scale or a codebook."""

from typing import Any


def with_bucket_size(value: Any, size: int) -> Any:
    """A stage's settings, with a size where there are buckets and nothing is said of it."""
    if isinstance(value, dict) and value.get("granularity") == "bucket":
        return {"bucket_size": size} | value
    return value


def check_bucket_size(granularity: str, size: int | None) -> None:
    """Raises ValueError unless there is a size exactly where there are buckets."""
    if size is not None and granularity != "bucket":
        raise ValueError(f"bucket_size {size} needs granularity bucket; received {granularity}")
    if size is None and granularity == "bucket":
        raise ValueError(
            "granularity bucket needs a bucket_size; received null: leave it out, or give one"
        )
