"""What all sections of a spec share: how strictly they are read, and a few kinds of values."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

Ratio = Annotated[float, Field(ge=0.0, lt=1.0)]
Count = Annotated[int, Field(ge=1)]
Place = Annotated[str, Field(min_length=1)]


# Pipelines hand numbers on as doubles, which hold all whole numbers up to here.
LARGEST_WHOLE = 2**53


class Settings(BaseModel):
    """Refuses unknown keys, and cannot be changed after it was read.

    Null is the same as leaving a field out: where a setting can be switched off and is on by default,
    it has a word for that, for a pipeline's parameters hold no null.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*")
    @classmethod
    def _can_be_handed_on(cls, value: Any) -> Any:
        for each in value if isinstance(value, tuple) else (value,):
            if type(each) is int and each > LARGEST_WHOLE:
                raise ValueError(f"must be at most {LARGEST_WHOLE}; received {each!r:.60}")
            if isinstance(each, str) and "\0" in each:
                raise ValueError(f"must not hold the character \\0; received {each!r:.60}")
        return value
