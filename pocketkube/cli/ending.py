"""How a command ends: with one line and an exit code, or with the table of a job."""

import os
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pocketkube.console.closed_streams import open_closed_streams
from pocketkube.console.last_words import last_words
from pocketkube.console.terminal import Console, ReaderLeft, visible_output
from pocketkube.errors import DataError, UserError
from pocketkube.processes.interruption import interrupt_again_where_dropped, interrupt_at_sigterm
from pocketkube.processes.linux import signal_with_parent
from pocketkube.processes.ranks import started_size, started_together

if TYPE_CHECKING:
    from pocketkube.report.result import Result

INTERRUPTED = 130
# As of a process that the signal of a closed pipe ends.
NOBODY_READS = 128 + signal.SIGPIPE


@contextmanager
def plain_ending() -> Iterator[None]:
    """Turns what goes wrong, or an interruption, into one line and an exit code."""
    open_closed_streams()
    if started_size() == 1:
        # Ends what this process started, as Ctrl-C does; mpirun ends its ranks itself.
        interrupt_at_sigterm()
    else:
        signal_with_parent(signal.SIGTERM)
        interrupt_again_where_dropped()
    with visible_output():
        try:
            try:
                yield
            finally:
                sys.stdout.flush()
        except KeyboardInterrupt as interrupt:
            remedy = str(interrupt) or "the same command goes on from here."
            said = " ".join([f"interrupted; {remedy}", *getattr(interrupt, "__notes__", ())])
            print(f"{UserError.PREFIX}{said}", file=sys.stderr)
            sys.exit(INTERRUPTED)
        except ReaderLeft as left:
            _forget(left.stream)
            sys.exit(NOBODY_READS)
        except Exception as error:
            ending = last_words(error)
            print(ending.line, file=sys.stderr)
            in_a_rank = started_together() and isinstance(ending.meaning, DataError)
            sys.exit(DataError.RANK_EXIT_CODE if in_a_rank else ending.exit_code)


def _forget(stream: Any) -> None:
    """Lets Python flush what is left of a stream that nobody reads."""
    with suppress(OSError, ValueError), open(os.devnull, "w") as nowhere:  # noqa: PTH123
        os.dup2(nowhere.fileno(), stream.fileno())


def show(table: Any) -> None:
    """Prints a table on standard output."""
    # A pipe has no width of its own: tables are not to be cut there.
    width = None if sys.stdout.isatty() else shutil.get_terminal_size((120, 24)).columns
    # A name is copied from here into the next command: it may go on in a second line, never end in "…".
    for column in table.columns:
        column.overflow = "fold"
    Console(width=width).print(table)


def show_job(result: "Result", output: Path) -> None:
    """Prints the table that ends a job, and where its files are."""
    from pocketkube.report.summary import render_table

    show(render_table(result))
    for warning in result.warnings:
        print(f"Warning: {warning}")
    print(f"Report:  {output / 'report.html'}\nModel:   {output / 'model.tflite'}")
