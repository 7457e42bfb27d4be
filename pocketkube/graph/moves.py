"""How channels travel through operations of keras.ops that move, pick, repeat or pad positions."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from pocketkube.graph.channel_flow import ChannelFlow, Rule, left_whole
from pocketkube.graph.channels import Channels

layers = keras.layers


def picked(key: Any, rank: int, axis: int) -> tuple[Any, int | None]:
    """What the key of `x[key]` takes along an axis, and which axis of the result that is.

    Args:
        key: Integers, slices, None and an ellipsis.
        rank: How many axes `x` has.
        axis: One of them, counted from the first.

    Returns:
        A slice, and the axis counted from the end; or an integer, and None, for the axis is gone.

    Raises:
        ValueError: If there is an array in the key.
    """
    entries = list(key) if isinstance(key, list | tuple) else [key]
    if any(not isinstance(e, slice | int | np.integer | type(None) | type(Ellipsis)) for e in entries):
        raise ValueError("an array in the key")
    seen, behind, found = -1, 0, None
    for entry in spelled_out(key, rank):
        seen += entry is not None
        if found is not None:
            behind += not isinstance(entry, int | np.integer)
        elif seen == axis and entry is not None:
            found = entry
    return found, None if isinstance(found, int | np.integer) else -1 - behind


def spelled_out(key: Any, rank: int) -> list[Any]:
    """The entries of the key of `x[key]`, with a slice for each axis that it does not name.

    Args:
        key: Integers, slices, None and an ellipsis.
        rank: How many axes `x` has.
    """
    entries = list(key) if isinstance(key, list | tuple) else [key]
    taking = [entry for entry in entries if entry is not None and entry is not Ellipsis]
    if Ellipsis not in entries:
        entries.append(Ellipsis)
    place = entries.index(Ellipsis)
    entries[place : place + 1] = [slice(None)] * (rank - len(taking))
    return entries


def argument(call_arguments: Any, name: str, place: int) -> Any:
    """An argument of an operation's call, given by position or by name; None where it is not given."""
    args = call_arguments.args
    return args[place] if len(args) > place else call_arguments.kwargs.get(name)


def paddings(widths: Sequence[Any], axis: int) -> tuple[int, int]:
    """What keras.ops.pad adds before and after an axis."""
    before, after = widths[axis if len(widths) > 1 else 0]
    return int(before), int(after)


def rolled(shift: Any, axes: Any, rank: int, axis: int) -> int:
    """By how much keras.ops.roll moves an axis."""
    pairs = zip(np.atleast_1d(shift), np.atleast_1d(axes), strict=True)
    return sum(int(by) for by, along in pairs if along % rank == axis)


def _get_item(call: ChannelFlow) -> Channels | None:
    channels = call.channels[0]
    if channels is None:
        return None
    rank = len(call.shapes[0])
    key = argument(call.arguments, "key", 1)
    try:
        examples, _ = picked(key, rank, 0)
        taken, axis = picked(key, rank, channels.axis + rank)
    except ValueError:
        return left_whole(
            call, "it picks by an array or a mask; keras.ops.take with fixed indices has a rule"
        )
    if examples != slice(None):
        return left_whole(call, "it picks examples of a batch")
    return _taken(call, channels, taken, axis)


