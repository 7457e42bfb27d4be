"""What has to be known of a layer of a package's own, so that its channels can be cut and counted."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import keras

from pocketkube.extension import layers
from pocketkube.graph.kinds import alike, computes_as, first_of_keras, is_of_keras, overridden

if TYPE_CHECKING:
    from pocketkube.graph.calls import LayerCall
    from pocketkube.graph.channel_flow import ChannelFlow
    from pocketkube.graph.channels import Channels
    from pocketkube.graph.dependency import Use
    from pocketkube.graph.edit import Kept, LayerEdit


@dataclass(frozen=True)
class LayerRules:
    """The rules of one class of layers; it is added under the name under which Keras knows the class.

    Attributes:
        layer: The class, under `@keras.saving.register_keras_serializable`.
        channels: How channels travel through it; called for each call when a model is traced. Gives the
            channels of its output, ties those that are to be cut together in `call.ledger`, and fixes
            those that have to stay; None where none of the output's may be cut.
        macs: The multiply-adds of a call at batch size 1; called when a model is profiled. The cost
            model takes them to be in proportion to the layer's matrices where channels are cut. None to
            count them in the TensorFlow graph of the call.
        edit: The entries of its config that change where channels go, and the positions left along its
            weights' axes; called for each layer when a model is rebuilt. None if it has neither.
        matrix: Of a layer that mixes channels: the end of its weight's path, the axis of incoming
            channels (None if that has none) and that of outgoing ones. Criteria score by it.
        like: The class of Keras's whose kernels it has, under the same names: sparsity and levels are
            for those. None if it has no kernels.
    """

    layer: type[keras.layers.Layer]
    channels: "Callable[[ChannelFlow], Channels | list[Channels | None] | None]"
    macs: "Callable[[LayerCall], int | None] | None"
    edit: "Callable[[Use, Kept], LayerEdit] | None" = None
    matrix: tuple[str, int | None, int] | None = None
    like: type | None = None


def rules_of(op: Any) -> LayerRules | None:
    """The rules that are added for a layer; None where there are none, as for Keras's own.

    A class that overrides nothing its parent computes with has its parent's.
    """
    if not isinstance(op, keras.layers.Layer):
        return None
    for kind in alike(type(op)):
        if is_of_keras(kind):
            return None
        rules = layers.find(keras.saving.get_registered_name(kind), base=LayerRules)
        if rules is not None and rules.layer is kind:
            return rules
    return None


def known_as(op: Any) -> type:
    """The class of Keras's whose kernels a layer has; its own class where none is known."""
    rules = rules_of(op)
    return rules.like if rules is not None and rules.like is not None else computes_as(op)


def said_of_unknown(op: Any) -> str:
    """What would make rules of a layer known that has none: a sentence's end; none for Keras's own."""
    kind = type(op)
    if not isinstance(op, keras.layers.Layer) or is_of_keras(kind):
        return ""
    parent, name = first_of_keras(kind), kind.__name__
    if parent in (None, keras.layers.Layer, keras.Model):
        return (
            f"; if its channels may be cut, say how: pocketkube.register_layer({name}, like=…), or "
            "with channels=…"
        )
    assert parent is not None
    changed = overridden(kind.__mro__[: kind.__mro__.index(parent)], parent)
    if not changed:
        return ""
    return (
        f", for it overrides {' and '.join(changed)} of {parent.__name__}; if its channels may be cut "
        f"all the same, say so: pocketkube.register_layer({name}, like=keras.layers.{parent.__name__})"
    )
