"""The spec's section target: what the compressed model has to reach."""

from typing import Self

from pydantic import Field, model_validator

from pocketkube.spec.settings import Settings

# One of these has to be given.
ASKED = ("speedup", "max_accuracy_drop", "max_size", "max_latency_ms")


class Target(Settings):
    """What the compressed model has to reach. Give at least one."""

    speedup: float | None = Field(
        None, gt=1.0, description="MACs before over MACs after, as the papers count it."
    )
    max_accuracy_drop: float | None = Field(
        None,
        ge=0.0,
        description="Most that accuracy may fall, or an error rise: 0.01 is one point of accuracy or "
        "of NME.",
    )
    max_size: int | None = Field(None, gt=0, description="Most bytes model.tflite may have.")
    max_latency_ms: float | None = Field(
        None, gt=0.0, description="Most that the median latency may be, measured, one thread."
    )
    latency_table: str = Field(
        "",
        description="The latency table of the device that max_latency_ms is meant for, a path or "
        "s3://… address; unset, this machine is measured.",
    )

    @model_validator(mode="after")
    def _something_is_asked_for(self) -> Self:
        if all(getattr(self, name) is None for name in ASKED):
            raise ValueError(
                "asks for nothing: give speedup, max_accuracy_drop, max_size or max_latency_ms"
            )
        if self.latency_table and self.max_latency_ms is None:
            raise ValueError("latency_table is read for max_latency_ms; give that, too")
        return self

    @property
    def judges_the_file(self) -> bool:
        """Whether only the converted file can tell if the target is met."""
        return self.max_size is not None or self.max_latency_ms is not None
