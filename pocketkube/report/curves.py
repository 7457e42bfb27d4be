"""How training went: a line for each figure over the epochs."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from pocketkube.measures import Wording
from pocketkube.report.svg import figure, line, text, ticks

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 360, 220, 46, 30, 34


def training_curves(stage: Mapping[str, Any], wording: Wording) -> list[str]:
    """A figure of the loss and one of the score, training and validation.

    Args:
        stage: A stage of a result.json.
        wording: How the score is read.

    Returns:
        The figures; none where the stage did not train.
    """
    history = stage.get("history")
    if not history or not history["loss"]:
        return []
    read = [[wording.read(score) for score in history[name]] for name in ("score", "val_score")]
    curves = [_curves(f"{stage['name']}: loss", history["loss"], history["val_loss"])]
    # Where outputs have no common unit, the score is minus the loss.
    return (
        curves
        if wording.name == "loss"
        else [*curves, _curves(f"{stage['name']}: {wording.name}", *read)]
    )


def _curves(title: str, training: Sequence[float], validation: Sequence[float]) -> str:
    values = [value for value in (*training, *validation) if math.isfinite(value)]
    if not values:
        return ""
    low, high = min(values), max(values)
    span = (high - low) or 1.0

    def x(epoch: int) -> float:
        return LEFT + (WIDTH - LEFT - 12) * (epoch / max(len(training) - 1, 1))

    def y(value: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * (value - low) / span

    parts = [text(0, 14, title, kind="h")]
    for tick in ticks(low, high):
        parts += [
            line([(LEFT, y(tick)), (WIDTH - 12, y(tick))], "grid"),
            text(LEFT - 6, y(tick) + 4, f"{tick:.3g}", kind="muted", anchor="end"),
        ]
    for values_of, kind in ((training, "line-before"), (validation, "line-after")):
        # Training that diverged has epochs without a place on the axis.
        points = [(x(i), y(value)) for i, value in enumerate(values_of) if math.isfinite(value)]
        if len(points) == 1:
            points = [(LEFT, points[0][1]), *points]
        if points:
            parts.append(line(points, kind))
    parts += [
        text(LEFT, HEIGHT - 8, "epoch 1", kind="muted"),
        text(WIDTH - 12, HEIGHT - 8, f"epoch {len(training)}", kind="muted", anchor="end"),
        text(WIDTH - 12, 14, "— validation", kind="key-after", anchor="end"),
        text(WIDTH - 100, 14, "— training", kind="key-before", anchor="end"),
    ]
    description = (
        f"Training from {training[0]:.4g} to {training[-1]:.4g}, validation to {validation[-1]:.4g}"
    )
    return figure(title, description, WIDTH, HEIGHT, parts)
