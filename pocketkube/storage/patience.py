"""How long work that is done, or half done, waits for a server that is away."""

import sys
from collections.abc import Callable
from typing import TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt, wait_chain
from tenacity.wait import wait_fixed

from pocketkube.storage.failures import ServerAway

# Some ten minutes: as long as a server's machine may take to come back.
PAUSES_S: tuple[float, ...] = (5, 10, 20, 40, 80, 160, 300)

Result = TypeVar("Result")


def patiently(what: str, work: Callable[[], Result]) -> Result:
    """Does `work` again, for some ten minutes, where the server is away; says so on standard error.

    Args:
        what: What is being done, in a word.
        work: What to do; it begins anew each time.

    Raises:
        ServerAway: If the server stays away.
        UserError: If `work` refuses, at once.
    """

    def say(state: RetryCallState) -> None:
        assert state.outcome is not None
        assert state.next_action is not None
        pause, reason = state.next_action.sleep, state.outcome.exception()
        print(f'stage={what} again_in={pause:g}s reason="{reason}"', file=sys.stderr, flush=True)

    return Retrying(
        retry=retry_if_exception_type(ServerAway),
        wait=wait_chain(*map(wait_fixed, PAUSES_S)),
        stop=stop_after_attempt(len(PAUSES_S) + 1),
        before_sleep=say,
        reraise=True,
    )(work)
