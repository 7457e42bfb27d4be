"""The answer of a search as a small file that people read, change, and give to stages."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field

from pocketkube.files.whole import write_text
from pocketkube.search.problem import Problem
from pocketkube.spec import load_settings, settings_document, yaml_of
from pocketkube.spec.settings import Ratio, Settings
from pocketkube.spec.source import Wanted

Bits = Annotated[int, Field(ge=2, le=8)]

# So many digits tell the counts of any layer apart.
DIGITS = 6
FILE = Wanted("the ratios of a search", "prune_channels: {conv1: 0.5}")
_HEADER = """\
# Found by pocketkube search: by a layer's name, the part of its channels that is cut, the part of its
# weights that is zero, or the bits of its weights. To change them, put them into a spec without search.
"""


class Ratios(Settings):
    """What was found for each layer, by the names of the stages that do it."""

    prune_channels: dict[str, Ratio] = Field({}, description="Part of the channels that is cut.")
    sparsify_weights: dict[str, Ratio] = Field({}, description="Part of the weights that is zero.")
    quantize_weights: dict[str, Bits] = Field({}, description="Bits of a weight.")


def ratios_of(problem: Problem, choice: tuple[int, ...]) -> Ratios:
    """What a choice gives each layer.

    Args:
        problem: The search.
        choice: The level of each parameter.

    Returns:
        For channels, ratios from which `prune_channels` counts as many as the search did.
    """
    groups = {group.name: number for number, group in enumerate(problem.network.groups)}
    (counts,) = problem.counts(np.array([choice]))
    cut: dict[str, float] = {}
    zero: dict[str, float] = {}
    bits: dict[str, int] = {}
    for parameter, level in zip(problem.space.parameters, choice, strict=True):
        value = parameter.levels[level]
        for target in parameter.targets:
            if parameter.decides == "kept":
                number = groups[target]
                kept = float(counts[number]) / problem.network.groups[number].size
                cut[target] = round(1 - kept, DIGITS)
            elif parameter.decides == "sparsity":
                zero[target] = round(value, DIGITS)
            else:
                bits[target] = int(value)
    return Ratios(prune_channels=cut, sparsify_weights=zero, quantize_weights=bits)


def write_ratios(file: Path, ratios: Ratios, remark: str = "") -> None:
    """Writes ratios as YAML; what was not searched for is left out.

    Args:
        file: The file.
        ratios: What it is to say.
        remark: A line that says which trial they are of.
    """
    header = _HEADER + (f"# {remark}\n" if remark else "")
    write_text(file, header + yaml_of(settings_document(ratios)))


def read_ratios(file: Path) -> Ratios:
    """Reads what `write_ratios` wrote, and people may have changed.

    Raises:
        UserError: If the file is missing or something in it is wrong; names the line.
    """
    return load_settings(Ratios, file, FILE)


def chosen(ratios: Ratios, stage: str) -> Mapping[str, float]:
    """What a stage is given, by its name."""
    found: Mapping[str, float] = getattr(ratios, stage)
    return found
