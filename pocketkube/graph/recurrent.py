"""Recurrent layers: the cells that they step through a sequence, and how units travel through them.

A unit of a recurrent layer is one number of its state. Its columns in the kernels of all gates make it,
its row in the recurrent kernel is read by the layer itself, at the next step.
"""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from pocketkube.graph.channel_flow import ChannelFlow, held_where_mixed
from pocketkube.graph.channels import Channels
from pocketkube.graph.kinds import computes_as
from pocketkube.graph.layer_rules import known_as

layers = keras.layers

# How many gates lie side by side in a cell's weights, each as wide as there are units.
GATES: Mapping[type, int] = {layers.LSTMCell: 4, layers.GRUCell: 3, layers.SimpleRNNCell: 1}
RECURRENT = (layers.LSTM, layers.GRU, layers.SimpleRNN, layers.RNN, layers.Bidirectional)


def cells_of(op: Any) -> tuple[Any, ...]:
    """The cell that a recurrent layer steps, or that of each direction; none of any other layer."""
    return _cells(op) if known_as(op) in RECURRENT and obstacle(op) is None else ()


def gates_of(cell: Any) -> int:
    """How many gates lie side by side in a cell's weights."""
    return GATES[computes_as(cell)]


def obstacle(op: Any) -> str | None:
    """Why a layer that goes through a sequence loses nothing; None where it may, and for all others."""
    if known_as(op) is layers.TimeDistributed and computes_as(op.layer) is not layers.Dense:
        return f"gives each step to a {type(op.layer).__name__}, which is known only outside of it"
    if known_as(op) not in RECURRENT:
        return None
    for direction in _directions(op):
        if known_as(direction) not in RECURRENT:
            return f"steps a {type(direction).__name__}, which is not known"
    found = _cells(op)
    for cell in found:
        if isinstance(cell, layers.StackedRNNCells):
            return "has several cells, which hand units on within a step; give each a layer of its own"
        if computes_as(cell) not in GATES:
            return f"steps a {type(cell).__name__}, which is not known"
    if len({(computes_as(cell), cell.units) for cell in found}) > 1:
        return "has directions that differ in their cells or units"
    return None


def _directions(op: Any) -> tuple[Any, ...]:
    """The layers that go through a sequence: one for each direction."""
    return (op.forward_layer, op.backward_layer) if isinstance(op, layers.Bidirectional) else (op,)


def _cells(op: Any) -> tuple[Any, ...]:
    return tuple(each.cell for each in _directions(op))


def recurrent_channels(call: ChannelFlow) -> list[Channels | None]:
    """The units of a recurrent layer, in its outputs and in the states that it takes and gives.

    Of a bidirectional layer, units of the same number are cut together: all ways to merge directions
    but one need that, and that one needs directions of the same size.
    """
    op: Any = call.op
    call.last()
    cells = cells_of(op)
    units = call.ledger.fresh(id(op), cells[0].units)
    for cell in cells:
        held_where_mixed(call, cell.activation, units)
        held_where_mixed(call, getattr(cell, "recurrent_activation", None), units)
    for position in _initial_states(call, units):
        call.tie(units, call.last(position))
    state = Channels(-1, units)
    merges = getattr(op, "merge_mode", "")
    ends: list[Channels | None] = [state] * (2 if merges is None else 1)
    if merges == "concat":
        ends = [Channels(-1, np.tile(units, 2))]
    return ends + [state] * (len(call.out_shapes) - len(ends))


def _initial_states(call: ChannelFlow, units: np.ndarray) -> list[int]:
    """Which of a call's input tensors are states to begin with."""
    args, kwargs = call.arguments.args, call.arguments.kwargs
    given = keras.tree.flatten(kwargs.get("initial_state", args[1] if len(args) > 1 else None))
    states = {id(x) for x in given if isinstance(x, keras.KerasTensor)}
    if any(x is not None and id(x) not in states for x in given):
        call.hold("it begins with states that are written into the network", units)
    tensors = [x for x in keras.tree.flatten((args, kwargs)) if isinstance(x, keras.KerasTensor)]
    return [position for position, tensor in enumerate(tensors) if id(tensor) in states]


def along_gates(positions: np.ndarray, size: int, gates: int) -> np.ndarray:
    """Positions of units along an axis that has all gates side by side.

    Args:
        positions: Of the units in one gate.
        size: How many units a gate has.
        gates: How many gates there are.
    """
    return (positions + size * np.arange(gates)[:, None]).ravel()


def resized(config: Mapping[str, Any], units: int) -> dict[str, Any]:
    """The entries of a recurrent layer's config that change with its units or with what it reads."""
    changes: dict[str, Any] = {"units": units} if "units" in config else {}
    for key in ("layer", "backward_layer", "cell"):
        inner = config.get(key)
        if isinstance(inner, Mapping):
            # What it was built for is no longer what it will read.
            kept = {name: value for name, value in inner.items() if name != "build_config"}
            changes[key] = {**kept, "config": {**inner["config"], **resized(inner["config"], units)}}
    return changes
