"""How the measured times spread, before and after."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from pocketkube.report.svg import bar, figure, line, text, ticks

WIDTH, HEIGHT, BASE, TOP, BINS = 360, 200, 160, 30, 60


def latency_distribution(result: Mapping[str, Any]) -> str:
    """Two histograms over one axis of milliseconds; the slowest hundredth is left out.

    Args:
        result: A result.json.

    Returns:
        The figure; empty without samples.
    """
    samples = {when: np.asarray(result[when]["latency_samples_ms"]) for when in ("before", "after")}
    if any(not len(values) for values in samples.values()):
        return ""
    top = max(float(np.percentile(values, 99)) for values in samples.values()) * 1.05
    edges = np.linspace(0, top, BINS + 1)
    heights = {when: np.histogram(values, edges)[0] / len(values) for when, values in samples.items()}
    most = max(float(height.max()) for height in heights.values()) or 1.0
    step = WIDTH / BINS
    parts = [text(0, 14, "Latency of single runs", kind="h")]
    for when, height in heights.items():
        for i, share in enumerate(height):
            tall = (BASE - TOP) * share / most
            parts.append(bar(i * step, BASE - tall, step - 1, tall, f"{when} see-through"))
    for tick in ticks(0, top, 6):
        x = tick / top * WIDTH
        parts.append(
            text(min(max(x, 12), WIDTH - 22), BASE + 16, f"{tick:.3g}", kind="muted", anchor="middle")
        )
    parts += [
        line([(0, BASE), (WIDTH, BASE)], "grid"),
        text(WIDTH, HEIGHT - 4, "milliseconds", kind="muted", anchor="end"),
        text(WIDTH, 14, "■ after", kind="key-after", anchor="end"),
        text(WIDTH - 60, 14, "■ before", kind="key-before", anchor="end"),
    ]
    medians = {when: float(np.median(values)) for when, values in samples.items()}
    told = (
        f"Half of the runs within {medians['before']:.3g} ms before and {medians['after']:.3g} ms after"
    )
    return figure("Latency of single runs", told, WIDTH, HEIGHT, parts)
