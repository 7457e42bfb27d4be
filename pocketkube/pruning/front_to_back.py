"""Fits a cut network to the uncut one, layer by layer from front to back, each computed once.

Least-squares reconstruction (He et al., 2017) as PocketFlow does it: what a layer reads comes from the
network as it is cut and fitted before it, what it should give from the uncut one. The statistics of
BatchNorm are estimated anew on the way, but for those of frozen ones. A layer's outputs for all
examples are kept until the next has read them, so that the whole costs as much as computing both
networks once.
"""

import tempfile
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from pocketkube.console.progress import Progress, Silent
from pocketkube.graph.dependency import ChannelGraph, Use
from pocketkube.graph.walk import calls_of, computed, functional_graph
from pocketkube.pruning.batch_statistics import (
    Statistics,
    is_clearly_worse,
    kept_note,
    losses_of,
    normalises,
    norms_of,
)
from pocketkube.pruning.calibration import Calibration
from pocketkube.pruning.reconstruction import (
    MOST_INPUTS,
    Moments,
    Response,
    best_of,
    drawn_positions,
    inputs_of,
    matrix_of,
    patches,
    readers,
    write,
)

# Of what is kept at a time; the rest lies in files until it has been read.
MOST_BYTES_IN_MEMORY = 2**28
CALLED_AGAIN = "it is called several times, and a fit to one call may be wrong for the others"
# Arrays, one for each batch of examples.
Batches = list[np.ndarray]


@dataclass(frozen=True)
class Wanted:
    """What a layer of the uncut network gives.

    Attributes:
        path: The layer's.
        positions: The output positions that were looked at, an array for each batch of examples.
        outputs: What it gave there without its bias, `[rows, outputs]` for each batch.
    """

    path: str
    positions: Batches
    outputs: Batches


def fitted_paths(graph: ChannelGraph) -> list[str]:
    """Paths of the layers that can be fitted where channels go, in the order of computation."""
    return [use.path for use in _readers(graph) if not use.again]


def _readers(graph: ChannelGraph) -> list[Use]:
    found = {path for group in graph.groups for path in readers(graph, group)}
    return [use for use in graph.uses if use.path in found]


def wanted_outputs(
    original: keras.Model, paths: Sequence[str], calibration: Calibration, seed: int
) -> Iterator[Wanted]:
    """What layers of the uncut network give, each computed when it is asked for.

    Args:
        original: The uncut network.
        paths: The layers, as `fitted_paths` gives them.
        calibration: Examples.
        seed: Of the image positions that are looked at.

    Yields:
        One for each of the layers, in the order of computation.
    """
    rng, room = np.random.default_rng(seed), _Room(MOST_BYTES_IN_MEMORY)
    left = set(paths)
    steps = calls_of(functional_graph(original), _examples(calibration))
    call = next(steps)
    while left:
        path, node, values = call
        if path in left:
            left.remove(path)
            yield _wanted(path, node.operation, values[0], rng, room)
        if left:
            call = steps.send(_computed(node, values, room))


# What is not finite is told of where a layer is fitted to it.
@np.errstate(invalid="ignore", over="ignore")
def _wanted(path: str, layer: Any, inputs: Batches, rng: np.random.Generator, room: "_Room") -> Wanted:
    matrix = matrix_of(layer)
    positions = [drawn_positions(layer, x, rng) for x in inputs]
    outputs = []
    for x, at in zip(inputs, positions, strict=True):
        outputs.append(room.kept((patches(layer, x, at) @ matrix).astype(np.float32)))
    return Wanted(path, positions, outputs)


def fit_where_better(
    smaller: keras.Model,
    graph: ChannelGraph,
    keep: np.ndarray,
    wanted: Callable[[], Iterable[Wanted]],
    calibration: Calibration,
    shown: Progress | None = None,
) -> tuple[dict[str, str], list[str]]:
    """`fit_front_to_back`; with BatchNorm's statistics as they were, where new ones do harm.

    Layers that cannot be fitted, as those that are called several times, do not make up for statistics
    that change before them. New ones are taken back where with them the loss of the examples held back
    is clearly higher than that of the network as it was cut, and not lower than without them.

    Args:
        smaller, graph, keep, calibration, shown: As there.
        wanted: Gives what is wanted there, as often as it is asked.

    Returns:
        For the path of a layer that keeps its weights as they were cut, why, and sentences for the
        user.
    """
    if not norms_of(smaller):
        return fit_front_to_back(smaller, graph, keep, wanted(), calibration, shown), []
    weights, held_back = smaller.get_weights(), calibration.held_back
    as_cut = losses_of(smaller, held_back)
    not_fitted = fit_front_to_back(smaller, graph, keep, wanted(), calibration, shown)
    anew = losses_of(smaller, held_back)
    if not is_clearly_worse(as_cut, anew):
        return not_fitted, []
    fitted = smaller.get_weights()
    smaller.set_weights(weights)
    without = fit_front_to_back(smaller, graph, keep, wanted(), calibration, shown, norms_anew=False)
    as_they_were = losses_of(smaller, held_back)
    if is_clearly_worse(anew, as_they_were):
        smaller.set_weights(fitted)
        return not_fitted, []
    return without, [kept_note(as_they_were, anew)]


