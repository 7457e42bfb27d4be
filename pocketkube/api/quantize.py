"""Puts a model's weights and activations on evenly spaced levels."""

from typing import Unpack

from pocketkube.api.data import Data, inputs_of
from pocketkube.api.keywords import QuantizeKeywords, refuse_keywords, settings_shown
from pocketkube.api.learning import Teachers, learn
from pocketkube.api.network import ModelLike, Network
from pocketkube.errors import UserError
from pocketkube.spec.sections import QuantizeWeights
from pocketkube.stages.begun import Begun, begin_quantizing
from pocketkube.stages.configs import Learning


@settings_shown
def quantize(
    model: ModelLike,
    data: Data,
    *,
    bits: int = 8,
    teacher: Teachers = None,
    **settings: Unpack[QuantizeKeywords],
) -> Network:
    """Puts weights and activations on evenly spaced levels, and trains the model with them.

    Args:
        model: A Keras model, or what another function gave; it is left as it is.
        data: As for `fine_tune`. Of inputs alone, without a teacher or epochs, the model is calibrated
            and not trained.
        bits: Bits of a weight, 2 to 8; the spec's weight_bits.
        teacher: As for `fine_tune`.
        settings: Those of a spec's quantize_weights: activation_bits, first_last_bits, layers,
            granularity, bucket_size, scheme, ranges, calibration, calibration_examples,
            bias_correction, epochs, learning_rate; and training, distillation, task and seed as a spec
            has them.

    Returns:
        The model, which `export` writes in integers where LiteRT has kernels for such levels.

    Raises:
        UserError: As for `fine_tune`.

    Example:
        >>> import numpy as np, pocketkube as pk
        >>> from pocketkube.models import build_model
        >>> model = build_model("lenet", (28, 28, 1), 10, width=0.25)
        >>> x = np.random.default_rng(0).random((32, 28, 28, 1))
        >>> levels = pk.quantize(model, x, bits=8)
        >>> levels.steps[-1].settings.name, levels.steps[-1].history is None
        ('quantize_weights', True)
    """
    refuse_keywords("quantize", settings, {"weight_bits": "is called bits here"})
    if data is None:
        raise UserError("quantize: needs examples to calibrate on; give data=(x, y), or x alone.")

    def begin(network: Network, parsed: QuantizeWeights, learning: Learning) -> Begun:
        count, seed = parsed.calibration_examples, learning.seed
        calibration = inputs_of(data, network.model, "quantize", count, seed)
        return begin_quantizing(network.model, parsed, calibration, seed, keeps_zeros=network.is_sparse)

    given = {**settings, "weight_bits": bits}
    return learn("quantize", model, data, QuantizeWeights, teacher, given, begin)
