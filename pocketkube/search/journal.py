"""What was tried so far, a line for each change, so that a killed search goes on with nothing lost."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pocketkube.errors import UserError
from pocketkube.files.appended import AppendedLines, WrittenByAnother
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
        self._file, self.state = folder / FILE, ""
        self._trials: dict[int, Trial] = {}
        self._lines = AppendedLines(self._file)
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
        self._lines.close()

    def _write(self, trial: Trial, more: dict[str, str]) -> None:
        self._trials[trial.number] = trial
        try:
            self._lines.append(json.dumps(asdict(trial) | {"costs": dict(trial.costs)} | more))
        except WrittenByAnother:
            raise UserError(
                f"{self._file} is written by another search: wait until that has ended, or give "
                "another folder."
            ) from None

    def _read(self) -> None:
        for number, line in enumerate(self._lines.lines, start=1):
            try:
                facts: dict[str, Any] = json.loads(line)
                self.state = facts.pop("sampler_state", self.state)
                trial = Trial(**facts | {"choice": tuple(map(int, facts["choice"]))})
            except (ValueError, TypeError, KeyError):
                raise UserError(
                    f"{self._file} is damaged in line {number}; remove it, and the search begins anew."
                ) from None
            self._trials[trial.number] = trial
