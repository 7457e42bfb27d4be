"""Finds out, for a Keras model, which channels have to be cut together."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np

from pocketkube.graph.channel_flow import ChannelFlow
from pocketkube.graph.channels import Channels, Hold, Ledger, Units
from pocketkube.graph.kinds import computes_as
from pocketkube.graph.layer_rules import rules_of
from pocketkube.graph.propagation import heads_key, propagate, why_unknown
from pocketkube.graph.sharing import SharedVariables
from pocketkube.graph.walk import functional_graph, walk


@dataclass(frozen=True)
class Use:
    """A layer, or an operation, and the channels that go in and come out at its first call.

    Attributes:
        path: Its name, with those of the models around it: "backbone/conv1".
        op: The layer or operation itself.
        inputs: Channels of each input tensor, None where none may be cut.
        outputs: Channels of each output tensor.
        rank: How many axes the first input tensor has, that of the batch included; 0 without one.
        arguments: What the call was given, tensors included, as Keras keeps it.
        again: The same of each further call of the layer.
    """

    path: str
    op: Any
    inputs: tuple[Channels | None, ...]
    outputs: tuple[Channels | None, ...]
    rank: int
    arguments: Any
    again: "tuple[Use, ...]" = ()

    @property
    def calls(self) -> "tuple[Use, ...]":
        """Each call of it, in the order of computation."""
        return self, *self.again


@dataclass(frozen=True)
class Group:
    """Layers whose channels are cut together.

    Attributes:
        name: Path of the first layer that makes these channels.
        units: Numbers of the group's units.
        layers: Paths of all layers that make them.
    """

    name: str
    units: np.ndarray
    layers: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.name}: {len(self.units)} units of {', '.join(self.layers)}"


@dataclass(frozen=True)
class ChannelGraph:
    """Which channels of a model may be cut, and which only together.

    Attributes:
        uses: The layers and operations in the order of computation.
        units: The units of all channels.
        groups: The groups, in the order of computation.
        left_whole: One sentence for each kind of reason why channels stay that do not go out of the
            model, with the layers and operations that hold them.
    """

    uses: tuple[Use, ...]
    units: Units
    groups: tuple[Group, ...]
    left_whole: tuple[str, ...]

    def kept(self, channels: Channels, keep: np.ndarray) -> np.ndarray:
        """Positions of `channels` that are left where only the units in the mask `keep` are."""
        units = self.units.of(channels)
        # What is in no unit, -1, is kept.
        return np.flatnonzero(np.append(keep, True)[units])

    def heads(self, attention: Any) -> Channels | None:
        """The heads of an attention layer as channels of their own."""
        made = self.units.made.get(heads_key(attention))
        return None if made is None else Channels(-1, made)

    def why_nothing_goes(self) -> str:
        """Why there are no groups, in sentences for the user."""
        made = [use for use in self.uses if id(use.op) in self.units.made]
        if not made:
            return "No layer in it makes channels that its rules could cut. " + _ended(self.left_whole)
        last = [use.path for use in made if self.units.ends[self.units.made[id(use.op)]].any()]
        ends = f"What {_listed(last)} makes goes out of the model." if last else ""
        return f"{ends} {_ended(self.left_whole)}".strip()


def trace_channels(model: keras.Model) -> ChannelGraph:
    """Follows every channel of a model from where it is made to where it ends.

    Args:
        model: A functional or sequential model; models may be nested in it and layers shared.

    Returns:
        The channel graph. A channel of an input or output of the model, or one that meets an
        operation without a rule, is in no group.

    Raises:
        UserError: If the model is a subclassed one: its graph cannot be seen.
    """
    tracer = _Tracer()
    function = functional_graph(model)
    outputs = walk(function, [None] * len(function.inputs), tracer.call)
    for channels in outputs:
        if channels is not None:
            tracer.ledger.fix(channels.ids)
    tracer.leave_sharing_layers_whole()
    units = tracer.ledger.settle()
    uses = tuple(tracer.uses.values())
    return ChannelGraph(uses, units, tuple(_groups(uses, units)), tuple(_sentences(units.holds)))


class _Tracer:
    def __init__(self) -> None:
        self.ledger = Ledger()
        self.uses: dict[int, Use] = {}
        self._shared = SharedVariables()
        self._first: dict[int, Use] = {}

    def call(self, path: str, node: Any, inputs: list[Channels | None]) -> list[Channels | None]:
        """Channels of the outputs of one call, whose inputs have the channels `inputs`."""
        op = node.operation
        self._shared.read(path, op, node.arguments)
        call = ChannelFlow(
            op,
            path,
            [tuple(x.shape) for x in node.input_tensors],
            inputs,
            [tuple(x.shape) for x in node.outputs],
            node.arguments,
            self.ledger,
        )
        outputs = propagate(call)
        if outputs is None:
            outputs = [None] * len(node.outputs)
            # What stands before the first channels that could go, as augmentation does, loses nothing.
            if getattr(op, "weights", None) and all(x is None for x in inputs):
                self.ledger.note(Hold(path, type(op).__name__, why_unknown(op)))
        rank = len(call.shapes[0]) if call.shapes else 0
        use = Use(path, op, tuple(inputs), tuple(outputs), rank, node.arguments)
        self._tie_to_first(use, node)
        if id(op) in self.uses:
            first = self.uses[id(op)]
            use = replace(first, again=(*first.again, use))
        self.uses[id(op)] = use
        return outputs

    def leave_sharing_layers_whole(self) -> None:
        """Fixes what goes in and out of different layers that read the same variables.

        They may read it in any way: a decoder takes its encoder's kernel transposed.
        """
        for group in self._shared.groups():
            names = ", ".join(sorted(group.values()))
            hold = Hold(f"{names} share weights", "", "they are left whole")
            self.ledger.note(hold)
            for use in (self.uses[reader] for reader in group):
                for channels in (*use.inputs, *use.outputs):
                    if channels is not None:
                        self.ledger.fix(channels.ids, hold)
                if (heads := self.ledger.known(heads_key(use.op))) is not None:
                    self.ledger.fix(heads, hold)

    def _tie_to_first(self, use: Use, node: Any) -> None:
        """Ties the channels of a call to those of the first one that has to lose the same ones.

        Of a layer with weights that is any other call: the same weights meet all calls' channels. Of
        one that takes whatever channels it is given, it is the same call of a model around it that is
        called again, for that is built once.
        """
        owner = node if takes_any_channels(use.op) else use.op
        first = self._first.setdefault(id(owner), use)
        if first is use:
            return
        for now, before in zip(
            (*use.inputs, *use.outputs), (*first.inputs, *first.outputs), strict=True
        ):
            both = [channels for channels in (now, before) if channels is not None]
            if len(both) == 2 and len(both[0].ids) == len(both[1].ids):
                self.ledger.tie(both[0].ids, both[1].ids, _held_by(use, WITH_STAYING))
                continue
            for channels in both:
                self.ledger.fix(
                    channels.ids, _held_by(use, OF_ANOTHER_NUMBER if len(both) == 2 else WITH_STAYING)
                )


def takes_any_channels(op: Any) -> bool:
    """Whether a layer has a place for each channel neither in weights nor in its config."""
    if not isinstance(op, keras.layers.Layer) or op.weights:
        return False
    if (added := rules_of(op)) is not None:
        return added.edit is None
    # Dropout has one, Rescaling the two others.
    has_arrays = any(np.ndim(getattr(op, name, 0)) for name in ("noise_shape", "scale", "offset"))
    return not has_arrays and computes_as(op) not in SIZED


# What has no weights, and a config that says how many channels there are.
SIZED = (keras.layers.Reshape, keras.layers.GroupNormalization)
OF_ANOTHER_NUMBER = "it is called again with another number of channels"
WITH_STAYING = "it is called again with channels that stay, as those of the model's inputs do"


def _held_by(use: Use, why: str) -> Hold:
    return Hold(use.path, type(use.op).__name__, why)


def _sentences(holds: Sequence[Hold]) -> Iterator[str]:
    paths: dict[tuple[str, str], list[str]] = {}
    for hold in holds:
        paths.setdefault((hold.kind, hold.why), []).append(hold.path)
    for (kind, why), found in paths.items():
        yield f"{_listed(found)} ({kind}): {why}" if kind else f"{_listed(found)}: {why}"


def _listed(paths: Sequence[str]) -> str:
    more = f" and {len(paths) - MOST_NAMES} more" if len(paths) > MOST_NAMES else ""
    return ", ".join(paths[:MOST_NAMES]) + more


def _ended(sentences: Sequence[str]) -> str:
    return " ".join(f"{sentence}." for sentence in sentences)


MOST_NAMES = 5


def _groups(uses: Sequence[Use], units: Units) -> Iterator[Group]:
    makers: dict[int, list[str]] = {}
    for use in uses:
        for owner in (id(use.op), heads_key(use.op)):
            if owner not in units.made:
                continue
            made = units.unit_of[units.made[owner]]
            suffix = "/heads" if isinstance(owner, tuple) else ""
            for group in np.unique(units.group_of[made[made >= 0]]):
                makers.setdefault(int(group), []).append(use.path + suffix)
    for group, paths in makers.items():
        yield Group(paths[0], np.flatnonzero(units.group_of == group), tuple(paths))
