"""Says how channels travel through a layer of the user's own."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import keras

from pocketkube.errors import UserError, first_line
from pocketkube.extension import layers
from pocketkube.graph.channel_flow import ChannelFlow
from pocketkube.graph.edit import Kept, LayerEdit
from pocketkube.graph.kinds import is_of_keras
from pocketkube.graph.layer_edits import EDITS
from pocketkube.graph.layer_rules import LayerRules
from pocketkube.graph.matrices import MATRICES
from pocketkube.graph.propagation import RULES

if TYPE_CHECKING:
    from pocketkube.graph.calls import LayerCall
    from pocketkube.graph.channels import Channels
    from pocketkube.graph.dependency import Use

Own = TypeVar("Own", bound=type[keras.layers.Layer])
Matrix = tuple[str, int | None, int]


def register_layer(
    layer: Own,
    *,
    like: type[keras.layers.Layer] | None = None,
    channels: "Callable[[ChannelFlow], Channels | list[Channels | None] | None] | None" = None,
    edit: "Callable[[Use, Kept], LayerEdit] | None" = None,
    macs: "Callable[[LayerCall], int] | None" = None,
    matrix: Matrix | None = None,
) -> Own:
    """Says how a layer of one's own is cut, for this process; a spec's `imports` says it everywhere.

    A subclass of a known layer that overrides neither its `call` nor what that uses needs none of this:
    it is treated as its parent.

    Args:
        layer: The class. Keras learns its name, too, where it is under no
            `@keras.saving.register_keras_serializable`.
        like: A class of Keras's whose channels travel in the same way, and whose weights and settings
            it has by the same names; its multiply-adds are counted in its own TensorFlow graph.
        channels: Instead: how channels travel through it, as `LayerRules.channels`.
        edit: With `channels`: what of its config and weights goes with them, as `LayerRules.edit`.
        macs: With `channels`: its multiply-adds, as `LayerRules.macs`; counted in its TensorFlow graph
            if None.
        matrix: With `channels`: the weight that mixes channels, as `LayerRules.matrix`.

    Returns:
        The class.

    Raises:
        UserError: If it is no class of layers of one's own, another module has registered it, neither
            or both of `like` and `channels` are given, or `like` is no class that has rules.

    Example:
        >>> import keras, pocketkube as pk
        >>> class Gated(keras.layers.Dense):
        ...     def call(self, inputs):
        ...         return keras.ops.tanh(super().call(inputs))
        >>> pk.register_layer(Gated, like=keras.layers.Dense).__name__
        'Gated'
        >>> net = keras.Sequential([keras.Input((8,)), Gated(64), keras.layers.Dense(4)])
        >>> pk.prune(net, speedup=2).model.get_layer("gated").units
        32
    """
    if not isinstance(layer, type) or not issubclass(layer, keras.layers.Layer):
        raise UserError(f"register_layer: takes a class of layers, as MyConv; received {layer!r:.80}.")
    name = layer.__name__
    if is_of_keras(layer):
        raise UserError(f"register_layer: {name} is Keras's own; register a class of yours.")
    if (like is None) == (channels is None):
        given = "both" if like is not None else "neither"
        raise UserError(
            f"register_layer: {name} needs either like=, a class of Keras's, or channels=, a rule of "
            f"its own; received {given}."
        )
    for word, rule in (("channels", channels), ("edit", edit), ("macs", macs)):
        if rule is not None and not callable(rule):
            raise UserError(f"register_layer: {word} has to be a function; received {rule!r:.80}.")
    if matrix is not None and not _is_matrix(matrix):
        raise UserError(
            "register_layer: matrix has to be a weight's name, its axis of incoming channels or None, "
            f"and that of outgoing ones, as in ('kernel', -2, -1); received {matrix!r:.80}."
        )
    if channels is not None:
        rules = LayerRules(layer, channels, macs, edit, matrix)
    else:
        more = [word for word, rule in (("edit", edit), ("macs", macs), ("matrix", matrix)) if rule]
        if more:
            raise UserError(
                f"register_layer: {' and '.join(more)} goes with channels=, not with like=."
            )
        rules = _rules_like(layer, like)
    registered = keras.saving.get_registered_name(layer)
    layers.register(registered, layer.__module__)(rules)
    if keras.saving.get_registered_object(registered) is not layer:
        keras.saving.get_custom_objects()[registered] = layer
    return layer


def _is_matrix(matrix: Any) -> bool:
    if not isinstance(matrix, tuple) or len(matrix) != 3:
        return False
    weight, incoming, outgoing = matrix
    return isinstance(weight, str) and isinstance(incoming, int | None) and isinstance(outgoing, int)


def _rules_like(layer: type[keras.layers.Layer], like: Any) -> LayerRules:
    if like not in RULES:
        told = getattr(like, "__name__", repr(like)[:80])
        raise UserError(
            f"register_layer: {layer.__name__} cannot be like {told}, for which there are no rules; "
            "give a class as keras.layers.Conv2D, Dense or ReLU, or rules of its own by channels=."
        )
    flow, edit = RULES[like], EDITS.get(like)

    def channels(call: ChannelFlow) -> "Channels | list[Channels | None] | None":
        try:
            return flow(call)
        except AttributeError as error:
            raise lacking(error) from error

    def edited(use: "Use", kept: Kept) -> LayerEdit:
        assert edit is not None
        try:
            return edit(use, kept)
        except AttributeError as error:
            raise lacking(error) from error

    def lacking(error: AttributeError) -> UserError:
        return UserError(
            f"{layer.__name__} is registered like {like.__name__}, but has not all that one has "
            f"({first_line(error)}): give it that, or rules of its own by channels=."
        )

    return LayerRules(layer, channels, None, edited if edit else None, MATRICES.get(like), like)
