"""What a search may decide of a model, and under which limit, from the model and a spec's parts."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import keras
import numpy as np

from pocketkube.errors import UserError
from pocketkube.graph.budgets import NS_PER_MS
from pocketkube.graph.cost import Profile
from pocketkube.graph.cost_model import ChannelGroup, CostModel, Layer
from pocketkube.graph.file_bytes import FLOAT_BYTES, FileForm
from pocketkube.graph.kernels import kernels_of
from pocketkube.latency_table.budget import Latency
from pocketkube.number_formats import NumberFormat
from pocketkube.search.problem import Front, Limit, Problem
from pocketkube.search.space import Decides, Parameter, Space
from pocketkube.sparsity.selection import sparsifiable_kernels
from pocketkube.spec.searched import searched_budget
from pocketkube.spec.sections import (
    PruneChannels,
    QuantizeWeights,
    Search,
    SparsifyWeights,
    StageBase,
    Target,
)
from pocketkube.spec.stage_settings import StageSettings

Stage = TypeVar("Stage", bound=StageBase)
One = TypeVar("One")
# More levels of a wide group tell a search little, and make it long.
MOST_LEVELS = 12
# From the cheapest on: close together where most weights are gone already.
SPARSITIES = (0.95, 0.9, 0.85, 0.8, 0.7, 0.6, 0.5, 0.4, 0.25, 0.0)
BITS = (2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0)
# LiteRT stores fewer in as many bytes as these.
STORED_BITS = (4.0, 8.0)
DECIDES: dict[str, Decides] = {
    "prune_channels": "kept",
    "sparsify_weights": "sparsity",
    "quantize_weights": "bits",
}


@dataclass(frozen=True)
class SearchedStages:
    """The parts of a spec that say what is searched.

    Attributes:
        search: The section.
        stages: The stages that it decides; all of the job's where the file is its budget.
        target: What the job has to reach.
        numbers: The number format of the file that the job ends in.
    """

    search: Search
    stages: tuple[StageSettings, ...]
    target: Target | None = None
    numbers: NumberFormat = "float32"

    @property
    def prune(self) -> PruneChannels | None:
        """Settings of prune_channels, where it is searched."""
        return self._searched(PruneChannels)

    @property
    def sparsify(self) -> SparsifyWeights | None:
        """Settings of sparsify_weights, where it is searched."""
        return self._searched(SparsifyWeights)

    @property
    def quantize(self) -> QuantizeWeights | None:
        """Settings of quantize_weights, where it is searched."""
        return self._searched(QuantizeWeights)

    def _searched(self, kind: type[Stage]) -> Stage | None:
        for stage in self.stages:
            if isinstance(stage, kind) and stage.name in self.search.over:
                return stage
        return None


def problem_of(
    model: keras.Model,
    network: CostModel,
    searched: SearchedStages,
    *,
    whole: Profile,
    latency: Latency | None = None,
) -> Problem:
    """The search that a spec asks for, of a model.

    Args:
        model: The model.
        network: What it costs; its groups say how prune_channels may cut.
        searched: The spec's parts.
        whole: What the uncompressed model costs, from which a target counts.
        latency: From the table that the target names; needed where that is the budget.

    Raises:
        UserError: If there is nothing to decide.
    """
    limit = _limit(model, searched, whole)
    levels = STORED_BITS if limit.cost == "bytes" else BITS
    parameters = [
        *(_kept(network, searched.search.tie) if searched.prune else ()),
        *(_sparsity(model, network, searched.search.tie) if searched.sparsify else ()),
        *(_bits(model, network, searched.search.tie, levels) if searched.quantize else ()),
    ]
    if not parameters:
        raise UserError(
            f"search: {model.name} has nothing that {', '.join(searched.search.over)} decide."
        )
    place = {layer.name: number for number, layer in enumerate(network.layers)}
    order = sorted(parameters, key=lambda each: place.get(_layer_of(each.targets[0]), len(place)))
    if limit.cost == "bytes":
        _refuse_unstored(searched)
    front = None
    if searched.search.front is not None:
        least, most = _ends(searched, whole, limit)
        front, limit = Front(least, limit.most), Limit(limit.cost, most)
    problem = Problem(
        Space(tuple(_uniquely_named(order))),
        network,
        limit,
        file=_file_form(model, searched),
        latency=latency,
        front=front,
    )
    problem.check()
    return problem


def refuse_unreachable(problem: Problem) -> None:
    """Refuses a search whose limit no choice keeps.

    Args:
        problem: The search, its bytes those of a measured file where there is one.

    Raises:
        UserError: If not even the cheapest levels reach the limit, or the lowest budget of a front.
    """
    least, most = problem.cost(problem.cheapest), problem.limit.most
    what = "target"
    if problem.front is not None:
        most, what = problem.front.least, "lowest budget of front"
    if least > most:
        cuts = any(each.decides == "kept" for each in problem.space.parameters)
        raise UserError(
            f"search: the {what} cannot be reached: the cheapest of all levels give {least:.6g} "
            f"{problem.limit.cost}, and at most {most:.6g} are asked for; ask for less"
            f"{', or raise max_ratio' if cuts else ''}."
        )


def kept_levels(group: ChannelGroup) -> tuple[float, ...]:
    """The parts of a group that surgery can keep: multiples of its step, at most `MOST_LEVELS`."""
    step, least = group.step, min(max(group.least, 1), group.size)
    counts = sorted({least, *range(-(-least // step) * step, group.size, step), group.size})
    chosen = np.rint(np.linspace(0, len(counts) - 1, min(len(counts), MOST_LEVELS))).astype(int)
    return tuple(counts[place] / group.size for place in np.unique(chosen))


def block_of(path: str) -> str | None:
    """The block that a layer's name tells, as "conv2_block1" of "conv2_block1_1_conv"."""
    found = re.match(r"^(.*block_?\d+[a-z]?)(?=[_/]|$)", path)
    return found[1] if found else None


