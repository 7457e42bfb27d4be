"""How channels travel through sums of products: EinsumDense, einsums, attention without kernels."""

from collections.abc import Mapping

import keras
import numpy as np

from pocketkube.graph.channel_flow import ChannelFlow, Rule, held_where_mixed, left_whole, made
from pocketkube.graph.channels import Channels
from pocketkube.graph.contractions import Contraction, contractions_of

layers = keras.layers


def contracted(call: ChannelFlow) -> Channels | None:
    """Channels of what a sum of products gives.

    Those that it adds up end there; both of its factors lose the same ones. Of those that it passes on
    and those that a kernel makes, a tensor can have one axis.
    """
    found = contractions_of(call.op, call.shapes)
    if not found:
        return left_whole(
            call, "its equation, or the shapes it joins, are of a kind that no rule knows"
        )
    (contraction,) = found
    out = passed = _passed(call, contraction)
    letter = made_letter(contraction)
    if letter and out is None:
        size = call.out_shapes[0][contraction.out.index(letter)]
        if size is None:
            return left_whole(call, "what it makes has no fixed size")
        axis = contraction.out.index(letter) - len(contraction.out)
        return made(call, size, axis)
    if passed is not None:
        held_where_mixed(call, getattr(call.op, "activation", None), passed.ids)
    return passed


def made_letter(contraction: Contraction) -> str:
    """The last axis of the output that a kernel alone gives; empty where there is none."""
    new = [
        x for x in contraction.out if x in contraction.kernel and x not in "".join(contraction.terms)
    ]
    return new[-1] if new else ""


def _passed(call: ChannelFlow, contraction: Contraction) -> Channels | None:
    """Ties what is multiplied with each other; gives the channels that are passed on."""
    passed: Channels | None = None
    for letter, ids in _along_letters(call, contraction).items():
        holders = [term for term in contraction.terms if letter in term]
        if any(term.count(letter) > 1 for term in (*holders, contraction.out)):
            call.hold("it takes a diagonal of channels", np.concatenate(ids))
        elif len(ids) < len(holders):
            call.hold("it multiplies them with channels that stay", np.concatenate(ids))
        for other in ids[1:]:
            call.tie(ids[0], other)
        if letter in contraction.out:
            if passed is None:
                passed = Channels(contraction.out.index(letter) - len(contraction.out), ids[0])
            else:
                call.hold("it passes channels on along two axes, and one of them is followed", ids[0])
    return passed


def _along_letters(call: ChannelFlow, contraction: Contraction) -> Mapping[str, list[np.ndarray]]:
    found: dict[str, list[np.ndarray]] = {}
    for term, channels in zip(contraction.terms, call.channels, strict=True):
        if channels is not None:
            found.setdefault(term[channels.axis], []).append(channels.ids)
    return found


def attention(call: ChannelFlow) -> list[Channels | None] | Channels | None:
    """Attention without weights of its own but for a scale: queries and keys lose the same channels."""
    given = call.arguments.args[0] if isinstance(call.op, layers.Layer) else call.arguments.args
    many = len(given) if isinstance(given, list | tuple) else 0
    if len(call.shapes) not in (2, 3) or many < len(call.shapes):
        return left_whole(call, "it is given more than query, value and key")
    query, *others = call.channels
    value, key = others[0], others[-1]
    if any(x is not None and x.axis != -1 for x in call.channels):
        return left_whole(call, "channels lie along another axis than its last")
    _tie_both(call, query, key)
    if not isinstance(call.op, layers.Layer):
        # It says of itself that it gives what is as wide as its queries.
        _tie_both(call, query, value)
    return [value, *[None] * (len(call.out_shapes) - 1)]


def _tie_both(call: ChannelFlow, one: Channels | None, other: Channels | None) -> None:
    if one is not None and other is not None:
        call.tie(one.ids, other.ids)
    for channels in (one, other):
        if channels is not None and None in (one, other):
            call.hold("it multiplies them with channels that stay", channels.ids)


CONTRACTING_LAYERS: dict[type, Rule] = {
    layers.EinsumDense: contracted,
    layers.Dot: contracted,
    layers.Attention: attention,
    layers.AdditiveAttention: attention,
}
CONTRACTING_OPERATIONS: dict[str, Rule] = {
    "Einsum": contracted,
    "Matmul": contracted,
    "DotProductAttention": attention,
}
