"""Fits the next layers' weights to what they gave before channels went, in closed form.

Channel selection by LASSO and least-squares reconstruction (He et al., 2017), as PocketFlow does
them: layer by layer, inputs from the already pruned network, targets from the original one. Where
channels are coupled, one selection serves all layers that read them.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from pocketkube.graph.dependency import ChannelGraph, Group
from pocketkube.graph.kinds import computes_as
from pocketkube.graph.matrices import consumers, inner_consumers
from pocketkube.graph.replay import AllSeenError, replay
from pocketkube.pruning.calibration import Calibration

POSITIONS = 64
# What is tried for the ridge, in parts of the largest eigenvalue of the inputs' Gram matrix.
RIDGES = tuple(10.0**power for power in range(-8, 1))
# A fit is taken where it leaves at most this part of the error of the weights as they were cut,
BETTER = 0.99
# and where no weight is larger than so many times the layer's largest before.
LARGEST_GROWTH = 4.0
# Outputs that differ by less than this part of their size are taken for the same.
SAME = 1e-9
# With more inputs, its Gram matrices alone would take a gigabyte.
MOST_INPUTS = 8192


@dataclass(frozen=True)
class Moments:
    """Sums over rows of patches `x` and wanted outputs `y`, bias left out: of fixed size.

    Attributes:
        count: Rows.
        gram: `sum x xT`, `[patch, patch]`.
        cross: `sum x yT`, `[patch, outputs]`.
        inputs: `sum x`, `[patch]`.
        outputs: `sum y`, `[outputs]`.
        square: `sum |y|²`.
    """

    count: int
    gram: np.ndarray
    cross: np.ndarray
    inputs: np.ndarray
    outputs: np.ndarray
    square: float

    @classmethod
    def of(cls, rows: np.ndarray, wanted: np.ndarray) -> "Moments":
        """Those of some rows."""
        square = float(np.square(wanted).sum())
        return cls(
            len(rows), rows.T @ rows, rows.T @ wanted, rows.sum(axis=0), wanted.sum(axis=0), square
        )

    def __add__(self, other: "Moments") -> "Moments":
        mine, theirs = vars(self).values(), vars(other).values()
        return Moments(*(a + b for a, b in zip(mine, theirs, strict=True)))

    def error(self, matrix: np.ndarray, offset: np.ndarray) -> float:
        """Mean over rows of `|y - matrixT x - offset|²`."""
        product = self.gram @ matrix
        total = self.square + float(((product - 2 * self.cross) * matrix).sum())
        total += float(
            (offset * (2 * (self.inputs @ matrix - self.outputs) + self.count * offset)).sum()
        )
        return max(total, 0.0) / self.count


@dataclass(frozen=True)
class Response:
    """What a layer reads and what it should give.

    A bias makes up for means: where the layer has one, `gram` and `cross` are about the mean, else
    about zero.

    Attributes:
        gram: Of the layer's inputs as rows of patches, `[patch, patch]`.
        cross: Of these with the wanted outputs, bias left out, `[patch, outputs]`.
        input_mean: Of the patches, `[patch]`.
        output_mean: Of the wanted outputs, `[outputs]`.
        units: Unit of each patch entry, or -1.
        matrix: The layer's kernel as it is, `[patch, outputs]`.
        bias: The original layer's, `[outputs]`; zeros where it has none.
        held_back: The same sums over examples that the others leave out.
        has_bias: Whether the layer has one.
    """

    gram: np.ndarray
    cross: np.ndarray
    input_mean: np.ndarray
    output_mean: np.ndarray
    units: np.ndarray
    matrix: np.ndarray
    bias: np.ndarray
    held_back: Moments
    has_bias: bool

    @classmethod
    def of(
        cls,
        fitted: Moments,
        held_back: Moments,
        matrix: np.ndarray,
        bias: np.ndarray | None,
        units: np.ndarray,
    ) -> "Response":
        """Of sums over examples.

        Args:
            fitted: Over those to fit to.
            held_back: Over those that tell how good a fit is.
            matrix: See the class.
            bias: The original layer's; None where it has none.
            units: See the class.
        """
        free, count = float(bias is not None), fitted.count
        input_mean, output_mean = free * fitted.inputs / count, free * fitted.outputs / count
        return cls(
            fitted.gram - count * np.outer(input_mean, input_mean),
            fitted.cross - count * np.outer(input_mean, output_mean),
            input_mean,
            output_mean,
            units,
            matrix,
            np.zeros(len(output_mean)) if bias is None else bias,
            held_back,
            bias is not None,
        )

    def contributions(self, members: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Gram of what the units `members` add to the output, and its products with the target.

        The target is what the layer should give, less what it gets from all other channels.
        """
        position = {unit: i for i, unit in enumerate(members)}
        which = np.array([position.get(unit, -1) for unit in self.units])
        mine, others = which >= 0, which < 0
        wanted = self.cross - self.gram[:, others] @ self.matrix[others]
        sums = np.zeros((len(members), int(mine.sum())))
        sums[which[mine], np.arange(int(mine.sum()))] = 1.0
        products = self.gram[np.ix_(mine, mine)] * (self.matrix[mine] @ self.matrix[mine].T)
        return sums @ products @ sums.T, sums @ (wanted[mine] * self.matrix[mine]).sum(axis=1)

    def kept(self, keep_units: np.ndarray) -> np.ndarray:
        """Which patch entries belong to the units in the mask `keep_units`, or to none."""
        return (self.units < 0) | keep_units[self.units]

    def cut(self, keep: np.ndarray) -> "Weights":
        """The weights as they are with only the patch entries `keep`, the bias the original's."""
        return Weights(np.where(keep[:, None], self.matrix, 0.0), self.bias)

    def candidates(self, keep: np.ndarray) -> Iterator["Weights"]:
        """Weights that are fitted with only the patch entries `keep`, the most regularised first.

        First the bias alone is. Then a ridge holds the weights to what they are, not to zero, where the
        inputs say little; it falls from the largest eigenvalue of the Gram matrix to next to nothing.
        """
        cut = self.cut(keep).matrix
        if self.has_bias:
            yield self.with_bias(cut)
        eigenvalues, vectors = np.linalg.eigh(self.gram[np.ix_(keep, keep)])
        largest = eigenvalues[-1] if len(eigenvalues) else 0.0
        if not largest > 0:
            return
        eigenvalues = np.maximum(eigenvalues, 0.0)
        missing = vectors.T @ (self.cross[keep] - self.gram[keep] @ cut)
        for ridge in reversed(RIDGES):
            matrix = cut.copy()
            matrix[keep] += vectors @ (missing / (eigenvalues + ridge * largest)[:, None])
            yield self.with_bias(matrix)

    def with_bias(self, matrix: np.ndarray) -> "Weights":
        """A kernel with the bias that gives the wanted mean."""
        return Weights(matrix, self.bias + self.output_mean - self.input_mean @ matrix)

    def error(self, weights: "Weights") -> float:
        """The mean squared error of the outputs, on the examples held back."""
        return self.held_back.error(weights.matrix, weights.bias - self.bias)

    def growth(self, weights: "Weights") -> float:
        """How many times larger than the layer's largest weight the largest of `weights` is."""
        return float(np.abs(weights.matrix).max() / max(np.abs(self.matrix).max(), TINY))

    @property
    def is_finite(self) -> bool:
        """Whether all that was seen is a number."""
        return bool(
            np.isfinite(self.gram).all()
            and np.isfinite(self.cross).all()
            and np.isfinite(self.held_back.gram).all()
            and np.isfinite(self.held_back.cross).all()
        )


