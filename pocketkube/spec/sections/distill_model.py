"""The settings of the stage distill_model."""

from collections.abc import Mapping
from typing import Literal, Self

from pydantic import Field, model_validator

from pocketkube.spec.model_files import is_model_file
from pocketkube.spec.sections.stage import StageBase, Trait
from pocketkube.spec.settings import Place


class DistillModel(StageBase):
    """Trains a small network of another architecture, the uncompressed one its teacher; comes first."""

    name: Literal["distill_model"] = "distill_model"
    student: Place = Field(
        description="The small network: a built-in name, or the path of a .keras file to train on."
    )
    width: float = Field(1.0, gt=0.0, le=1e6, description="Width multiplier of a built-in student.")
    epochs: int | None = Field(None, ge=1, description="Instead of training's.")
    learning_rate: float | None = Field(None, gt=0.0, description="Instead of training's.")

    @model_validator(mode="after")
    def _width_is_of_a_built_in_network(self) -> Self:
        if is_model_file(self.student) and self.width != 1.0:
            raise ValueError(
                f"width multiplies built-in networks only, and student is the file {self.student}; "
                "leave width out"
            )
        return self

    @property
    def breaks(self) -> Mapping[Trait, str]:
        """What the model must not be before this stage, with why and what to do instead."""
        return {
            **super().breaks,
            Trait.PREPARED: (
                "{later} begins a new network, so that all that was done before would be lost; "
                "put it first, before {earlier}"
            ),
        }
