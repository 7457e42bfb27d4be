"""What criteria return, also those of users, as one number for each unit, or a clear message."""

import numpy as np

from pocketkube.errors import UserError


def numbers_of(
    returned: object, count: int, named: str, units: str, *, least: float = -np.inf
) -> np.ndarray:
    """What a method has returned, as numbers that can be negated and compared.

    Args:
        returned: What it has returned.
        count: How many numbers there have to be.
        named: The method, for the message.
        units: What there is a number for each of, for the message.
        least: The smallest number that makes sense.

    Returns:
        `[count]`, as float64: small integers without a sign wrap around where they are negated.

    Raises:
        UserError: If it is something else.
    """
    try:
        found = np.asarray(returned)
    except (TypeError, ValueError):
        # As of a list of lists of several lengths.
        found = np.empty(0, object)
    if found.dtype.kind not in "fiu":
        received = f"{returned!r:.60}"
    elif found.shape != (count,):
        received = f"an array of the shape {found.shape}"
    elif np.isnan(found).any():
        received = f"{np.isnan(found).sum()} that are not a number"
    elif (found < least).any():
        received = f"the least of {found.min():g}"
    else:
        return found.astype(np.float64)
    wanted = f"{count} numbers" + (f" of {least:g} or more" if np.isfinite(least) else "")
    raise UserError(
        f"{named} has to return an array of {wanted}, one for each of {units}; received {received}."
    )