@dataclass(frozen=True)
class Weights:
    """What a layer computes with.

    Attributes:
        matrix: Its kernel, `[patch, outputs]`.
        bias: `[outputs]`.
    """

    matrix: np.ndarray
    bias: np.ndarray


TINY = 1e-30


def best_of(
    response: Response, keep: np.ndarray, candidates: Iterable[Weights]
) -> tuple[Weights, str | None]:
    """Which weights a layer is to have: the best on examples that none of them was fitted to.

    Args:
        response: What the layer reads.
        keep: The patch entries that are left.
        candidates: Fitted weights.

    Returns:
        The weights, and why those as they were cut are kept where they are; None where a fit is taken
        or there was nothing to make up for.
    """
    cut = response.cut(keep)
    if not response.is_finite:
        return cut, "what goes in is not finite on all examples"
    error = response.error(cut)
    if error <= SAME * response.held_back.square / response.held_back.count:
        return cut, None
    limit, best = BETTER * error, cut
    least, refused, growth = limit, np.inf, 0.0
    for weights in candidates:
        found = response.error(weights)
        if response.growth(weights) > LARGEST_GROWTH:
            if found < refused:
                refused, growth = found, response.growth(weights)
        elif found < least:
            least, best = found, weights
    if best is not cut:
        return best, None
    if refused < limit:
        return cut, f"its largest weight would be {growth:.3g} times as large"
    return cut, "on examples held back, outputs would be no nearer to what they were"


