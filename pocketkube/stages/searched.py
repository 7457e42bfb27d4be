"""Gives a stage what a search has found for its layers."""

from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from pocketkube.errors import UserError
from pocketkube.files.layout import RATIOS_FILE
from pocketkube.search.ratios import chosen, read_ratios
from pocketkube.spec.sections import PruneChannels, QuantizeWeights, SparsifyWeights
from pocketkube.stages.registry import RATIOS

Decided = TypeVar("Decided", PruneChannels, SparsifyWeights, QuantizeWeights)

# The setting of each stage that a search decides.
_SETTINGS = {
    "prune_channels": "ratios",
    "sparsify_weights": "ratios",
    "quantize_weights": "layers",
}


def with_found(settings: Decided, inputs: Mapping[str, Path]) -> Decided:
    """A stage's settings with what its input of ratios says; the settings where it has none.

    Args:
        settings: The stage's.
        inputs: Its inputs' folders.

    Raises:
        UserError: If the folder has no ratios for the stage, or they are wrong.
    """
    if RATIOS not in inputs:
        return settings
    file = inputs[RATIOS] / RATIOS_FILE
    found = chosen(read_ratios(file), settings.name)
    if not found:
        raise UserError(f"{file} says nothing of {settings.name}; it was not searched for.")
    return settings.model_copy(update={_SETTINGS[settings.name]: dict(found)})
