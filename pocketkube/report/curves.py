"""How training went: a line for each figure over the epochs."""

import math
from collections.abc import Sequence

from pocketkube.facts import StageFacts
from pocketkube.measures import Wording
from pocketkube.measures.output_heads import NO_UNIT
from pocketkube.report.markup import details, figure, table
from pocketkube.report.plot import Axis, line, plot, ticks, upright

_KEYS = (("before line", "training"), ("after line", "validation"))


def training_curves(stage: StageFacts, wording: Wording) -> list[str]:
    """A figure of the loss and one of the score, training and validation.

    Args:
        stage: A stage of the job.
        wording: How the score is read.

    Returns:
        The figures; none where the stage did not train.
    """
    history = stage.history
    if not history or not history.loss:
        return []
    score, val_score = (
        [wording.read(score) for score in scores] for scores in (history.score, history.val_score)
    )
    kept = history.kept_epoch
    found = [_curves(f"{stage.name}: loss", history.loss, history.val_loss, kept)]
    if not wording.score_name.startswith(NO_UNIT.score_name):
        found.append(_curves(f"{stage.name}: {wording.name}", score, val_score, kept))
    return found


def _curves(title: str, training: Sequence[float], validation: Sequence[float], kept: int) -> str:
    epochs = len(training)
    rows = [
        (str(epoch), f"{one:.4g}", f"{other:.4g}")
        for epoch, (one, other) in enumerate(zip(training, validation, strict=True), start=1)
    ]
    numbers = table(("epoch", "training", "validation"), rows)
    finite = [value for value in (*training, *validation) if math.isfinite(value)]
    if epochs < 2 or not finite:
        # A point is no line: what there is to see are two numbers.
        return figure(title, numbers)
    low, high = min(finite), max(finite)
    margin = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
    y = Axis(low - margin, high + margin, ticks(low - margin, high + margin))
    x = Axis(1, epochs, ticks(1, epochs, 5, least_step=1))
    # Training that diverged has epochs without a place on the axis.
    marks = [
        line(x, y, [(i, v) for i, v in enumerate(values, start=1) if math.isfinite(v)], kind)
        for values, kind in ((training, "before"), (validation, "after"))
    ]
    summary = (
        f"{title}, {epochs} epochs: training from {training[0]:.4g} to {training[-1]:.4g}, "
        f"validation from {validation[0]:.4g} to {validation[-1]:.4g}"
    )
    keys = list(_KEYS)
    if kept:
        marks.insert(0, upright(x, kept, "kept"))
        keys.append(("kept line", f"kept: epoch {kept}"))
    return figure(title, plot(x, y, marks, summary, "epoch"), details("Numbers", numbers), keys=keys)
