"""What an experiment has done so far, in a file that outlives any interruption."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, Self

from pydantic import TypeAdapter, ValidationError

from pocketkube.errors import UserError
from pocketkube.files.appended import AppendedLines, WrittenByAnother
from pocketkube.search.local_katib.ending import Reason
from pocketkube.search.local_katib.experiment import Experiment
from pocketkube.search.local_katib.trial import Trial

JOURNAL_FILE = "journal.jsonl"
# What may change between two runs of an experiment, as in Katib; where its file lies may, too.
_EDITABLE = ("parallel", "max_trials", "max_failed", "resumes", "folder")


@dataclass(frozen=True)
class _Event:
    """A line.

    Attributes:
        kind: "asked": a trial is about to run; "ended": it has; "over": the experiment has.
        trial: The trial, but where the experiment has ended.
        state: The algorithm's, where a trial was asked for.
        reason: Why the experiment has ended.
    """

    kind: Literal["asked", "ended", "over"]
    trial: Trial | None = None
    state: str = ""
    reason: Reason | None = None


_EVENTS = TypeAdapter(_Event)


class Journal:
    """A journal that is held by one process at a time.

    Args:
        folder: The experiment's results.
        experiment: The experiment.

    Raises:
        UserError: If the folder holds another experiment, its journal is damaged, or another process
            runs it.
    """

    def __init__(self, folder: Path, experiment: Experiment) -> None:
        self._folder = folder
        self._trials: dict[int, Trial] = {}
        self._state = ""
        self._over: Reason | None = None
        self._lines = AppendedLines(folder / JOURNAL_FILE)
        try:
            self._lines.hold()
            self._load(_fingerprint(experiment))
        except WrittenByAnother:
            raise UserError(
                f"{folder}: another process runs this experiment; wait, or give another --output."
            ) from None
        except BaseException:
            self._lines.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._lines.close()

    @property
    def trials(self) -> list[Trial]:
        """All trials in the order of their numbers; those that were interrupted are running."""
        return [self._trials[number] for number in sorted(self._trials)]

    @property
    def state(self) -> str:
        """The algorithm's latest state."""
        return self._state

    @property
    def over(self) -> Reason | None:
        """Why the experiment has ended; None while it goes on."""
        return self._over

    def asked(self, trial: Trial, state: str) -> None:
        """Keeps a trial that is about to run, with the algorithm's state."""
        self._keep(_Event("asked", trial, state))

    def ended(self, trial: Trial) -> None:
        """Keeps what came of a trial."""
        self._keep(_Event("ended", trial))

    def ends(self, reason: Reason) -> None:
        """Keeps that the experiment has ended."""
        if self._over != reason:
            self._keep(_Event("over", reason=reason))

    def _keep(self, event: _Event) -> None:
        self._lines.append(_EVENTS.dump_json(event).decode())
        self._apply(event)

    def _apply(self, event: _Event) -> None:
        if event.trial is not None:
            self._trials[event.trial.number] = event.trial
        if event.kind == "asked":
            self._state = event.state
        self._over = event.reason if event.kind == "over" else None

    def _load(self, fingerprint: str) -> None:
        if not self._lines.lines:
            self._lines.append(fingerprint)
            return
        header, *lines = self._lines.lines
        if header != fingerprint:
            raise UserError(
                f"{self._folder} holds another experiment, or more was changed than "
                "parallelTrialCount, maxTrialCount, maxFailedTrialCount and resumePolicy; give another "
                "--output."
            )
        for line in lines:
            try:
                self._apply(_EVENTS.validate_json(line))
            except ValidationError:
                raise UserError(
                    f"{self._folder / JOURNAL_FILE} is damaged: it has the line {line!r:.80}."
                ) from None


def _fingerprint(experiment: Experiment) -> str:
    fixed = {key: value for key, value in asdict(experiment).items() if key not in _EDITABLE}
    return hashlib.sha256(json.dumps(fixed, sort_keys=True).encode()).hexdigest()
