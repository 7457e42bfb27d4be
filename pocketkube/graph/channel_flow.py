"""One call of an operation, as the rules see it that say how channels travel through operations."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from pocketkube.graph.channels import FIXED, Channels, Hold, Ledger
from pocketkube.shapes import Shape


@dataclass(frozen=True)
class ChannelFlow:
    """One call of an operation in the graph.

    Attributes:
        op: The layer or operation.
        path: Its name, with those of the models around it.
        shapes: Shapes of the input tensors, batch axis included.
        channels: Their channels; None where an axis that could be cut is not known.
        out_shapes: Shapes of the output tensors.
        arguments: The call's positional and keyword arguments, as they were given.
        ledger: Where ties are written down.
    """

    op: Any
    path: str
    shapes: Sequence[Shape]
    channels: Sequence[Channels | None]
    out_shapes: Sequence[Shape]
    arguments: Any
    ledger: Ledger

    def last(self, position: int = 0) -> np.ndarray:
        """Channel numbers along the last axis of an input; fixed ones where they are elsewhere."""
        channels = self.channels[position]
        size = self.shapes[position][-1]
        if channels is not None and channels.axis == -1:
            return channels.ids
        if channels is not None:
            self.hold("it reads the last axis, and what may be cut lies along another", channels.ids)
        if size is None:
            raise ValueError(f"the last axis of {self.path} has no fixed size")
        return np.full(size, FIXED)

    def fix_all(self, why: str = "") -> None:
        """Fixes every channel that comes in.

        Args:
            why: What users are told, in words that follow the operation's name and a colon.
        """
        for channels in self.channels:
            if channels is not None:
                self.hold(why, channels.ids)

    def hold(self, why: str, ids: np.ndarray) -> None:
        """Fixes the channels `ids`, and says why."""
        self.ledger.fix(ids, self._reason(why) if why else None)

    def tie(self, one: np.ndarray, other: np.ndarray) -> None:
        """Says that two inputs' channels, position by position, are kept or cut together."""
        self.ledger.tie(one, other, self._reason(WITH_OTHERS))

    def _reason(self, why: str) -> Hold:
        return Hold(self.path, type(self.op).__name__, why)


def held_where_mixed(call: ChannelFlow, activation: Any, ids: np.ndarray) -> None:
    """Fixes channels that an activation mixes with the others."""
    if why := why_held(activation):
        call.hold(why, ids)


def left_whole(call: ChannelFlow, why: str) -> Channels | None:
    """Fixes every channel that comes in to a call, and gives none for what goes out."""
    call.fix_all(why)
    return None


def made(call: ChannelFlow, count: int, axis: int = -1) -> Channels | None:
    """The `count` channels that a layer makes along an axis."""
    ids = call.ledger.fresh(id(call.op), count)
    activation = getattr(call.op, "activation", None)
    why = why_held(activation)
    if halves(activation):
        call.hold(why, ids)
        return left_whole(call, why)
    if why and axis == -1:
        call.hold(why, ids)
    return Channels(axis, ids)


def why_held(activation: Any) -> str:
    """Why channels stay that an activation is given, in words that follow a layer's name and a colon.

    Empty where they may go, for it changes each number by itself. An activation reads the last axis.
    """
    activation = _itself(activation)
    if activation is None or isinstance(activation, ELEMENTWISE_LAYERS):
        return ""
    name = _name_of(activation)
    if isinstance(activation, keras.layers.Layer) and not isinstance(activation, keras.layers.Softmax):
        return AS_ACTIVATION.format(name)
    if getattr(activation, "__module__", "").startswith("keras."):
        return MIXED.format(name) if name.lower() in MIXING else ""
    return "" if _is_elementwise(activation) else MIXED.format(name)


def halves(activation: Any) -> bool:
    """Whether an activation gives half as many channels as it is given."""
    return _name_of(_itself(activation)) == "glu"


def _itself(activation: Any) -> Any:
    """What the layer Activation applies, where an activation is one."""
    while isinstance(activation, keras.layers.Activation):
        activation = activation.activation
    return activation


def _name_of(activation: Any) -> str:
    return str(getattr(activation, "__name__", type(activation).__name__))


def _is_elementwise(function: Any) -> bool:
    """Whether a function of the user's own changes each channel by itself, as it is tried."""
    x = np.random.default_rng(0).normal(size=(2, 3, 8)).astype("float32")
    changed = x.copy()
    changed[..., 0] += 1
    try:
        before, after = (
            np.asarray(function(keras.ops.convert_to_tensor(each))) for each in (x, changed)
        )
    # Whatever a function of somebody else's raises: then nothing is known of it.
    except Exception:
        return False
    return before.shape == x.shape and np.array_equal(before[..., 1:], after[..., 1:])


Rule = Callable[[ChannelFlow], Channels | list[Channels | None] | None]
WITH_OTHERS = "it joins them with channels that stay, as those of the model's inputs do"
MIXED = "{} mixes all channels, so that none of them is what it was without the others"
MIXING = ("softmax", "log_softmax", "sparsemax", "glu")
AS_ACTIVATION = "its activation is the layer {}, which can be cut only as a layer behind this one"
ELEMENTWISE_LAYERS = (keras.layers.ReLU, keras.layers.LeakyReLU, keras.layers.ELU)
