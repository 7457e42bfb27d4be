"""Why a job waits, and when it is given up: for what keeps it now, and has kept it for long enough."""

from collections.abc import Callable

import pytest

from pocketkube.kube.pods import Stuck
from pocketkube.launch.unstarted import Waiting

NODE = Stuck("pod a", "Unschedulable", "0/3 nodes are available")
IMAGE = Stuck("pod a", "ErrImagePull", "not found")
QUOTA = Stuck("Job a", "FailedCreate", "exceeded quota: small")
OTHER = Stuck("Job a", "FailedCreate", "Internal error occurred")
CRASH = Stuck("pod a", "CrashLoopBackOff", "exit code 1; started 3 times")


@pytest.fixture
def wait(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Stuck | None]:
    """Has a job wait for a reason, looked at every two seconds, and says for what it is given up."""
    now, waiting = [0.0], Waiting(600)
    monkeypatch.setattr("pocketkube.launch.unstarted.time.monotonic", lambda: now[0])

    def wait(reason: Stuck | None, seconds: float) -> Stuck | None:
        for _ in range(int(seconds / 2)):
            now[0] += 2
            list(waiting.because(reason))
        return waiting.given_up

    return wait


def test_it_is_given_up_after_its_patience(wait: Callable[..., Stuck | None]) -> None:
    assert wait(NODE, 590) is None
    assert wait(NODE, 20) == NODE


def test_an_image_that_fails_after_a_long_wait_for_a_node_has_its_own_time(
    wait: Callable[..., Stuck | None],
) -> None:
    assert wait(NODE, 300) is None
    assert wait(IMAGE, 100) is None
    assert wait(IMAGE, 30) == IMAGE


def test_a_wait_that_has_passed_counts_no_more(wait: Callable[..., Stuck | None]) -> None:
    assert wait(NODE, 590) is None
    # It has its node, and its image comes.
    assert wait(None, 900) is None
    assert wait(QUOTA, 100) is None


def test_containers_that_crash_again_and_again_are_given_up(wait: Callable[..., Stuck | None]) -> None:
    given_up = [(wait(None, 10), wait(CRASH, 40))[1] for _ in range(14)]
    assert given_up[:10] == [None] * 10
    assert given_up[-1] == CRASH


def test_what_is_sure_is_told_and_not_a_later_event(wait: Callable[..., Stuck | None]) -> None:
    wait(QUOTA, 300)
    assert wait(OTHER, 310) == QUOTA
