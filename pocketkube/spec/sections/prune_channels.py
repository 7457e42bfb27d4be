"""The settings of the stage prune_channels."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from pocketkube.extension import criteria
from pocketkube.spec.added import Choice
from pocketkube.spec.sections.stage import StageBase, Trait
from pocketkube.spec.settings import Ratio

CRITERIA = ("l1", "l2", "bn_scale", "fpgm", "taylor", "lasso", "dcp")
# Those that look at weights alone.
DATA_FREE = ("l1", "l2", "bn_scale", "fpgm")
Criterion = Annotated[str, Choice(criteria, CRITERIA)]


class PruneChannels(StageBase):
    """Cuts channels until the model's cost is the target's."""

    name: Literal["prune_channels"] = "prune_channels"
    criterion: Criterion = Field(
        "taylor",
        description="How a channel's importance is judged; l2 where nothing is said and there are no "
        "examples.",
    )
    scope: Literal["global", "uniform"] = Field(
        "global", description="Rank all groups together, or cut the same ratio in each."
    )
    ratios: dict[str, Ratio] = Field(
        {}, description="Part of the channels to cut, by a layer's name, instead of a solution."
    )
    budget: Literal["macs", "parameters"] = Field("macs", description="What speedup counts.")
    max_ratio: Ratio = Field(0.9, description="Most of a group's channels that may go.")
    round_to: int = Field(8, ge=1, description="Channel counts are multiples of this where they can.")
    reconstruct: bool = Field(
        True,
        description="Least-squares fit of the weights that read what is left; lasso always does.",
    )
    calibration_examples: int = Field(
        512,
        ge=1,
        description="Training examples for taylor, lasso, dcp, the fit and BatchNorm's statistics.",
    )
    group_size: int | None = Field(
        None,
        ge=1,
        description="Prune so many groups, fine-tune, then the next; all at once if unset.",
    )
    group_epochs: int = Field(1, ge=1, description="Epochs of fine-tuning between those.")

    @property
    def breaks(self) -> Mapping[Trait, str]:
        """What the model must not be before this stage, with why and what to do instead."""
        return {
            **super().breaks,
            Trait.ZEROS: (
                "{later} fits the weights that are left anew, which fills the zeros of "
                "{earlier}; put it before"
            ),
            Trait.CODEBOOKS: (
                "{later} fits the weights that are left anew, which leaves none of the values "
                "that {earlier} has learnt; put it before"
            ),
            Trait.LEVELS: (
                "{later} changes whole weights, which leaves the levels of {earlier}; put it before"
            ),
        }
