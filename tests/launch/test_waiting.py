"""What becomes of a job when whoever shows its lines is ended."""

from collections.abc import Iterator

import pytest

from pocketkube.errors import UserError
from pocketkube.launch.outcome import Cause, Outcome
from pocketkube.launch.waiting import show


class Ends:
    """A job that prints a line, and is ended by an error unless that is None."""

    def __init__(self, error: BaseException | None) -> None:
        self.error, self.is_cancelled = error, False

    def follow(self) -> Iterator[str]:
        yield "half-way"
        if self.error is not None:
            raise self.error

    def cancel(self) -> None:
        self.is_cancelled = True

    @property
    def outcome(self) -> Outcome:
        return Outcome(0, Cause.DONE)


def test_its_lines_are_shown_until_its_end(capsys: pytest.CaptureFixture[str]) -> None:
    job = Ends(None)
    assert show(job).cause is Cause.DONE
    assert capsys.readouterr().err == "half-way\n"
    assert not job.is_cancelled


@pytest.mark.parametrize("error", [UserError("The cluster is away."), KeyboardInterrupt()])
def test_it_is_cancelled_with_what_ends_this(error: BaseException) -> None:
    job = Ends(error)
    with pytest.raises(type(error)):
        show(job)
    assert job.is_cancelled


def test_an_error_that_it_outlives_leaves_it_to_whoever_comes_next() -> None:
    away, ended = Ends(UserError("The cluster is away.")), Ends(KeyboardInterrupt())
    for job in (away, ended):
        with pytest.raises((UserError, KeyboardInterrupt)):
            show(job, outlives=(UserError,))
    assert (away.is_cancelled, ended.is_cancelled) == (False, True)
