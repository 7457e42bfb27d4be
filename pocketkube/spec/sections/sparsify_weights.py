"""The settings of the stage sparsify_weights."""

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from pocketkube.spec.sections.stage import StageBase, Trait
from pocketkube.spec.settings import Ratio


class SparsifyWeights(StageBase):
    """Trains the model while more and more of its weights become zero (Zhu & Gupta, 2017)."""

    name: Literal["sparsify_weights"] = "sparsify_weights"
    sparsity: Ratio = Field(
        0.75,
        description="Part of all weights of kernels that becomes zero; 0.5 with pattern two_of_four.",
    )
    distribution: Literal["uniform", "size", "global"] = Field(
        "global",
        description="The same part in each layer; more in larger ones; or what one threshold gives. "
        "Pattern two_of_four is uniform.",
    )
    ratios: dict[str, Ratio] = Field(
        {}, description="Part that becomes zero, by a layer's name, instead; others stay as they are."
    )
    pattern: Literal["element", "block", "two_of_four"] = Field(
        "element",
        description="Each weight for itself, four neighbouring outputs together, or two of each four "
        "inputs. XNNPACK has kernels for the first two, in 1x1 convolutions of over two thirds zeros; "
        "two_of_four only makes files smaller.",
    )
    begin_fraction: float = Field(0.0, ge=0.0, lt=1.0, description="When the rise begins.")
    end_fraction: float = Field(
        0.6, gt=0.0, le=1.0, description="When it ends; the rest trains what is left."
    )
    power: float = Field(3.0, gt=0.0, description="How much more goes early than late.")
    refresh_steps: int = Field(20, ge=1, description="Steps until masks are chosen anew.")
    epochs: int | None = Field(None, ge=1, description="Instead of half of training's.")
    learning_rate: float | None = Field(None, gt=0.0, description="Instead of training's.")

    @model_validator(mode="before")
    @classmethod
    def _half_of_each_four(cls, value: Any) -> Any:
        if isinstance(value, dict) and value.get("pattern") == "two_of_four":
            return {"sparsity": 0.5, "distribution": "uniform"} | value
        return value

    @model_validator(mode="after")
    def _pattern_and_schedule_fit(self) -> Self:
        if self.pattern == "two_of_four" and (
            self.sparsity != 0.5 or self.distribution != "uniform" or set(self.ratios.values()) - {0.5}
        ):
            raise ValueError(
                "pattern two_of_four makes half of each layer zero: leave sparsity and distribution "
                "out, or use block"
            )
        if self.begin_fraction >= self.end_fraction:
            raise ValueError(
                f"begin_fraction {self.begin_fraction:g} is not before end_fraction "
                f"{self.end_fraction:g}"
            )
        return self

    @property
    def leaves(self) -> frozenset[Trait]:
        """What the model is after this stage."""
        return super().leaves | {Trait.ZEROS}

    @property
    def breaks(self) -> Mapping[Trait, str]:
        """What the model must not be before this stage, with why and what to do instead."""
        return {
            **super().breaks,
            Trait.CODEBOOKS: (
                "{later} trains each weight for itself, away from the values that {earlier} has "
                "learnt; put it before: zeros stay zero"
            ),
            Trait.LEVELS: (
                "{later} changes whole weights, which leaves the levels of {earlier}; put it before"
            ),
        }
