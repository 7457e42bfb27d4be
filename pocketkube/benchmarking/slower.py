"""Says in a sentence that a compressed file is slower than the other one, and what to try then."""

from pocketkube.benchmarking.results import BenchmarkReport
from pocketkube.figures import SAME, TIME, ratio_between, ratio_words

# Formats that may be faster, the likeliest first.
_OTHERS = ("int8", "dynamic", "float16")


def slower(report: BenchmarkReport, first: str, last: str, more: str = "") -> list[str]:
    """A sentence where the last file is surely slower than the first one, else none.

    Args:
        report: What was measured.
        first: What the sentence calls the first file.
        last: What it calls the last one.
        more: What else it says, as a clause.
    """
    interval = report.latency_ratio_interval
    if interval is None or report.environment.emulated_on:
        return []
    low, high = interval
    if high >= 1 or ratio_words(high, TIME) == SAME:
        return []
    used = report.files[-1].format
    *others, other = (name for name in _OTHERS if name != used)
    return [
        f"{last} is {ratio_between(low, high, TIME)} than {first} (95 % interval){more}: {used} is not "
        f"the fastest for every network and machine; try {', '.join(others)} or {other}, as "
        "docs/latency.md says."
    ]
