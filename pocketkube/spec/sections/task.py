"""The spec's section task: what the labels are."""

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from pocketkube.spec.settings import Settings


class Landmarks(Settings):
    """Points in an image, `[N, K, 2]` or `[N, 2K]`, judged by their normalised mean error (NME)."""

    normalize_by: Literal["box_size", "box_diagonal"] | tuple[int, int] = Field(
        "box_size",
        description="What an image's errors are divided by: the distance of two of its true points, as "
        "[36, 45], the outer eye corners of 300-W; or the size, the root of the area, or the diagonal "
        "of the box around them all.",
    )

    @field_validator("normalize_by", mode="before")
    @classmethod
    def _a_box_or_two_points(cls, value: Any) -> Any:
        pair = isinstance(value, list | tuple) and len(value) == 2 and len(set(map(str, value))) == 2
        if value in ("box_size", "box_diagonal") or (
            pair and all(type(point) is int and point >= 0 for point in value)
        ):
            return value
        raise ValueError(
            "must be box_size, box_diagonal or the numbers of two points, as in [36, 45]; received "
            f"{list(value) if isinstance(value, tuple) else value!r}"
        )


class TaskSettings(Settings):
    """What the labels are, where they do not tell: class numbers and mere values do.

    A name alone, `task: landmarks`, means `{landmarks: {}}`.
    """

    landmarks: Landmarks = Field(description="Points in an image.")

    @model_validator(mode="before")
    @classmethod
    def _a_name_alone(cls, value: Any) -> Any:
        if isinstance(value, str) and value not in cls.model_fields:
            raise ValueError(f"{value!r} is not a task; use {', '.join(cls.model_fields)}")
        named = {value: {}} if isinstance(value, str) else value
        if isinstance(named, dict):
            return {name: {} if given is None else given for name, given in named.items()}
        return named
