"""What has to be known of a layer of a package's own, so that its channels can be cut and counted."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import keras

from pocketkube.extension import layers

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
            model takes them to be in proportion to the layer's matrices where channels are cut.
        edit: The entries of its config that change where channels go, and the positions left along its
            weights' axes; called for each layer when a model is rebuilt. None if it has neither.
        matrix: Of a layer that mixes channels: the end of its weight's path, the axis of incoming
            channels (None if that has none) and that of outgoing ones. Criteria score by it.
    """

    layer: type[keras.layers.Layer]
    channels: "Callable[[ChannelFlow], Channels | list[Channels | None] | None]"
    macs: "Callable[[LayerCall], int]"
    edit: "Callable[[Use, Kept], LayerEdit] | None" = None
    matrix: tuple[str, int | None, int] | None = None


def rules_of(op: Any) -> LayerRules | None:
    """The rules that a package adds for a layer; None where there are none, as for Keras's own."""
    kind = type(op)
    if not isinstance(op, keras.layers.Layer) or kind.__module__.startswith("keras."):
        return None
    rules = layers.find(keras.saving.get_registered_name(kind), base=LayerRules)
    return rules if rules is not None and rules.layer is kind else None
