"""How a command ends: with one line and an exit code, or with the table of a job."""

import os
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from pocketkube.child_processes import end_with_parent
from pocketkube.errors import DataError, UserError
from pocketkube.ranks import started_size

if TYPE_CHECKING:
    from pocketkube.report.result import Result

INTERRUPTED = 130


@contextmanager
def plain_ending() -> Iterator[None]:
    """Turns a user's mistake, or an interruption, into one line and an exit code."""
    if started_size() == 1:
        # Ends what this process started, as Ctrl-C does; mpirun ends its ranks itself.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    else:
        end_with_parent(os.getppid())
    try:
        yield
    except UserError as error:
        print(f"{UserError.PREFIX}{error}", file=sys.stderr)
        in_a_rank = started_size() > 1 and isinstance(error, DataError)
        sys.exit(DataError.RANK_EXIT_CODE if in_a_rank else error.EXIT_CODE)
    except KeyboardInterrupt as interrupt:
        remedy = str(interrupt) or "the same command goes on from here."
        print(f"{UserError.PREFIX}interrupted; {remedy}", file=sys.stderr)
        sys.exit(INTERRUPTED)


def show(table: Any) -> None:
    """Prints a table on standard output."""
    # A pipe has no width of its own: tables are not to be cut there.
    width = None if sys.stdout.isatty() else shutil.get_terminal_size((120, 24)).columns
    Console(width=width).print(table)


def show_job(result: "Result", output: Path) -> None:
    """Prints the table that ends a job, and where its files are."""
    from pocketkube.report.summary import render_table

    show(render_table(result))
    for warning in result.warnings:
        print(f"Warning: {warning}")
    print(f"Report:  {output / 'report.html'}\nModel:   {output / 'model.tflite'}")
