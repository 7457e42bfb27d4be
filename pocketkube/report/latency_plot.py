"""How the measured times spread, before and after, and how they compare."""

import numpy as np

from pocketkube.figures import (
    TIME,
    milliseconds,
    milliseconds_between,
    ratio,
    ratio_between,
    ratio_words,
)
from pocketkube.report.markup import figure, table
from pocketkube.report.plot import Axis, bars, plot, ticks
from pocketkube.report.result import LatencyFigures, Result

_BINS = 60


def latency_figure(result: Result) -> str:
    """Two histograms over the same milliseconds; the slowest hundredth is left out.

    Args:
        result: The figures of the job.

    Returns:
        The figure; empty without samples.
    """
    samples = {
        "before": np.asarray(result.before.latency_samples_ms),
        "after": np.asarray(result.after.latency_samples_ms),
    }
    if any(not len(values) for values in samples.values()):
        return ""
    top = max(float(np.percentile(values, 99)) for values in samples.values()) * 1.05
    axis = Axis(0, top, ticks(0, top, 5))
    drawn = []
    for when, values in samples.items():
        heights = np.histogram(values, np.linspace(0, top, _BINS + 1))[0] / len(values)
        low, median, high = np.percentile(values, (5, 50, 95))
        summary = (
            f"Times of {len(values)} runs {when}: the median {milliseconds(median)}, 9 in 10 from "
            f"{milliseconds_between(low, high)}"
        )
        drawn.append(
            figure(
                f"Single runs, {when}",
                plot(axis, None, [bars([float(h) for h in heights], when)], summary, "milliseconds"),
            )
        )
    return f'<div class="short">{"".join(drawn)}</div>'


def latency_table(result: Result) -> str:
    """Medians and their intervals by number of threads, with how they compare."""
    rows = []
    for threads, before in result.before.threads.items():
        after = result.after.threads[threads]
        known = result.latency_ratios.get(threads)
        change = ratio(before.p50, after.p50, TIME)
        sure = ""
        if known:
            change = ratio_words(known.value, TIME)
            sure = ratio_between(known.low, known.high, TIME)
        name = f"p50, {threads} thread{'' if threads == '1' else 's'}"
        rows.append((name, milliseconds(before.p50), milliseconds(after.p50), change))
        if sure:
            rows.append(("95 % interval", _interval(before), _interval(after), sure))
        was, now = before.p90, after.p90
        rows.append(("p90", milliseconds(was), milliseconds(now), ratio(was, now, TIME)))
    return table(("latency", "before", "after", "change"), rows)


def _interval(figures: LatencyFigures) -> str:
    return milliseconds_between(*figures.p50_interval) if figures.p50_interval else "–"
