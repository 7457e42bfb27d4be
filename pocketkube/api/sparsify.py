"""Trains a model while its weights become zero."""

from typing import Unpack

from pocketkube.api.data import Data
from pocketkube.api.keywords import SparsifyKeywords, settings_shown
from pocketkube.api.learning import Teachers, copied, learn
from pocketkube.api.network import ModelLike, Network
from pocketkube.spec.sections import SparsifyWeights
from pocketkube.stages.begun import Begun, begin_sparsifying
from pocketkube.stages.configs import Learning


@settings_shown
def sparsify(
    model: ModelLike,
    data: Data,
    *,
    sparsity: float | None = None,
    teacher: Teachers = None,
    **settings: Unpack[SparsifyKeywords],
) -> Network:
    """Trains a model while more and more of its weights become zero (Zhu & Gupta, 2017).

    Args:
        model: A Keras model, or what another function gave; it is left as it is.
        data: As for `fine_tune`.
        sparsity: Part of all weights of kernels that becomes zero; 0.75 if None, 0.5 with pattern
            "two_of_four".
        teacher: As for `fine_tune`.
        settings: Those of a spec's sparsify_weights: distribution, ratios, pattern, begin_fraction,
            end_fraction, power, refresh_steps, epochs, learning_rate; and training, distillation, task
            and seed as a spec has them.

    Returns:
        The sparse model, whose zeros stay in all that follows.

    Raises:
        UserError: As for `fine_tune`.

    Example:
        >>> import numpy as np, pocketkube as pk
        >>> from pocketkube.models import build_model
        >>> model = build_model("lenet", (28, 28, 1), 2, width=0.25)
        >>> x, y = np.random.default_rng(0).random((64, 28, 28, 1)), np.arange(64) % 2
        >>> sparse = pk.sparsify(model, (x, y), sparsity=0.6, epochs=1, training={"batch_size": 16})
        >>> sparse.is_sparse
        True
    """
    given = dict(settings) if sparsity is None else {**settings, "sparsity": sparsity}

    def begin(network: Network, parsed: SparsifyWeights, learning: Learning) -> Begun:
        return begin_sparsifying(copied(network), parsed)

    return learn("sparsify", model, data, SparsifyWeights, teacher, given, begin)
