"""What all sections of a spec share: how strictly they are read, and a few kinds of values."""

from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

Ratio = Annotated[float, Field(ge=0.0, lt=1.0)]
Count = Annotated[int, Field(ge=1)]
Place = Annotated[str, Field(min_length=1)]


# Pipelines hand numbers on as doubles, which hold all whole numbers up to here.
LARGEST_WHOLE = 2**53
# Models compute in float32: what it makes infinity or nothing of is no number that is meant.
LARGEST, SMALLEST = 1e38, 1e-38


class Settings(BaseModel):
    """Refuses unknown keys, and cannot be changed after it was read.

    Null is the same as leaving a field out: where a setting can be switched off and is on by default,
    it has a word for that, for a pipeline's parameters hold no null.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*")
    @classmethod
    def _can_be_handed_on(cls, value: Any) -> Any:
        for each in _parts(value):
            if type(each) is int and abs(each) > LARGEST_WHOLE:
                bound = f"at most {LARGEST_WHOLE}" if each > 0 else f"at least {-LARGEST_WHOLE}"
                raise ValueError(f"must be {bound}; received {each!r:.60}")
            if type(each) is float and each and not SMALLEST <= abs(each) <= LARGEST:
                raise ValueError(
                    f"must be of a size between {SMALLEST:g} and {LARGEST:g}; received {each:g}"
                )
            if isinstance(each, str) and "\0" in each:
                raise ValueError(f"must not hold the character \\0; received {each!r:.60}")
        return value


def _parts(value: Any) -> Iterator[Any]:
    """A field's value, or those in it."""
    if isinstance(value, tuple):
        for each in value:
            yield from _parts(each)
    elif isinstance(value, dict):
        yield from _parts(tuple(value.values()))
    else:
        yield value
