"""What a network costs with any number of its channels: plain data, without Keras or TensorFlow.

Every size of a tensor or a weight is a sum: channels that always stay, and so many for each unit of a
group that is kept. The costs of an assignment (how many units each group keeps) follow from the sizes,
without building a model. `pocketkube.graph.cost_model_of` makes the data from a Keras model.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import prod
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from pocketkube.errors import UserError

SCHEMA_VERSION = 1
# So many assignments are worked out at once: what that takes of memory stays small.
CHUNK = 256


@dataclass(frozen=True)
class Extent:
    """How long an axis is.

    Attributes:
        fixed: Positions that always stay.
        per_unit: For a group's name, positions that one kept unit adds: one number for each of the
            group's kinds of unit, as `ChannelGroup.order` numbers them.
    """

    fixed: int
    per_unit: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    def __str__(self) -> str:
        parts = [str(self.fixed)] if self.fixed or not self.per_unit else []
        for group, numbers in self.per_unit.items():
            times = "/".join(map(str, numbers))
            parts.append(group if times == "1" else f"{times}*{group}")
        return " + ".join(parts)


Shape = tuple[Extent, ...]


@dataclass(frozen=True)
class ChannelGroup:
    """Layers whose channels are cut together.

    Attributes:
        name: The path of the first layer that makes them; "/heads" follows for attention heads.
        size: How many units there are.
        step: Counts are multiples of this, or all units.
        least: The fewest units that may be kept.
        layers: The paths of all layers that make them.
        order: Of a group whose units are not alike, the kind of each unit, in the order in which they
            are kept; empty where all units are alike.
    """

    name: str
    size: int
    step: int
    least: int
    layers: tuple[str, ...]
    order: tuple[int, ...] = ()


@dataclass(frozen=True)
class Product:
    """Multiply-adds: a number times the lengths of some axes.

    Attributes:
        times: The number; a fraction where the multiply-adds are estimated.
        extents: The axes.
    """

    times: float
    extents: Shape = ()


@dataclass(frozen=True)
class CallShapes:
    """The tensors of one call of a layer, at batch size 1.

    Attributes:
        inputs: The shape of each input, without the batch: (height, width, channels) of an image.
        outputs: The shape of each output, likewise.
        products: The call's multiply-adds.
    """

    inputs: tuple[Shape, ...]
    outputs: tuple[Shape, ...]
    products: tuple[Product, ...]


@dataclass(frozen=True)
class Weight:
    """A weight of a layer.

    Attributes:
        name: Its name within the layer, as "kernel" or "query/kernel".
        shape: Its shape.
        counted: Whether it is counted at this layer; of layers that share one, the first counts it.
        inputs: Of a matrix, the axes of its input channels, which one output channel adds up.
    """

    name: str
    shape: Shape
    counted: bool = True
    inputs: tuple[int, ...] = (-2,)

    @property
    def is_matrix(self) -> bool:
        """Whether it multiplies channels: it has several axes, and is no bias of heads or gates."""
        return len(self.shape) > 1 and self.name.split("/")[-1] != "bias"


@dataclass(frozen=True)
class Layer:
    """A layer or operation of a network.

    Attributes:
        name: Its path: "backbone/conv1".
        kind: Its class: "Conv2D".
        reads: The paths of the layers that its first call's inputs come from; "" for an input of the
            network.
        calls: Its calls, in the order of computation.
        weights: Its weights.
        kernel_size: Of a convolution, or the pool size of a pooling.
        strides: Of a convolution or pooling.
        dilation_rate: Of a convolution.
        padding: "same", "valid" or "causal"; "" for a layer that has none.
        groups: Into how many groups a convolution splits its channels.
        depth_multiplier: Outputs for each input channel of a depthwise or separable convolution.
        use_bias: Whether it adds a bias.
        activation: The function that it ends with, as "relu"; "" for none.
        uncounted: What of it is in no cost, in words: "the operation PyFunc".
        estimated: Whether its multiply-adds are an estimate where channels are cut.
    """

    name: str
    kind: str
    reads: tuple[str, ...]
    calls: tuple[CallShapes, ...]
    weights: tuple[Weight, ...] = ()
    kernel_size: tuple[int, ...] = ()
    strides: tuple[int, ...] = ()
    dilation_rate: tuple[int, ...] = ()
    padding: str = ""
    groups: Extent = Extent(1)
    depth_multiplier: int = 1
    use_bias: bool = False
    activation: str = ""
    uncounted: tuple[str, ...] = ()
    estimated: bool = False


@dataclass(frozen=True)
class SizedCall:
    """One call of a layer at the sizes that an assignment leaves.

    Attributes:
        layer: The layer.
        inputs: The shape of each input, without the batch.
        outputs: The shape of each output.
        groups: Into how many groups a convolution splits its channels.
        macs: Multiply-adds.
    """

    layer: Layer
    inputs: tuple[tuple[int, ...], ...]
    outputs: tuple[tuple[int, ...], ...]
    groups: int
    macs: float


@dataclass(frozen=True)
class CostModel:
    """What a network costs, and which of its channels may go.

    An assignment says how many units each group keeps, by the group's name; a group that is not named
    keeps all.

    Attributes:
        network: The network's name.
        groups: Its groups, in the order of computation.
        layers: Its layers and operations, in the order of computation.
        left_whole: One sentence for each operation that has channels to lose and is left whole.

    Example:
        >>> wide = Extent(0, {"conv": (1,)})
        >>> conv = Layer("conv", "Conv2D", ("",), (), (Weight("kernel", (Extent(27), wide)),))
        >>> net = CostModel("net", (ChannelGroup("conv", 16, 8, 8, ("conv",)),), (conv,))
        >>> net.parameters(net.counts({"conv": 8}))
        216
    """

    network: str
    groups: tuple[ChannelGroup, ...]
    layers: tuple[Layer, ...]
    left_whole: tuple[str, ...] = ()

    @property
    def unknown(self) -> tuple[str, ...]:
        """Name and kind of each layer that may multiply what is not counted."""
        return tuple(f"{layer.name} ({layer.kind})" for layer in self.layers if layer.uncounted)

    @property
    def is_exact(self) -> bool:
        """Whether what is counted of any assignment is exact, and no estimate."""
        return not any(layer.estimated for layer in self.layers)

    @cached_property
    def sizes(self) -> np.ndarray:
        """How many units each group has, `[groups]`."""
        return np.array([group.size for group in self.groups], int)

    def counts(self, assignment: Mapping[str, int]) -> np.ndarray:
        """An assignment as one count for each group, `[groups]`.

        Raises:
            UserError: If there is no such group, or a count is not from 1 to the group's size.
        """
        names = {group.name for group in self.groups}
        for name in assignment:
            if name not in names:
                raise UserError(
                    f"{self.network} has no group of channels named {name}; there are: "
                    f"{', '.join(group.name for group in self.groups) or 'none'}."
                )
        counts = [int(assignment.get(group.name, group.size)) for group in self.groups]
        for group, count in zip(self.groups, counts, strict=True):
            if not 1 <= count <= group.size:
                raise UserError(
                    f"{group.name} has {group.size} units, of which 1 to {group.size} can be kept; "
                    f"received {count}."
                )
        return np.array(counts, int)

    def assignment(self, counts: Iterable[int]) -> dict[str, int]:
        """One count for each group as an assignment."""
        return {group.name: int(n) for group, n in zip(self.groups, counts, strict=True)}

    def macs(self, counts: ArrayLike) -> Any:
        """Multiply-adds at batch size 1; at least so many where there are `unknown` layers.

        Args:
            counts: One assignment, `[groups]`, or several, `[assignments, groups]`. An empty one, as
                `[]`, names no group: all keep all.

        Returns:
            Their number, or one for each assignment.

        Raises:
            UserError: If there are more or fewer counts than groups.
        """
        return self._each(self._compiled.macs, counts)

    def parameters(self, counts: ArrayLike) -> Any:
        """Numbers in all weights, trainable or not; see `macs` for arguments, result and errors."""
        return self._each(self._compiled.parameters, counts)

    def weight_sizes(self, counts: ArrayLike) -> np.ndarray:
        """Numbers in each weight, in the order of layers and their weights, `[assignments, weights]`.

        Of a weight that is counted at another layer: 0.

        Args:
            counts: Assignments, `[assignments, groups]`; see `macs`.
        """
        return self._compiled.weights(self._compiled.lengths(self._rows(counts)))

    def lengths(self, extents: Sequence[Extent], counts: ArrayLike) -> np.ndarray:
        """How long some of the network's axes are, `[assignments, extents]`.

        Args:
            extents: Axes of its layers' tensors and weights.
            counts: Assignments, `[assignments, groups]`; see `macs`.
        """
        places = [self._compiled.numbers[_key(extent)] for extent in extents]
        return self._compiled.lengths(self._rows(counts))[:, places]

    def sized(self, assignment: Mapping[str, int]) -> tuple[SizedCall, ...]:
        """Every call of every layer at the sizes that an assignment leaves."""
        lengths = self._compiled.lengths(self.counts(assignment)[None])[0]
        known = self._compiled.numbers

        def length(extent: Extent) -> int:
            return int(lengths[known[_key(extent)]])

        def shapes(of: tuple[Shape, ...]) -> tuple[tuple[int, ...], ...]:
            return tuple(tuple(map(length, shape)) for shape in of)

        return tuple(
            SizedCall(
                layer,
                shapes(call.inputs),
                shapes(call.outputs),
                length(layer.groups),
                sum(p.times * prod(map(length, p.extents)) for p in call.products),
            )
            for layer in self.layers
            for call in layer.calls
        )

    def with_groups(self, groups: Sequence[ChannelGroup]) -> "CostModel":
        """The same network with other steps, least counts or orders of its groups."""
        return replace(self, groups=tuple(groups))

    def to_json(self) -> str:
        """Everything, as JSON that `from_json` reads."""
        return json.dumps(_plain(self) | {"schema_version": SCHEMA_VERSION})

    @classmethod
    def from_json(cls, text: str) -> "CostModel":
        """What `to_json` wrote.

        Raises:
            UserError: If the text is none, or of a version that this one does not know.
        """
        try:
            facts = json.loads(text)
            version = facts.pop("schema_version")
        except (ValueError, KeyError, AttributeError, TypeError):
            raise UserError("This is no cost model: it has to be JSON with a schema_version.") from None
        if version != SCHEMA_VERSION:
            raise UserError(
                f"The cost model has the schema_version {version}; this version of PocketKube reads "
                f"{SCHEMA_VERSION}."
            )
        return _model_from(facts)

    def _rows(self, counts: ArrayLike) -> np.ndarray:
        """Assignments with a count for each group, `[assignments, groups]`."""
        rows = np.atleast_2d(np.asarray(counts, int))
        if not rows.shape[1]:
            rows = np.tile(self.sizes, (len(rows), 1))
        if rows.shape[1] != len(self.groups):
            raise UserError(
                f"{self.network}: an assignment has a count for each group of channels, "
                f"{len(self.groups)} in all; received {rows.shape[1]}."
            )
        return rows

    def _each(self, cost: Callable[[np.ndarray], np.ndarray], counts: ArrayLike) -> Any:
        """The costs of one assignment or several; of one, whole costs as integers."""
        rows = self._rows(counts)
        starts = range(0, max(len(rows), 1), CHUNK)
        found = np.concatenate([cost(rows[at : at + CHUNK]) for at in starts])
        if np.ndim(counts) > 1:
            return found
        return int(found[0]) if float(found[0]).is_integer() else float(found[0])

    @cached_property
    def _compiled(self) -> "_Compiled":
        return _Compiled(self)


class _Compiled:
    """The same as arrays: all lengths of many assignments are one product of matrices."""

    def __init__(self, model: CostModel) -> None:
        self._kinds = [max(group.order, default=0) + 1 for group in model.groups]
        self._first = np.cumsum([0, *self._kinds])
        # All columns of all groups' tables one after the other, so that one look-up finds all.
        tables = [_kept_of_each_kind(group).T for group in model.groups]
        self._table = np.concatenate([np.empty(0), *(column for each in tables for column in each)])
        self._group_of_column = np.repeat(np.arange(len(tables)), self._kinds)
        sizes = np.array([each.shape[1] for each in tables], int)[self._group_of_column]
        self._starts = np.cumsum(sizes) - sizes
        self._columns = {
            group.name: first for group, first in zip(model.groups, self._first, strict=False)
        }
        self.numbers: dict[tuple[Any, ...], int] = {}
        self._extents: list[Extent] = []
        self._one = self._number(Extent(1))
        products: list[Product] = []
        weights: list[Product] = []
        for layer in model.layers:
            self._number(layer.groups)
            for call in layer.calls:
                for shape in (*call.inputs, *call.outputs):
                    self._places(shape)
                products += call.products
            weights += [Product(float(weight.counted), weight.shape) for weight in layer.weights]
        self._product_times, self._products = self._arrays(products)
        self._weight_times, self._weights = self._arrays(weights)
        self._fixed = np.array([extent.fixed for extent in self._extents], float)
        self._per_unit = np.zeros((self._first[-1], len(self._extents)))
        for number, extent in enumerate(self._extents):
            for name, numbers in extent.per_unit.items():
                start = self._columns[name]
                self._per_unit[start : start + len(numbers), number] = numbers

    def lengths(self, rows: np.ndarray) -> np.ndarray:
        """The length of every extent, `[assignments, extents]`; whole numbers, exact as floats."""
        kept = self._table[self._starts + np.asarray(rows)[:, self._group_of_column]]
        return self._fixed + kept @ self._per_unit

    def macs(self, rows: np.ndarray) -> np.ndarray:
        """Multiply-adds of each assignment."""
        return self.lengths(rows)[:, self._products].prod(axis=2) @ self._product_times

    def parameters(self, rows: np.ndarray) -> np.ndarray:
        """Numbers in all weights for each assignment."""
        return self.weights(self.lengths(rows)).sum(axis=1)

    def weights(self, lengths: np.ndarray) -> np.ndarray:
        """Numbers in each weight, `[assignments, weights]`."""
        return lengths[:, self._weights].prod(axis=2) * self._weight_times

    def _number(self, extent: Extent) -> int:
        key = _key(extent)
        if key not in self.numbers:
            self.numbers[key] = len(self._extents)
            self._extents.append(extent)
        return self.numbers[key]

    def _places(self, shape: Shape) -> list[int]:
        return [self._number(extent) for extent in shape]

    def _arrays(self, products: Sequence[Product]) -> tuple[np.ndarray, np.ndarray]:
        """Factors `[products]` and the numbers of their extents `[products, most axes]`."""
        places = [self._places(product.extents) for product in products]
        most = max(map(len, places), default=0)
        padded = [each + [self._one] * (most - len(each)) for each in places]
        numbers = np.array(padded, int).reshape(len(places), most)
        return np.array([product.times for product in products], float), numbers


def _key(extent: Extent) -> tuple[Any, ...]:
    return (extent.fixed, *sorted(extent.per_unit.items()))


def _kept_of_each_kind(group: ChannelGroup) -> np.ndarray:
    """How many units of each kind are kept, for each count from 0 on: `[size + 1, kinds]`."""
    order = np.array(group.order or (0,) * group.size, int)
    one_hot = order[:, None] == np.arange(order.max(initial=0) + 1)
    return np.concatenate([np.zeros((1, one_hot.shape[1])), np.cumsum(one_hot, axis=0)])


def _plain(value: Any) -> Any:
    """A value as JSON has it: an extent that is fixed is a number, what is empty is left out."""
    if isinstance(value, Extent):
        if not value.per_unit:
            return value.fixed
        return {"fixed": value.fixed, "per_unit": {k: list(v) for k, v in value.per_unit.items()}}
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    if isinstance(value, CostModel | ChannelGroup | Layer | CallShapes | Product | Weight):
        fields = value.__dataclass_fields__
        items = ((name, getattr(value, name), fields[name].default) for name in fields)
        return {name: _plain(each) for name, each, default in items if each != default}
    return value


def _extent(value: Any) -> Extent:
    if isinstance(value, int):
        return Extent(value)
    return Extent(value["fixed"], {name: tuple(each) for name, each in value["per_unit"].items()})


def _shape(values: Any) -> Shape:
    return tuple(map(_extent, values))


def _call(facts: Mapping[str, Any]) -> CallShapes:
    return CallShapes(
        inputs=tuple(map(_shape, facts["inputs"])),
        outputs=tuple(map(_shape, facts["outputs"])),
        products=tuple(
            Product(each["times"], _shape(each.get("extents", ()))) for each in facts["products"]
        ),
    )


def _layer(facts: Mapping[str, Any]) -> Layer:
    nested = ("calls", "weights", "groups")
    return Layer(
        **_fields({name: value for name, value in facts.items() if name not in nested}),
        calls=tuple(map(_call, facts["calls"])),
        weights=tuple(
            Weight(**_fields(each | {"shape": _shape(each["shape"])}))
            for each in facts.get("weights", ())
        ),
        groups=_extent(facts.get("groups", 1)),
    )


def _model_from(facts: Mapping[str, Any]) -> CostModel:
    return CostModel(
        network=facts["network"],
        groups=tuple(ChannelGroup(**_fields(each)) for each in facts["groups"]),
        layers=tuple(map(_layer, facts["layers"])),
        left_whole=tuple(facts.get("left_whole", ())),
    )


def _fields(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Values of fields, lists as the tuples that they were."""
    return {name: tuple(v) if isinstance(v, list) else v for name, v in facts.items()}
