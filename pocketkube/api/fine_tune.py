"""Trains a compressed model on."""

from typing import Unpack

from pocketkube.api.data import Data
from pocketkube.api.keywords import CourseKeywords, settings_shown
from pocketkube.api.learning import Teachers, copied, learn
from pocketkube.api.network import ModelLike, Network
from pocketkube.spec.sections import FineTune
from pocketkube.stages.begun import Begun, begin_fine_tuning
from pocketkube.stages.configs import Learning


@settings_shown
def fine_tune(
    model: ModelLike, data: Data, *, teacher: Teachers = None, **settings: Unpack[CourseKeywords]
) -> Network:
    """Trains a compressed model on; weights that `sparsify` made zero stay so.

    Args:
        model: A Keras model, or what another function gave; it is left as it is.
        data: Examples: `(x, y)`, `x` alone, a tf.data.Dataset, a keras.utils.PyDataset, `Splits` or a
            spec's dataset. Where there are several outputs, `y` is a dict by their names, or a list in
            their order: that of `model.outputs`, sorted by name where the model gives a dict. A fifth
            is held out, never trained on, for `compare`, and a tenth of the rest to choose the best
            epoch by.
        teacher: The model whose outputs are learnt beside the labels, as a rule the uncompressed one;
            or several. Labels alone count if None. Without labels the teachers' outputs alone are
            learnt, if None those of the model that the first call was given.
        settings: Those of a spec's fine_tune: epochs (half of training's if unset, 4 if that says
            nothing), learning_rate; and training, distillation, task and seed as a spec has them.

    Returns:
        The trained model.

    Raises:
        UserError: If data do not fit the model, there are neither labels nor a teacher, or an argument
            is wrong.

    Example:
        >>> import numpy as np, pocketkube as pk
        >>> from pocketkube.models import build_model
        >>> model = build_model("lenet", (28, 28, 1), 2, width=0.25)
        >>> rng = np.random.default_rng(0)
        >>> x, y = rng.random((64, 28, 28, 1)), np.arange(64) % 2
        >>> tuned = pk.fine_tune(model, (x, y), teacher=model, epochs=1, training={"batch_size": 16})
        >>> len(tuned.steps[-1].history.loss)
        1
    """

    def begin(network: Network, _: FineTune, learning: Learning) -> Begun:
        return begin_fine_tuning(copied(network), keeps_zeros=network.is_sparse)

    return learn("fine_tune", model, data, FineTune, teacher, dict(settings), begin)
