"""Whether stages can be done in the order that they are given in."""

from collections.abc import Sequence

from pocketkube.spec.sections import StageBase


def broken_order(stages: Sequence[StageBase]) -> str | None:
    """Looks for a stage that would undo what an earlier one has done.

    Args:
        stages: All stages, in the order in which they would run.

    Returns:
        For the first such stage a sentence that says why and what to do instead; None if there is
        none.
    """
    for position, later in enumerate(stages):
        for trait, sentence in later.breaks.items():
            for earlier in stages[:position]:
                if trait in earlier.leaves:
                    return sentence.format(earlier=earlier.name, later=later.name)
    return None
