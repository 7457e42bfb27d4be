"""What the settings of every stage share: what the stage leaves behind, and what it would break."""

import enum
from collections.abc import Mapping

from pocketkube.spec.settings import Settings


class Trait(enum.Enum):
    """What a model is after a stage, as far as a later stage may break it."""

    PREPARED = "it holds what the stages so far have done"
    ZEROS = "a part of its weights is zero"
    CODEBOOKS = "its weights take a few learnt values"
    LEVELS = "its weights stand on evenly spaced levels"
    OTHER_ACTIVATIONS = "its activations are of other than 8 bits"
    FILE = "it is a LiteRT file"


class StageBase(Settings):
    """Settings of a stage. Which order stages may have follows from `leaves` and `breaks` alone."""

    name: str

    @property
    def leaves(self) -> frozenset[Trait]:
        """What the model is after this stage, beside what it was before."""
        return frozenset({Trait.PREPARED})

    @property
    def breaks(self) -> Mapping[Trait, str]:
        """What the model must not be before this stage.

        Returns:
            For each such trait a sentence for users: why, and what to do instead. {earlier} in it
            is the name of the stage that left the trait, {later} this stage's.
        """
        return {
            Trait.FILE: "{earlier} makes a LiteRT file, which nothing can follow; "
            "put it last, after {later}"
        }
