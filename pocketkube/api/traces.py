"""What can be seen in a model of the stages that it has been through."""

from collections.abc import Mapping

import keras

from pocketkube.graph.names import named_layers
from pocketkube.packing import Codebook, Form, Grid, packs
from pocketkube.quantization.fake_quantize import FakeQuantize
from pocketkube.spec.sections import FLOAT, ClusterWeights, QuantizeWeights, SparsifyWeights
from pocketkube.spec.stage_settings import StageSettings


def settings_left(
    model: keras.Model, forms: Mapping[str, Form] | None = None
) -> tuple[StageSettings, ...]:
    """The settings of stages that would leave a model as it is.

    Args:
        model: A model that may come from a file.
        forms: The forms of its weights, where it comes from a packed file: zeros count only there, for
            an ordinary model may have some that are to be trained.

    Returns:
        Settings by which later stages know what they are to keep; none for an ordinary model.
    """
    found: list[StageSettings] = []
    values = [] if forms is None else list(forms.values())
    if forms is not None and packs(model, {}):
        found.append(SparsifyWeights())
    if any(isinstance(form, Codebook) for form in values):
        found.append(ClusterWeights())
    grids = [form for form in values if isinstance(form, Grid)]
    bits = {layer.bits for _, layer in named_layers(model) if isinstance(layer, FakeQuantize)}
    if grids or bits:
        buckets = any(form.blocks.bucket_size is not None for form in grids)
        affine = any(form.zero_points is not None for form in grids)
        found.append(
            QuantizeWeights(
                activation_bits=min(bits) if bits else FLOAT,
                granularity="bucket" if buckets else "channel",
                scheme="affine" if affine else "symmetric",
            )
        )
    return tuple(found)
