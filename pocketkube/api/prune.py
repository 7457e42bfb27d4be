"""Cuts the channels that a model needs least."""

from typing import Unpack

from pocketkube.api.data import Data, examples_of
from pocketkube.api.keywords import PruneKeywords, refuse_keywords, settings_of, settings_shown, split
from pocketkube.api.network import AppliedStage, ModelLike, Network, network_of, refuse_order
from pocketkube.api.value_range import refuse_unknown_range
from pocketkube.errors import UserError
from pocketkube.pruning.calibration import Calibration
from pocketkube.pruning.criteria import criterion_named
from pocketkube.pruning.prune import prune as pruned
from pocketkube.spec.sections import PruneChannels
from pocketkube.spec.sections.prune_channels import DATA_FREE
from pocketkube.stages.configs import Learning
from pocketkube.stages.tasks import settled_task
from pocketkube.training.answers import calibration_by
from pocketkube.training.task import Task

ONE_CALL = "prune and fine-tune in turn instead"
WITHOUT_DATA, WITH_DATA = "l2", "taylor"


@settings_shown
def prune(
    model: ModelLike,
    *,
    speedup: float | None = None,
    data: Data = None,
    **settings: Unpack[PruneKeywords],
) -> Network:
    """Cuts channels until a model costs `speedup` times less, or by `ratios`.

    Args:
        model: A trained Keras model, or what another function gave; it is left as it is.
        speedup: Multiply-adds before over after, or parameters with `budget="parameters"`. Counted
            from the model as it is given.
        data: Examples: `(x, y)`, a tf.data.Dataset, a keras.utils.PyDataset, a spec's dataset or `x`
            alone. With them weights that are left are fitted to what they read, and channels can be
            judged by them; without labels by what the original model answers.
        settings: Those of a spec's prune_channels: criterion ("taylor" with data, else "l2"), scope,
            ratios, budget, max_ratio, round_to, reconstruct, calibration_examples; and task, seed.

    Returns:
        The smaller model.

    Raises:
        UserError: If the target cannot be reached, a criterion needs data and there are none, or an
            argument is wrong.

    Example:
        >>> import pocketkube as pk
        >>> from pocketkube.models import build_model
        >>> model = build_model("lenet", (28, 28, 1), 10)
        >>> small = pk.prune(model, speedup=2)
        >>> 1.8 < small.speedup < 2.3
        True
        >>> small.model.count_params() < model.count_params()
        True
    """
    network = network_of("prune", model)
    refuse_keywords("prune", settings, {"group_size": ONE_CALL, "group_epochs": ONE_CALL})
    criterion = {"criterion": WITHOUT_DATA if data is None else WITH_DATA}
    own, others = split({**criterion, **settings}, PruneChannels, Learning)
    parsed = settings_of("prune", PruneChannels, own)
    learning = settings_of("prune", Learning, others)
    if criterion_named(parsed.criterion).needs_data and data is None:
        raise UserError(
            f"prune: criterion {parsed.criterion} judges by examples; give data=(x, y) or data=x, or a "
            f"criterion that needs none: {', '.join(DATA_FREE)}."
        )
    refuse_order("prune", network, parsed)
    calibration, task = _calibration(network, data, parsed, learning)
    found = pruned(network.model, parsed, speedup=speedup, calibration=calibration, seed=learning.seed)
    return network.stepped(found.model, AppliedStage(parsed, found.notes), task=task)


def _calibration(
    network: Network, data: Data, settings: PruneChannels, learning: Learning
) -> tuple[Calibration | None, Task | None]:
    model, count = network.model, settings.calibration_examples
    if data is None:
        return None, None
    dataset = examples_of(data, model, "prune")
    refuse_unknown_range("prune", network, dataset, learning)
    # What it was trained for says more of the original than of what has become of it.
    source = model if dataset.labels else network.original
    task = settled_task(learning, source, dataset, known=network.task)
    examples = calibration_by(network.original, task, dataset, count, learning.seed)
    return Calibration(*examples, loss=task.loss), task