FITTED = (keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D, keras.layers.Dense)


def readers(graph: ChannelGraph, group: Group) -> list[str]:
    """Paths of the convolutions and dense layers that read a group and can be fitted."""
    layers = {use.path: use.op for use in graph.uses}
    return [
        side.path
        for side in consumers(graph)
        if computes_as(layers[side.path]) in FITTED
        and getattr(layers[side.path], "groups", 1) == 1
        and np.isin(side.units, group.units).any()
    ]


# What is not finite is told of where it is known which layer reads it.
@np.errstate(invalid="ignore", over="ignore")
def measure(
    pruned: keras.Model,
    original: keras.Model,
    graph: ChannelGraph,
    paths: Sequence[str],
    calibration: Calibration,
    rng: np.random.Generator,
) -> dict[str, Response]:
    """Runs both networks over the examples and sums up what the layers at `paths` read.

    Args:
        pruned: The network so far, with all its channels; those that went add nothing.
        original: The network as it was.
        graph: The channel graph of `pruned`.
        paths: Layers to measure.
        calibration: Examples.
        rng: Draws the image positions that are looked at.

    Returns:
        A response for each path.
    """
    now = {use.path: use.op for use in graph.uses}
    units = {side.path: side.units for side in consumers(graph)}
    before_layers: dict[str, Any] = {}

    def total(examples: Calibration) -> dict[str, Moments]:
        totals: dict[str, Moments] = {}
        for inputs, _ in examples.batches():
            tensors = [tf.constant(x) for x in inputs]
            before, after = _Inputs(paths), _Inputs(paths)
            for network, seen in ((original, before), (pruned, after)):
                with suppress(AllSeenError):
                    replay(network, tensors, seen)
            before_layers.update(before.layers)
            for path in paths:
                positions = drawn_positions(now[path], after.seen[path], rng)
                rows = patches(now[path], after.seen[path], positions)
                wanted = patches(before.layers[path], before.seen[path], positions)
                found = Moments.of(rows, wanted @ matrix_of(before.layers[path]))
                totals[path] = totals[path] + found if path in totals else found
        return totals

    if calibration.can_be_fitted_to:
        fitted, held_back = total(calibration.others), total(calibration.held_back)
    else:
        # Enough to choose by; nothing is fitted to them.
        fitted = held_back = total(calibration)
    return {
        path: _response(now[path], before_layers[path], fitted[path], held_back[path], units[path])
        for path in paths
    }


