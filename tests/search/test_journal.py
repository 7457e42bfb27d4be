"""A journal holds what was written to it, wherever a process was killed."""

from pathlib import Path

import pytest

from pocketkube.errors import UserError
from pocketkube.search.journal import Journal
from pocketkube.search.trial import Trial

TRIALS = (
    Trial(0, (1, 2), "done", 0.5, {"macs": 3.0}, 0.25, "milp"),
    Trial(1, (0, 2), "failed", sampler="tpe", cause='it said "no"'),
    Trial(2, (0, 0), sampler="tpe"),
)


def written(folder: Path) -> Path:
    journal = Journal(folder)
    for trial in TRIALS:
        journal.asked(Trial(trial.number, trial.choice, sampler=trial.sampler), f"state{trial.number}")
        if trial.state != "running":
            journal.ended(trial)
    return folder / "trials.jsonl"


def test_it_is_read_as_it_was_written(tmp_path: Path) -> None:
    written(tmp_path)
    journal = Journal(tmp_path)
    assert journal.trials() == TRIALS
    assert journal.state == "state2"


def test_a_line_that_was_cut_short_is_as_if_it_had_never_been(tmp_path: Path) -> None:
    file = written(tmp_path)
    whole = file.read_bytes()
    lines = whole.splitlines(keepends=True)
    for length in (1, len(lines[-1]) // 2, len(lines[-1]) - 1):
        file.write_bytes(b"".join(lines[:-1]) + lines[-1][:length])
        journal = Journal(tmp_path)
        assert (journal.trials(), journal.state) == (TRIALS[:2], "state1")
        journal.asked(TRIALS[2], "state2")
        assert file.read_bytes() == whole
    file.write_bytes(whole.replace(b'"macs"', b"macs", 1))
    with pytest.raises(UserError, match=r"trials\.jsonl is damaged in line 2; remove it"):
        Journal(tmp_path)


def test_one_process_writes_at_a_time(tmp_path: Path) -> None:
    first, second = Journal(tmp_path), Journal(tmp_path)
    first.asked(TRIALS[2], "")
    with pytest.raises(UserError, match="written by another search"):
        second.asked(TRIALS[2], "")
    first.close()
    # It never saw what the first has written.
    with pytest.raises(UserError, match="written by another search"):
        second.asked(TRIALS[2], "")
    third = Journal(tmp_path)
    third.ended(TRIALS[2])
    assert Journal(tmp_path).trials() == (TRIALS[2],)


def test_reading_leaves_a_line_that_is_being_written(tmp_path: Path) -> None:
    file = written(tmp_path)
    with file.open("ab") as writer:
        writer.write(b'{"number": 3')
    torn = file.read_bytes()
    assert Journal(tmp_path).trials() == TRIALS
    assert file.read_bytes() == torn
