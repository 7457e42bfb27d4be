"""The spec's section benchmark: how latency is measured."""

from typing import Annotated

from pydantic import Field

from pocketkube.spec.settings import Settings

# No device has more cores; LiteRT dies of very many.
MOST_THREADS = 1024
Threads = Annotated[int, Field(ge=1, le=MOST_THREADS)]


class Benchmark(Settings):
    """How latency is measured."""

    runs: int = Field(
        100,
        ge=5,
        description="Timed runs of each model and thread count; up to ten times as many until "
        "precision is reached.",
    )
    precision: float = Field(
        0.05,
        gt=0.0,
        description="How wide the 95 % interval of the latency ratio may be, as a part of the ratio.",
    )
    max_seconds: float = Field(
        30.0, gt=0.0, description="No further runs after this long, for each thread count."
    )
    warmup_runs: int = Field(10, ge=0, description="Runs before the timed ones.")
    threads: tuple[Threads, ...] = Field((1, 2), min_length=1, description="Thread counts to measure.")