def _kept(network: CostModel, tie: str) -> Iterable[Parameter]:
    cut = [group for group in network.groups if len(kept_levels(group)) > 1]
    for name, members in _tied(network, [(each, each.layers) for each in cut], tie):
        # The group with the most levels has them for all; each rounds to its own steps.
        levels = max((kept_levels(group) for group in members), key=len)
        yield Parameter(
            f"{name or members[0].name}.kept", "kept", tuple(g.name for g in members), levels
        )


def _sparsity(model: keras.Model, network: CostModel, tie: str) -> Iterable[Parameter]:
    paths = list(dict.fromkeys(path for path, _ in sparsifiable_kernels(model)))
    for name, members in _tied(network, [(path, (path,)) for path in paths], tie):
        yield Parameter(f"{name or members[0]}.sparsity", "sparsity", tuple(members), SPARSITIES)


def _bits(
    model: keras.Model, network: CostModel, tie: str, levels: tuple[float, ...]
) -> Iterable[Parameter]:
    """The first and the last layer have first_last_bits, and are no part of a search."""
    paths = list(dict.fromkeys(kernel.layer for kernel in kernels_of(model)))[1:-1]
    for name, members in _tied(network, [(path, (path,)) for path in paths], tie):
        yield Parameter(f"{name or members[0]}.bits", "bits", tuple(members), levels)


def _tied(
    network: CostModel, each: Sequence[tuple[One, Sequence[str]]], tie: str
) -> Iterable[tuple[str, list[One]]]:
    """What shares a parameter, with a name for it; "" where it is one alone.

    "stage": layers whose outputs have the same size in space, as the stages of a residual network or a
    MobileNet; dense layers are a stage of their own. "block": layers whose names tell a block, as
    "stage1_block2_a" and "conv2_block1_1_conv"; where no name does, those between two additions. What
    belongs to several blocks, as the channels that residual connections add up, stays alone.
    """
    key_of = _keys(network, tie)
    members: dict[str, list[One]] = {}
    for number, (one, layers) in enumerate(each):
        keys = {key_of.get(_layer_of(layer), "") for layer in layers}
        if tie == "stage":
            keys = {key_of.get(_layer_of(layers[0]), "")}
        key = keys.pop() if len(keys) == 1 else ""
        members.setdefault(key or f" {number}", []).append(one)
    for key, found in members.items():
        yield "" if key.startswith(" ") else key, found


