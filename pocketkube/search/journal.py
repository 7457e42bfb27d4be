"""What was tried so far, a line for each change, so that a killed search goes on with nothing lost."""

import fcntl
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

from pocketkube.errors import UserError
from pocketkube.search.trial import Trial

FILE = "trials.jsonl"


class Journal:
    """The trials of an experiment, in a file that only grows.

    Whoever writes first holds it until the journal is closed or gone; reading never waits.

    Attributes:
        state: What the sampler wants to see again; that of its latest answer.
    """

    def __init__(self, folder: Path) -> None:
        """Reads what there is.

        Args:
            folder: The experiment's; made where it is not there.

        Raises:
            UserError: If the file is damaged; a last line that was cut short is left out.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self._file, self.state = folder / FILE, ""
        self._trials: dict[int, Trial] = {}
        self._writer: BinaryIO | None = None
        self._whole_bytes = self._bytes = 0
        self._read()

    def trials(self) -> tuple[Trial, ...]:
        """All of them by their numbers; those that ran when a process was killed are still running."""
        return tuple(self._trials[number] for number in sorted(self._trials))

    def asked(self, trial: Trial, state: str) -> None:
        """Writes down a trial that is to run.

        Args:
            trial: The trial.
            state: The sampler's.
        """
        self.state = state
        self._write(trial, {"sampler_state": state})

    def ended(self, trial: Trial) -> None:
        """Writes down what came of a trial."""
        self._write(trial, {})

    def close(self) -> None:
        """Lets another process write."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _write(self, trial: Trial, more: dict[str, str]) -> None:
        if self._writer is None:
            self._writer = self._held()
        self._trials[trial.number] = trial
        line = json.dumps(asdict(trial) | {"costs": dict(trial.costs)} | more)
        self._writer.write(f"{line}\n".encode())
        self._writer.flush()
        os.fsync(self._writer.fileno())

    def _held(self) -> BinaryIO:
        """The file, locked, without the line that was cut short.

        Raises:
            UserError: If another process writes to it, or has since it was read.
        """
        file = self._file.open("ab")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(file.fileno()).st_size != self._bytes:
                raise BlockingIOError
            file.truncate(self._whole_bytes)
        except BlockingIOError:
            file.close()
            raise UserError(
                f"{self._file} is written by another search: wait until that has ended, or give "
                "another folder."
            ) from None
        return file

    def _read(self) -> None:
        if not self._file.is_file():
            return
        content = self._file.read_bytes()
        whole, _, cut_short = content.rpartition(b"\n")
        self._bytes, self._whole_bytes = len(content), len(content) - len(cut_short)
        for number, line in enumerate(whole.splitlines(), start=1):
            try:
                facts: dict[str, Any] = json.loads(line)
                self.state = facts.pop("sampler_state", self.state)
                trial = Trial(**facts | {"choice": tuple(map(int, facts["choice"]))})
            except (ValueError, TypeError, KeyError):
                raise UserError(
                    f"{self._file} is damaged in line {number}; remove it, and the search begins anew."
                ) from None
            self._trials[trial.number] = trial
