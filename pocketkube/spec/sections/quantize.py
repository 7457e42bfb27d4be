"""The settings of the stages that convert the model to LiteRT in a number format."""

from collections.abc import Mapping
from typing import Literal, Self

from pydantic import Field, model_validator

from pocketkube.spec.sections.stage import StageBase, Trait


class Quantize(StageBase):
    """Converts the model to LiteRT in a number format."""

    name: Literal["quantize_int8", "quantize_float16", "quantize_dynamic"] = "quantize_int8"
    calibration_examples: int = Field(256, ge=1, description="Training examples for int8's ranges.")
    input_type: Literal["float32", "int8", "uint8"] = Field(
        "float32", description="What the file takes; int8 and uint8 need quantize_int8."
    )
    output_type: Literal["float32", "int8", "uint8"] = Field("float32", description="What it gives.")
    min_agreement: float = Field(
        0.97,
        ge=0.0,
        le=1.0,
        description="Least agreement with the Keras model on test examples: of likeliest classes, or "
        "the part of its outputs' variance.",
    )

    @model_validator(mode="after")
    def _integer_ends_need_integers_between(self) -> Self:
        if self.name != "quantize_int8" and {self.input_type, self.output_type} != {"float32"}:
            raise ValueError("input_type and output_type other than float32 need quantize_int8")
        return self

    @property
    def leaves(self) -> frozenset[Trait]:
        """What the model is after this stage."""
        return super().leaves | {Trait.FILE}

    @property
    def breaks(self) -> Mapping[Trait, str]:
        """What the model must not be before this stage, with why and what to do instead."""
        moved = (
            "{later} moves the values that {earlier} has learnt to its own steps; end with "
            "quantize_float16, which rounds equal values alike, or without"
        )
        other_numbers = (
            "{later} stores other numbers than the levels of {earlier}, whose file is integers by "
            "itself; leave it out"
        )
        bits = (
            "{later} after {earlier} needs activation_bits: 8; set that, or leave {later} out: the "
            "file follows {earlier}"
        )
        of_format: dict[str, dict[Trait, str]] = {
            "quantize_int8": {Trait.CODEBOOKS: moved, Trait.OTHER_ACTIVATIONS: bits},
            "quantize_float16": {Trait.LEVELS: other_numbers},
            "quantize_dynamic": {Trait.CODEBOOKS: moved, Trait.LEVELS: other_numbers},
        }
        return {**super().breaks, **of_format[self.name]}
