"""Refuses numbers that no model can compute with: NaN, infinity, and what 32 bits do not hold."""

from collections.abc import Sequence

import numpy as np

from pocketkube.errors import UserError

_LARGEST = float(np.finfo(np.float32).max)
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
            rows = array.reshape(len(array), -1)
            small = array.dtype.itemsize <= 4
            fit = np.isfinite(rows) if small else np.abs(rows) <= _LARGEST
            bad = ~fit.all(axis=1)
            if bad.any():
                raise UserError(
                    f"{name}: {what} must be finite; {int(bad.sum())} of {len(array)} examples have "
                    "NaN, infinity or more than float32 holds, the first of them example "
                    f"{int(bad.argmax())}."
                )
        elif array.size and array.dtype.itemsize >= 4 and not _fits(array):
            far = max((int(array.min()), int(array.max())), key=abs)
            raise UserError(f"{name}: {what} must be whole numbers of 32 bits; one of them is {far}.")


def _fits(array: np.ndarray) -> bool:
    return int(array.min()) >= _INT32.min and int(array.max()) <= _INT32.max
