"""Gives a model's kernels a few values each."""

from typing import Unpack

from pocketkube.api.data import Data
from pocketkube.api.keywords import ClusterKeywords, settings_shown
from pocketkube.api.learning import Teachers, copied, learn
from pocketkube.api.network import ModelLike, Network
from pocketkube.spec.sections import ClusterWeights
from pocketkube.stages.begun import Begun, begin_clustering
from pocketkube.stages.configs import Learning


@settings_shown
def cluster(
    model: ModelLike,
    data: Data = None,
    *,
    bits: int = 4,
    teacher: Teachers = None,
    **settings: Unpack[ClusterKeywords],
) -> Network:
    """Replaces each kernel's weights by a few values that are learnt (Deep Compression, 2016).

    Args:
        model: A Keras model, or what another function gave; it is left as it is.
        data: As for `fine_tune`; without, weights are replaced and nothing is trained.
        bits: A kernel has two to the power of this many values.
        teacher: As for `fine_tune`.
        settings: Those of a spec's cluster_weights: layers, granularity, bucket_size, initialization,
            train, epochs, learning_rate; and training, distillation, task and seed as a spec has them.

    Returns:
        The model; `.save("net.packed")` writes it small.

    Raises:
        UserError: As for `fine_tune`.

    Example:
        >>> import numpy as np, pocketkube as pk
        >>> from pocketkube.models import build_model
        >>> few = pk.cluster(build_model("lenet", (28, 28, 1), 10, width=0.25), bits=2)
        >>> len(np.unique(few.model.get_layer("logits").kernel)) <= 4
        True
    """

    def begin(network: Network, parsed: ClusterWeights, learning: Learning) -> Begun:
        return begin_clustering(copied(network), parsed)

    given = {**settings, "bits": bits}
    return learn("cluster", model, data, ClusterWeights, teacher, given, begin)