def _keys(network: CostModel, tie: str) -> dict[str, str]:
    if tie == "none":
        return {}
    if tie == "block":
        named = {layer.name: block_of(layer.name) or "" for layer in network.layers}
        return named if any(named.values()) else _between_additions(network)
    sizes = {layer.name: _size_in_space(layer) for layer in network.layers}
    numbers = {size: number for number, size in enumerate(dict.fromkeys(sizes.values()), start=1)}
    return {name: f"stage{numbers[size]}_{size}" for name, size in sizes.items()}


def _size_in_space(layer: Layer) -> str:
    shape = layer.calls[0].outputs[0][:-1]
    return "x".join(str(extent.fixed) for extent in shape) or "flat"


def _between_additions(network: CostModel) -> dict[str, str]:
    block, found = 1, {}
    if not any(layer.kind == "Add" for layer in network.layers):
        return {}
    for layer in network.layers:
        found[layer.name] = f"block{block}"
        block += layer.kind == "Add"
    return found


def _layer_of(group: str) -> str:
    return group.removesuffix("/heads")


def _uniquely_named(parameters: Iterable[Parameter]) -> Iterable[Parameter]:
    """The same under names that a command line and Katib take as they are."""
    taken: set[str] = set()
    for each in parameters:
        stem, dot, decided = re.sub(r"[^A-Za-z0-9_./-]", "_", each.name).rpartition(".")
        name, number = f"{stem}{dot}{decided}", 2
        while name in taken:
            name, number = f"{stem}_{number}{dot}{decided}", number + 1
        taken.add(name)
        yield Parameter(name, each.decides, each.targets, each.levels)


def _limit(model: keras.Model, searched: SearchedStages, whole: Profile) -> Limit:
    search, target = searched.search, searched.target
    budget = searched_budget(search, searched.stages, target)
    if budget == "mean_bits":
        assert search.mean_bits is not None
        return Limit(budget, search.mean_bits)
    if budget == "parameters" and searched.prune is None:
        assert searched.sparsify is not None
        weights = sum(int(np.prod(k.shape)) for _, k in sparsifiable_kernels(model))
        # A share of a kernel's weights is rounded to whole ones in each layer.
        return Limit(
            budget, float(np.ceil(model.count_params() - searched.sparsify.sparsity * weights))
        )
    assert target is not None
    if budget == "bytes":
        assert target.max_size is not None
        return Limit(budget, float(target.max_size))
    if budget == "latency":
        assert target.max_latency_ms is not None
        return Limit(budget, target.max_latency_ms * NS_PER_MS)
    assert target.speedup is not None
    return Limit(budget, getattr(whole, budget) / target.speedup)


def _ends(searched: SearchedStages, whole: Profile, limit: Limit) -> tuple[float, float]:
    """The least and the most budget of a front, in the limit's unit."""
    assert searched.search.front is not None
    name, low, high = searched.search.front.ends
    if name == "speedup":
        macs_or_parameters = getattr(whole, limit.cost)
        return macs_or_parameters / high, macs_or_parameters / low
    unit = NS_PER_MS if name == "max_latency_ms" else 1.0
    return low * unit, high * unit


def _refuse_unstored(searched: SearchedStages) -> None:
    """Refuses bits of a file that stores floats, whatever levels they are on."""
    if searched.quantize is not None and searched.numbers in FLOAT_BYTES:
        raise UserError(
            f"search: bits make the file no smaller, which is of {searched.numbers} in the end; "
            "end stages with quantize_weights, its levels symmetric and its activation_bits 8 or "
            "float, or leave it out of over."
        )


def _file_form(model: keras.Model, searched: SearchedStages) -> FileForm:
    """How the file stores what the search does not decide."""
    sparsifies = any(isinstance(stage, SparsifyWeights) for stage in searched.stages)
    settings = next((each for each in searched.stages if isinstance(each, QuantizeWeights)), None)
    form = FileForm(
        searched.numbers,
        leaves_zeros_out=sparsifies and searched.numbers in FLOAT_BYTES,
    )
    if settings is None:
        return form
    layers = list(dict.fromkeys(kernel.layer for kernel in kernels_of(model)))
    bits = dict.fromkeys(layers, settings.weight_bits)
    bits |= dict.fromkeys((layers[0], layers[-1]), settings.first_last_bits)
    bits |= {layer: settings.layers[layer] for layer in layers if layer in settings.layers}
    return replace(form, bits=bits)
