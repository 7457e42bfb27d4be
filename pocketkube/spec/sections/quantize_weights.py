"""The settings of the stage quantize_weights."""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, field_validator, model_validator

from pocketkube.spec.sections.buckets import check_bucket_size, with_bucket_size
from pocketkube.spec.sections.stage import StageBase, Trait

# One bit has no level beside 0 on both sides.
LevelBits = Annotated[int, Field(ge=2, le=8)]


# Says of activations that they are not rounded.
FLOAT: Final = "float"


class QuantizeWeights(StageBase):
    """Puts weights and activations on evenly spaced levels, and trains the model with them.

    With 0 epochs it is calibrated only.
    """

    name: Literal["quantize_weights"] = "quantize_weights"
    weight_bits: LevelBits = Field(8, description="Bits of a weight.")
    activation_bits: LevelBits | Literal["float"] = Field(
        8,
        description="Bits of an activation; float leaves them in floats. Files hold 8, or floats.",
    )
    first_last_bits: LevelBits = Field(8, description="Bits of the first and last layers' weights.")
    layers: dict[str, LevelBits] = Field({}, description="Bits of weights by a layer's name, instead.")
    granularity: Literal["tensor", "channel", "bucket"] = Field(
        "channel", description="Which weights share a scale."
    )
    bucket_size: int | None = Field(
        None,
        ge=2,
        description="Weights in a bucket, of one output channel, with granularity bucket; 64 there if "
        "unset.",
    )
    scheme: Literal["symmetric", "affine"] = Field(
        "symmetric",
        description="Whether weights have their zero in the middle; LiteRT's integers ask for it.",
    )
    ranges: Literal["learned", "moving_average"] = Field(
        "learned",
        description="Step sizes are trained (LSQ); or those of activations follow their extremes, and "
        "those of weights stay as calibrated, unless calibration is minmax.",
    )
    calibration: Literal["minmax", "percentile", "mse"] = Field(
        "mse", description="How ranges are found first; minmax also lets them follow the weights."
    )
    calibration_examples: int = Field(512, ge=1, description="Training examples it looks at.")
    bias_correction: bool = Field(
        True, description="Makes up in the biases for what rounding does to the mean."
    )
    epochs: int | None = Field(
        None, ge=0, description="Instead of half of training's; 0 is without training."
    )
    learning_rate: float | None = Field(
        None,
        gt=0.0,
        description="Instead of three tenths of training's where all BatchNorms go on, else a tenth.",
    )

    @field_validator("activation_bits", mode="before")
    @classmethod
    def _bits_or_float(cls, value: Any) -> Any:
        if value is None:
            raise ValueError(f"write {FLOAT} to leave activations in floats; received null")
        if value == FLOAT or (type(value) is int and 2 <= value <= 8):
            return value
        raise ValueError(f"must be 2 to 8 bits, or {FLOAT}; received {value!r}")

    @model_validator(mode="before")
    @classmethod
    def _buckets_have_a_size(cls, value: Any) -> Any:
        return with_bucket_size(value, 64)

    @model_validator(mode="after")
    def _only_buckets_have_a_size(self) -> Self:
        check_bucket_size(self.granularity, self.bucket_size)
        return self

    @property
    def leaves(self) -> frozenset[Trait]:
        """What the model is after this stage."""
        others = set() if self.activation_bits == 8 else {Trait.OTHER_ACTIVATIONS}
        return super().leaves | {Trait.LEVELS} | others

    @property
    def breaks(self) -> Mapping[Trait, str]:
        """What the model must not be before this stage, with why and what to do instead."""
        return {
            **super().breaks,
            Trait.CODEBOOKS: (
                "{later} rounds the values that {earlier} has learnt to levels of its own; give "
                "one of the two"
            ),
            Trait.LEVELS: ("{later} is there twice; give layers their bits"),
        }
