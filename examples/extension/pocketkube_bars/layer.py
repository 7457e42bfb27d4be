"""A layer: a learnt factor for each channel."""

from typing import Any

import keras

from pocketkube.graph.calls import LayerCall
from pocketkube.graph.channel_flow import ChannelFlow
from pocketkube.graph.channels import Channels
from pocketkube.graph.dependency import Use
from pocketkube.graph.edit import Kept, LayerEdit
from pocketkube.graph.layer_rules import LayerRules


@keras.saving.register_keras_serializable("pocketkube_bars")
class ChannelScale(keras.layers.Layer):
    """Multiplies each channel of the last axis by a factor of its own."""

    def build(self, input_shape: Any) -> None:
        """See Keras."""
        self.factors = self.add_weight(shape=(input_shape[-1],), initializer="ones", name="factors")

    def call(self, inputs: Any) -> Any:
        """`[…, channels]` to the same."""
        return inputs * self.factors


def _channels(call: ChannelFlow) -> Channels:
    """What comes in goes out."""
    return Channels(-1, call.last())


def _macs(call: LayerCall) -> int:
    """Element-wise products are no multiply-adds, as papers count them."""
    return 0


def _edit(use: Use, kept: Kept) -> LayerEdit:
    """Its config names no size; its factors go with their channels."""
    return LayerEdit({}, {"factors": ((0, kept.outputs[0]),)})


CHANNEL_SCALE = LayerRules(ChannelScale, _channels, _macs, _edit)