def fit_front_to_back(
    smaller: keras.Model,
    graph: ChannelGraph,
    keep: np.ndarray,
    wanted: Iterable[Wanted],
    calibration: Calibration,
    shown: Progress | None = None,
    *,
    norms_anew: bool = True,
) -> dict[str, str]:
    """Fits the layers of a cut network that read what is left, and its BatchNorms; in place.

    A frozen BatchNorm keeps its statistics: what is fitted before it gives what the uncut network does.

    Args:
        smaller: The network without the channels that go.
        graph: The uncut network's.
        keep: Which of its units are kept, `[units]`.
        wanted: What its layers give, those of `fitted_paths`.
        calibration: The examples that they were given; one in four is held back, and tells whether a
            fit is one.
        shown: Told how many layers have been fitted.
        norms_anew: Whether BatchNorms are given the statistics of what reaches them.

    Returns:
        For the path of a layer that keeps its weights as they were cut, why.
    """
    outputs = _outputs_left(graph, keep)
    targets, shown, room = _Targets(wanted), shown or Silent(), _Room(MOST_BYTES_IN_MEMORY)
    # Those of examples that are held back come behind.
    to_fit = sum(1 for _ in calibration.others.batches())
    statistics: dict[int, Statistics] = {}
    fitted: dict[str, str | None] = {}
    steps = calls_of(functional_graph(smaller), _examples(calibration))
    call = next(steps, None)
    while call is not None:
        path, node, values = call
        layer = node.operation
        if norms_anew and normalises(layer) and layer.trainable:
            seen = statistics.setdefault(id(layer), Statistics(layer))
            for each in zip(*(batches[:to_fit] for batches in values), strict=True):
                seen.add(*each)
            seen.write()
        elif path in outputs and path not in fitted:
            fitted[path] = _fit(layer, values[0], targets.of(path), outputs[path], to_fit)
            shown.update(len(fitted))
        try:
            call = steps.send(_computed(node, values, room))
        except StopIteration:
            call = None
    # What fits the first call of a layer may be wrong for what the others read.
    again = {use.path: CALLED_AGAIN for use in _readers(graph) if use.again}
    return again | {path: why_not for path, why_not in fitted.items() if why_not is not None}


# What is not finite is told of where it is known which layer reads it.
@np.errstate(invalid="ignore", over="ignore")
def _fit(layer: Any, inputs: Batches, wanted: Wanted, outputs: np.ndarray, to_fit: int) -> str | None:
    """Gives a layer the weights that make up for what went before it, or says why it keeps its own."""
    if (number := inputs_of(layer)) > MOST_INPUTS:
        return f"it has {number} inputs, {MOST_INPUTS} are the most"
    batches = list(zip(inputs, wanted.positions, wanted.outputs, strict=True))
    fitted, held_back = (
        # One at a time: those of a wide layer take hundreds of megabytes.
        reduce(
            add,
            (
                Moments.of(patches(layer, x, at), given[:, outputs].astype(np.float64))
                for x, at, given in part
            ),
        )
        for part in (batches[:to_fit], batches[to_fit:])
    )
    response = Response.of(
        fitted,
        held_back,
        matrix_of(layer),
        np.asarray(layer.bias, np.float64) if layer.use_bias else None,
        np.full(number, -1),
    )
    everything = np.ones(number, bool)
    weights, why_not = best_of(response, everything, response.candidates(everything))
    write(layer, weights)
    return why_not


def _outputs_left(graph: ChannelGraph, keep: np.ndarray) -> dict[str, np.ndarray]:
    """Which outputs are left of each layer that is fitted: of those after the first that reads less."""
    uses = {use.path: use for use in graph.uses}
    found: dict[str, np.ndarray] = {}
    for path in fitted_paths(graph):
        (into, *_), (out, *_) = uses[path].inputs, uses[path].outputs
        assert into is not None
        if found or len(graph.kept(into, keep)) < len(into.ids):
            everything = np.arange(matrix_of(uses[path].op).shape[1])
            found[path] = everything if out is None else graph.kept(out, keep)
    return found


class _Targets:
    """What is wanted of layers, in whichever order they are asked for."""

    def __init__(self, wanted: Iterable[Wanted]) -> None:
        self._coming, self._come = iter(wanted), dict[str, Wanted]()

    def of(self, path: str) -> Wanted:
        """That of one layer, asked for once."""
        while path not in self._come:
            each = next(self._coming)
            self._come[each.path] = each
        return self._come.pop(path)


def _examples(calibration: Calibration) -> list[Batches]:
    """For each input of the model its batches, those of examples held back last."""
    batches = [
        inputs for part in (calibration.others, calibration.held_back) for inputs, _ in part.batches()
    ]
    return [list(each) for each in zip(*batches, strict=True)]


def _computed(node: Any, values: list[Batches], room: "_Room") -> list[Batches]:
    """What a layer or operation gives, for each of its outputs."""
    batches = []
    for tensors in zip(*values, strict=True):
        found = computed(node, [tf.constant(x) for x in tensors])
        batches.append([room.kept(np.asarray(each)) for each in found])
    return [list(each) for each in zip(*batches, strict=True)]


class _Room:
    """So many bytes of memory for arrays; they are free again when an array is no longer needed."""

    def __init__(self, free: int) -> None:
        self._free = free

    def kept(self, array: np.ndarray) -> np.ndarray:
        """The array, in a file where there is no room left for it."""
        if array.nbytes <= self._free:
            self._free -= array.nbytes
            weakref.finalize(array, self._give_back, array.nbytes)
            return array
        # Without a name: it is gone with the array.
        with tempfile.TemporaryFile() as file:
            file.write(np.ascontiguousarray(array).data)
            file.flush()
            return np.memmap(file, array.dtype, "r", shape=array.shape)

    def _give_back(self, size: int) -> None:
        self._free += size