def _response(
    layer: Any, original: Any, fitted: Moments, held_back: Moments, units: np.ndarray
) -> Response:
    bias = np.asarray(original.bias, np.float64) if original.use_bias else None
    entries = np.tile(units, len(fitted.gram) // len(units))
    return Response.of(fitted, held_back, matrix_of(layer), bias, entries)


def write_fit(layer: Any, response: Response, keep_units: np.ndarray) -> str | None:
    """Gives `layer` weights that make up for the units that are not in the mask `keep_units`.

    Returns:
        Why it keeps those it has, where it does and something was to be made up for.
    """
    keep = response.kept(keep_units)
    weights, why_not = best_of(response, keep, response.candidates(keep))
    write(layer, weights)
    return why_not


def keep_where_better(layer: Any, response: Response, keep_units: np.ndarray, *, fits: bool) -> None:
    """Leaves `layer` the weights that it was given since `response` was measured, if they are better.

    Args:
        layer: The layer.
        response: Measured with the weights that it had before.
        keep_units: Mask of the units that are left.
        fits: Whether there are examples enough to tell.
    """
    keep = response.kept(keep_units)
    bias = np.asarray(layer.bias, np.float64) if layer.use_bias else response.bias
    given = Weights(np.where(keep[:, None], matrix_of(layer), 0.0), bias)
    weights, _ = best_of(response, keep, [given] if fits else [])
    write(layer, weights)


def inputs_of(layer: Any) -> int:
    """How many inputs each output of a layer has: the size of a patch."""
    return int(np.prod(layer.kernel.shape[:-1]))


def write(layer: Any, weights: Weights) -> None:
    """Gives a layer weights."""
    layer.kernel.assign(weights.matrix.reshape(layer.kernel.shape))
    if layer.use_bias:
        layer.bias.assign(weights.bias)


def silence(graph: ChannelGraph, gone: np.ndarray) -> None:
    """Sets the weights that read the units in the mask `gone` to zero, as if they were cut."""
    for side in (*consumers(graph), *inner_consumers(graph)):
        out = np.flatnonzero((side.units >= 0) & gone[side.units])
        if len(out):
            weight = np.moveaxis(np.array(side.weight), side.axis, 0)
            weight[out] = 0.0
            side.weight.assign(np.moveaxis(weight, 0, side.axis))


class _Inputs:
    """A tap that remembers what goes into some layers, and stops at the last of them."""

    def __init__(self, paths: Sequence[str]) -> None:
        self._paths = set(paths)
        self.seen: dict[str, tf.Tensor] = {}
        self.layers: dict[str, Any] = {}

    def __call__(self, path: str, op: Any, tensors: list[tf.Tensor]) -> list[tf.Tensor]:
        if path in self._paths:
            self.seen[path], self.layers[path] = tensors[0], op
            if len(self.seen) == len(self._paths):
                raise AllSeenError
        return tensors


def drawn_positions(layer: Any, x: Any, rng: np.random.Generator) -> np.ndarray:
    """Which of a layer's output positions are looked at: numbers that count them row by row.

    Args:
        layer: A convolution or Dense.
        x: What goes in, `[batch, …, channels]`.
        rng: Draws where there are more than `POSITIONS`.
    """
    if isinstance(layer, keras.layers.Dense):
        count = int(np.prod(x.shape[1:-1]))
    else:
        count = int(np.prod([each.outputs for each in _windows(layer, x)]))
    return rng.choice(count, POSITIONS, replace=False) if count > POSITIONS else np.arange(count)


def patches(layer: Any, x: Any, positions: np.ndarray) -> np.ndarray:
    """What a layer reads at some of its output positions, as rows, `[batch · positions, patch]`.

    Args:
        layer: A convolution or Dense.
        x: What goes in, `[batch, …, channels]`.
        positions: As `drawn_positions` gives them.
    """
    values = np.asarray(x)
    if isinstance(layer, keras.layers.Dense):
        rows = values.reshape(len(values), -1, values.shape[-1])[:, positions]
    else:
        windows = _windows(layer, values)
        padded = np.pad(values, ((0, 0), *(each.padding for each in windows), (0, 0)))
        places = np.unravel_index(positions, [each.outputs for each in windows])
        seen: list[Any] = []
        for axis, (window, place) in enumerate(zip(windows, places, strict=True)):
            along = [len(positions), *[1] * len(windows)]
            along[1 + axis] = len(window.offsets)
            seen.append(window.seen_at(place).reshape(along))
        rows = padded[(slice(None), *seen)]
    return rows.reshape(-1, inputs_of(layer)).astype(np.float64)


@dataclass(frozen=True)
class _Window:
    """What a convolution's outputs read along one axis.

    Attributes:
        outputs: How many there are.
        padding: Zeros before the inputs and after them.
        stride: From one output's first input to the next one's.
        offsets: Of an output's inputs from its first, `[kernel]`.
    """

    outputs: int
    padding: tuple[int, int]
    stride: int
    offsets: np.ndarray

    def seen_at(self, outputs: np.ndarray) -> np.ndarray:
        """The padded inputs that outputs read, `[outputs, kernel]`."""
        return outputs[:, None] * self.stride + self.offsets


def _windows(layer: Any, x: Any) -> list[_Window]:
    return [
        _window(size, kernel, stride, dilation, layer.padding)
        for size, kernel, stride, dilation in zip(
            x.shape[1:-1], layer.kernel_size, layer.strides, layer.dilation_rate, strict=True
        )
    ]


def _window(size: int, kernel: int, stride: int, dilation: int, padding: str) -> _Window:
    offsets = np.arange(kernel) * dilation
    width = int(offsets[-1]) + 1
    if padding == "causal":
        return _Window((size - 1) // stride + 1, (width - 1, 0), stride, offsets)
    if padding == "valid":
        return _Window((size - width) // stride + 1, (0, 0), stride, offsets)
    outputs = -(-size // stride)
    # TensorFlow's rule: what is odd goes behind.
    missing = max((outputs - 1) * stride + width - size, 0)
    return _Window(outputs, (missing // 2, missing - missing // 2), stride, offsets)


def matrix_of(layer: Any) -> np.ndarray:
    """A layer's kernel, `[patch, outputs]`."""
    kernel = np.asarray(layer.kernel, np.float64)
    return kernel.reshape(-1, kernel.shape[-1])
