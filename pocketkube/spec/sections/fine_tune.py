"""The settings of the stage fine_tune."""

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from pocketkube.spec.sections.stage import StageBase, Trait


class FineTune(StageBase):
    """Trains the compressed model on, with the uncompressed one as teacher."""

    name: Literal["fine_tune"] = "fine_tune"
    epochs: int | None = Field(None, ge=1, description="Instead of half of training's.")
    learning_rate: float | None = Field(None, gt=0.0, description="Instead of training's.")

    @property
    def breaks(self) -> Mapping[Trait, str]:
        """What the model must not be before this stage, with why and what to do instead."""
        return {
            **super().breaks,
            Trait.CODEBOOKS: (
                "{later} trains each weight for itself, away from the values that {earlier} has "
                "learnt; give {earlier} more epochs instead"
            ),
            Trait.LEVELS: (
                "{later} trains whole weights, which leave the levels of {earlier}; put it "
                "before, or set epochs of {earlier}"
            ),
        }