def _taken(call: ChannelFlow, channels: Channels, taken: Any, axis: int | None) -> Channels | None:
    if axis is None:
        call.hold("it takes this one channel alone", channels.ids[[taken]])
        return None
    step = abs(taken.step or 1)
    positions = np.arange(len(channels.ids))[taken]
    if step > 1:
        # Every second of what is left is what it was only if neighbours go together.
        for block in {int(each) // step for each in positions}:
            tied = channels.ids[block * step : (block + 1) * step]
            call.tie(np.full(len(tied) - 1, tied[0]), tied[1:])
    return Channels(axis, channels.ids[positions])


def _slice(call: ChannelFlow) -> Channels | None:
    channels = call.channels[0]
    if channels is None:
        return None
    starts = argument(call.arguments, "start_indices", 1)
    if not _are_known(starts):
        return left_whole(call, "where it begins is not fixed")
    at = channels.axis + len(call.shapes[0])
    begin = int(np.asarray(starts)[at])
    return Channels(channels.axis, channels.ids[begin : begin + int(call.op.shape[at])])


def _take(call: ChannelFlow) -> Channels | None:
    channels, rank = call.channels[0], len(call.shapes[0])
    if channels is None:
        return None
    indices = argument(call.arguments, "indices", 1)
    if call.op.axis is None or call.op.axis % rank == 0 or len(call.shapes) > 1:
        return left_whole(call, "what it takes is not fixed, or from all of a tensor")
    at, axis = channels.axis + rank, call.op.axis % rank
    if axis != at:
        more = np.ndim(indices) - 1 if axis > at else 0
        return Channels(channels.axis - more, channels.ids)
    if not _are_known(indices) or np.ndim(indices) > 1:
        return left_whole(call, "which channels it takes is not a fixed list")
    if np.ndim(indices) == 0:
        return _taken(call, channels, int(indices), None)
    return Channels(channels.axis, channels.ids[np.asarray(indices, int)])


def _are_known(values: Any) -> bool:
    flat = keras.tree.flatten(values)
    return not any(isinstance(value, keras.KerasTensor | keras.Variable) for value in flat)


def _split(call: ChannelFlow) -> list[Channels | None] | None:
    channels = call.channels[0]
    if channels is None:
        return None
    rank = len(call.shapes[0])
    sections = call.op.indices_or_sections
    if call.op.axis % rank - rank != channels.axis:
        return [channels] * len(call.out_shapes)
    pieces = np.split(channels.ids, sections)
    if isinstance(sections, int):
        for piece in pieces[1:]:
            call.tie(pieces[0], piece)
    return [Channels(channels.axis, piece) for piece in pieces]


def _array_split(call: ChannelFlow) -> list[Channels | None] | None:
    channels, rank = call.channels[0], len(call.shapes[0])
    if channels is None or call.op.axis % rank - rank != channels.axis:
        return [channels] * len(call.out_shapes)
    left_whole(
        call, "it makes parts of unlike sizes by a rule of its own; keras.ops.split has one here"
    )
    return [None] * len(call.out_shapes)


def _unstack(call: ChannelFlow) -> list[Channels | None] | None:
    channels, rank = call.channels[0], len(call.shapes[0])
    if channels is None:
        return None
    axis = call.op.axis % rank
    if axis in (0, channels.axis + rank):
        left_whole(call, "it makes a tensor of each channel or example")
        return [None] * len(call.out_shapes)
    left = channels.axis + (axis > channels.axis + rank)
    return [Channels(left, channels.ids)] * len(call.out_shapes)


def _pad(call: ChannelFlow) -> Channels | None:
    channels, op = call.channels[0], call.op
    if channels is None:
        return None
    before, after = paddings(op.pad_width, channels.axis + len(call.shapes[0]))
    if not before + after:
        return channels
    if op.mode != "constant":
        return left_whole(call, f"it pads channels by its mode {op.mode}, not with a constant")
    # Constants are channels as good as others, and first to go.
    made = call.ledger.fresh(id(op), before + after)
    return Channels(channels.axis, np.concatenate([made[:before], channels.ids, made[before:]]))


def _flip(call: ChannelFlow) -> Channels | None:
    channels, rank = call.channels[0], len(call.shapes[0])
    if channels is None:
        return None
    axes = range(rank) if call.op.axis is None else np.atleast_1d(call.op.axis) % rank
    backwards = channels.axis + rank in axes
    return Channels(channels.axis, channels.ids[::-1] if backwards else channels.ids)


def _roll(call: ChannelFlow) -> Channels | None:
    channels, op, rank = call.channels[0], call.op, len(call.shapes[0])
    if channels is None:
        return None
    if op.axis is None:
        return left_whole(call, "it moves positions of one example into the next; give it an axis")
    by = rolled(op.shift, op.axis, rank, channels.axis + rank)
    return Channels(channels.axis, np.roll(channels.ids, by))


def _tile(call: ChannelFlow) -> Channels | None:
    channels, rank = call.channels[0], len(call.shapes[0])
    if channels is None:
        return None
    repeats = np.atleast_1d(call.op.repeats)
    many = int(repeats[channels.axis]) if len(repeats) >= -channels.axis else 1
    if len(repeats) > rank:
        return left_whole(call, "it gives a tensor more axes")
    return Channels(channels.axis, np.tile(channels.ids, many))


def _repeat(call: ChannelFlow) -> Channels | None:
    channels, op, rank = call.channels[0], call.op, len(call.shapes[0])
    if channels is None:
        return None
    if op.axis is None:
        return left_whole(call, "it repeats the numbers of a whole batch; give it an axis")
    if op.axis % rank != channels.axis + rank:
        return channels
    if np.ndim(op.repeats) > 0:
        return left_whole(call, "it repeats some channels more often than others")
    return Channels(channels.axis, np.repeat(channels.ids, int(op.repeats)))


def _stack(call: ChannelFlow) -> Channels | None:
    known = [channels for channels in call.channels if channels is not None]
    if not known:
        return None
    if len(known) < len(call.channels) or any(each.axis != known[0].axis for each in known):
        return left_whole(
            call, "channels lie along different axes of what it joins, or of some are not known"
        )
    rank = len(call.out_shapes[0])
    for each in known[1:]:
        call.tie(known[0].ids, each.ids)
    after = call.op.axis % rank > known[0].axis + rank - 1
    return Channels(known[0].axis - after, known[0].ids)


def _transpose(call: ChannelFlow) -> Channels | None:
    rank = len(call.shapes[0])
    order = getattr(call.op, "dims", None)
    order = [0, *order] if order is not None else getattr(call.op, "axes", None)
    return _ordered(call, list(reversed(range(rank))) if order is None else [a % rank for a in order])


def _swapaxes(call: ChannelFlow) -> Channels | None:
    rank = len(call.shapes[0])
    order = list(range(rank))
    one, other = call.op.axis1 % rank, call.op.axis2 % rank
    order[one], order[other] = other, one
    return _ordered(call, order)


def _moveaxis(call: ChannelFlow) -> Channels | None:
    rank = len(call.shapes[0])
    sources = [int(a) % rank for a in np.atleast_1d(call.op.source)]
    order = [axis for axis in range(rank) if axis not in sources]
    targets = [int(a) % rank for a in np.atleast_1d(call.op.destination)]
    for target, source in sorted(zip(targets, sources, strict=True)):
        order.insert(target, source)
    return _ordered(call, order)


def _ordered(call: ChannelFlow, order: Sequence[int]) -> Channels | None:
    channels, rank = call.channels[0], len(call.shapes[0])
    if channels is None:
        return None
    if order[0] != 0:
        return left_whole(call, "it moves the axis of examples")
    return Channels(list(order).index(channels.axis + rank) - rank, channels.ids)


def _depth_to_space(call: ChannelFlow) -> Channels | None:
    channels, block = _image_channels(call), call.op.block_size**2
    if channels is None:
        return None
    pieces = channels.ids.reshape(block, -1)
    for piece in pieces[1:]:
        call.tie(pieces[0], piece)
    return Channels(-1, pieces[0])


def _space_to_depth(call: ChannelFlow) -> Channels | None:
    channels = _image_channels(call)
    return channels and Channels(-1, np.tile(channels.ids, call.op.block_size**2))


def _image_channels(call: ChannelFlow) -> Channels | None:
    channels = call.channels[0]
    if channels is not None and (channels.axis != -1 or call.op.data_format == "channels_first"):
        return left_whole(call, "it works channels first, which no rule knows")
    return channels


MOVES: dict[str, Rule] = {
    "ArraySplit": _array_split,
    "DepthToSpace": _depth_to_space,
    "Flip": _flip,
    "GetItem": _get_item,
    "Moveaxis": _moveaxis,
    "Pad": _pad,
    "Repeat": _repeat,
    "Roll": _roll,
    "Slice": _slice,
    "SpaceToDepth": _space_to_depth,
    "Split": _split,
    "Stack": _stack,
    "Swapaxes": _swapaxes,
    "Take": _take,
    "Tile": _tile,
    "Transpose": _transpose,
    "Unstack": _unstack,
}
MOVING_LAYERS: dict[type, Rule] = {layers.Permute: _transpose}
