"""A folder for results, into which one run writes at a time."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from pocketkube.errors import UserError
from pocketkube.files.held import HELD, OURS, held
from pocketkube.files.layout import STEPS
from pocketkube.files.whole import sweep

LOCK = f"{OURS}run{HELD}"
# Where runs write, beside the folder itself.
_WITHIN = (STEPS, ".cache")


@contextmanager
def alone_in(output: Path) -> Iterator[None]:
    """Keeps a second run out of a folder, and removes what killed ones were writing in it.

    Args:
        output: The folder; made where it is not there, and gone again where nothing was written.

    Raises:
        UserError: If another run is at it, which is named, or it cannot be written.
    """

    def refuse(holder: str) -> None:
        raise UserError(f"{output}: {holder} writes there; wait for its end, or give another --output.")

    made = [folder for folder in (output, *output.parents) if not folder.exists()]
    try:
        with held(output / LOCK, refuse):
            for folder in (output, *(output / name for name in _WITHIN)):
                sweep(folder)
            yield
    finally:
        # Those that hold something stay.
        with suppress(OSError):
            for folder in made:
                folder.rmdir()


@contextmanager
def telling_of_earlier(output: Path, names: Sequence[str]) -> Iterator[None]:
    """Says with what ends a run that results in its folder are not its own; they stay.

    An interruption bears the sentence as a note.

    Args:
        output: The folder.
        names: Results that a run writes at its end.

    Raises:
        UserError: What ended the run, and which results are of an earlier one.
    """
    try:
        yield
    except UserError as error:
        if said := _earlier(output, names):
            raise error.saying(f"{error} {said}") from error
        raise
    except KeyboardInterrupt as interrupt:
        if said := _earlier(output, names):
            interrupt.add_note(said)
        raise


def _earlier(output: Path, names: Sequence[str]) -> str:
    left = [name for name in names if (output / name).is_file()]
    if not left:
        return ""
    *others, last = left
    of = f"{', '.join(others)} and {last} are" if others else f"{last} is"
    return f"In {output}, {of} still of an earlier run."
