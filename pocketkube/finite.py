"""Refuses numbers that no model can compute with: NaN, infinity, and what 32 bits do not hold."""

from collections.abc import Sequence

import numpy as np

from pocketkube.errors import UserError

_LARGEST = float(np.finfo(np.float32).max)
# Bytes of examples that are looked at together: what is found of them takes as many again.
_AT_ONCE = 1 << 24
_INT32 = np.iinfo(np.int32)


def refuse_not_finite(name: str, what: str, arrays: Sequence[np.ndarray]) -> None:
    """Looks at all numbers of some examples.

    Args:
        name: What messages call their source.
        what: What they are, as in "inputs".
        arrays: `[N, ...]` each, of any real type.

    Raises:
        UserError: If an example has NaN or infinity, or a number that float32 or int32 cannot hold, as
            models compute in these.
    """
    for array in arrays:
        if np.issubdtype(array.dtype, np.floating):
            bad = _bad(array)
            if bad.any():
                raise UserError(
                    f"{name}: {what} must be finite; {int(bad.sum())} of {len(array)} examples have "
                    "NaN, infinity or more than float32 holds, the first of them example "
                    f"{int(bad.argmax())}."
                )
        elif array.size and array.dtype.itemsize >= 4 and not _fits(array):
            far = max((int(array.min()), int(array.max())), key=abs)
            raise UserError(f"{name}: {what} must be whole numbers of 32 bits; one of them is {far}.")


def _bad(array: np.ndarray) -> np.ndarray:
    """Which examples have a number that does not fit `[N]`."""
    bad = np.zeros(len(array), bool)
    at_once = max(1, _AT_ONCE * len(array) // max(1, array.nbytes))
    for start in range(0, len(array), at_once):
        some = array[start : start + at_once]
        fit = np.isfinite(some) if some.dtype.itemsize <= 4 else np.abs(some) <= _LARGEST
        bad[start : start + at_once] = ~fit.all(axis=tuple(range(1, fit.ndim)))
    return bad


def _fits(array: np.ndarray) -> bool:
    return int(array.min()) >= _INT32.min and int(array.max()) <= _INT32.max
