"""At which numbers of channels an operation is timed."""

from collections.abc import Collection, Sequence

# Kernels compute some outputs at a time, so that their time rises in steps: up to these sizes, levels
# are so far apart. Beyond, a step is a small part of the whole.
_OUT_STEPS = ((32, 4), (128, 8), (512, 32))
_OUT_STEP_BEYOND = 128
_LEAST_IN = 4


def levels(sizes: Sequence[Collection[int]], is_read: bool) -> tuple[int, ...]:
    """The levels of one axis of a kind of operation.

    Args:
        sizes: For each network, the sizes along the axis that its operations of the kind have.
        is_read: Whether the axis counts the channels that alone are read: time follows their number,
            and powers of two suffice.

    Returns:
        The levels, in order: the sizes themselves where all networks have the same.
    """
    distinct = {frozenset(each) for each in sizes}
    always = frozenset.intersection(*distinct)
    if len(distinct) == 1:
        return tuple(sorted(always))
    largest = max(map(max, sizes))
    steps = _powers(largest) if is_read else _steps(largest)
    return tuple(sorted({*steps, *always, largest}))


def _powers(largest: int) -> list[int]:
    found = [_LEAST_IN]
    while 2 * found[-1] < largest:
        found.append(2 * found[-1])
    return [level for level in found if level < largest]


def _steps(largest: int) -> list[int]:
    found: list[int] = []
    for end, step in (*_OUT_STEPS, (largest, _OUT_STEP_BEYOND)):
        first = (found[-1] if found else 0) + step
        found += range(first, min(end, largest) + 1, step)
    return found
