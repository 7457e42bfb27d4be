"""What a pod's container writes, line by line, each line once, whatever happens to the connection."""

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from pocketkube.kube.failures import ApiServerAway, Refused
from pocketkube.kube.objects import POD, described, get, path_of
from pocketkube.kube.session import Session
from pocketkube.kube.transport import Document, Request, lines, patiently, pause_s_after
from pocketkube.kube.watching import watch

_NANOSECONDS = 10**9
# A container may be silent for long, and a connection broken without a word: it is made anew then.
_SILENCE_S = 60.0


@dataclass(frozen=True)
class LogLine:
    """A line that a container wrote.

    Attributes:
        time_ns: When, in nanoseconds since 1970.
        text: The line without its end.
    """

    time_ns: int
    text: str


def follow_log(session: Session, pod: str, container: str = "", *, seconds: float) -> Iterator[LogLine]:
    """The lines of a container from the first on, until it has ended for good, or its pod is gone.

    Waits until it has started. After a lost connection the log goes on where it was, no line lost or
    repeated: the node's log knows the time of each.

    Args:
        session: The cluster, and the pod's namespace.
        pod: Its name.
        container: The container's name; the pod's first if empty.
        seconds: When to end, at the next line.

    Raises:
        Refused: If the API server says no.
        ApiServerAway: If it, or the pod's node, stays away.
    """
    ends, failures, fails_since = time.monotonic() + seconds, 0, time.monotonic()
    position = _Position()
    while time.monotonic() < ends:
        document = _started(session, pod, container, ends - time.monotonic())
        if document is None:
            return
        container = container or document["spec"]["containers"][0]["name"]
        # Looked at before the log is: what the log holds then is all there is.
        is_over, began = _is_over(document, container), time.monotonic()
        try:
            for line in position.new(_lines(session, pod, container, position.time_ns, is_over)):
                yield line
                failures = 0
                if time.monotonic() > ends:
                    return
        except Refused as refused:
            # Gone meanwhile; or 400: it starts again, and has written nothing yet.
            if refused.status not in (400, 404):
                raise
            time.sleep(0.5)
        except ApiServerAway as away:
            failures += 1
            if failures == 1 or time.monotonic() - began > _SILENCE_S / 2:
                fails_since = time.monotonic()
            if time.monotonic() - fails_since > session.server.patience.total_s:
                raise
            time.sleep(min(pause_s_after(failures, away), max(0, ends - time.monotonic())))
        else:
            if is_over:
                return
            # It has just ended, most likely; or a server on the way has.
            time.sleep(0.2)


def last_lines(session: Session, pod: str, container: str = "", count: int = 20) -> tuple[str, ...]:
    """The last lines that a container has written; none if there is no log.

    Raises:
        ApiServerAway: If the API server, or the pod's node, stays away.
    """
    query = (("tailLines", str(count)), *_named(container))
    try:
        return tuple(
            patiently(session.server, lambda: [_text(line) for line in _asked(session, pod, query)])
        )
    except Refused:
        return ()


@dataclass
class _Position:
    """Up to where a log was read.

    Attributes:
        time_ns: The time of the last line; None at the beginning.
        count: How many lines of that time there were.
    """

    time_ns: int | None = None
    count: int = 0

    def new(self, log: Iterator[LogLine]) -> Iterator[LogLine]:
        """The lines that come after the position, which moves with them.

        Args:
            log: Lines, some of which may have been read before; never only some of one time.
        """
        reached, again = self.time_ns, self.count
        for line in log:
            if reached is not None:
                is_known = line.time_ns <= reached
                again -= line.time_ns == reached
                # After the last that is known all is new, even if the node's clock was put back.
                reached = reached if is_known and again else None
                if is_known:
                    continue
            self.count = self.count + 1 if line.time_ns == self.time_ns else 1
            self.time_ns = line.time_ns
            yield line


def _started(session: Session, pod: str, container: str, seconds: float) -> Document | None:
    """The pod, as soon as its container has written something or could have; None if it never will."""
    document = get(session, POD, pod)
    if document is None or _has_begun(document, container):
        return document
    for seen in watch(session, POD, name=pod, seconds=seconds):
        if seen.is_gone:
            return None
        if _has_begun(seen.document, container):
            return seen.document
        if seen.document["status"].get("phase") in ("Succeeded", "Failed"):
            return None
    return None


def _has_begun(pod: Document, container: str) -> bool:
    state = _state(pod, container)
    now, before = state.get("state", {}), state.get("lastState", {})
    return "running" in now or "terminated" in now or "terminated" in before


def _is_over(pod: Document, container: str) -> bool:
    if pod["status"].get("phase") in ("Succeeded", "Failed"):
        return True
    ended, policy = (
        _state(pod, container).get("state", {}).get("terminated"),
        pod["spec"]["restartPolicy"],
    )
    return bool(ended) and (policy == "Never" or (policy == "OnFailure" and ended["exitCode"] == 0))


def _state(pod: Document, container: str) -> Document:
    container = container or pod["spec"]["containers"][0]["name"]
    status = pod.get("status", {})
    for state in (*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())):
        if state["name"] == container:
            return state
    return {}


def _lines(
    session: Session, pod: str, container: str, since_ns: int | None, is_over: bool
) -> Iterator[LogLine]:
    query = (("timestamps", "true"), *_named(container))
    if not is_over:
        query += (("follow", "true"),)
    if since_ns is not None:
        # The node takes whole seconds, and a long line's end is later than its beginning, which counts.
        since = datetime.fromtimestamp(since_ns // _NANOSECONDS - 1, UTC)
        query += (("sinceTime", since.strftime("%Y-%m-%dT%H:%M:%SZ")),)
    for line in _asked(session, pod, query):
        # Half a line is read again, unless it is all there will be.
        if line.endswith(b"\n") or is_over:
            written, _, rest = line.partition(b" ")
            time_ns = _parsed(written)
            # A node says in a line without a time that it has no log.
            if time_ns is not None:
                yield LogLine(time_ns, _text(rest))


def _asked(session: Session, pod: str, query: tuple[tuple[str, str], ...]) -> Iterator[bytes]:
    what = f"the log of {described(session, POD, pod)}"
    request = Request(what, "GET", f"{path_of(session, POD)}/{pod}/log", query)
    return lines(session.server, request, _SILENCE_S)


def _named(container: str) -> tuple[tuple[str, str], ...]:
    return (("container", container),) if container else ()


def _text(line: bytes) -> str:
    return line.removesuffix(b"\n").decode(errors="replace")


def _parsed(written: bytes) -> int | None:
    """Nanoseconds since 1970 of a time such as 2026-01-31T12:00:00.123456789+01:00."""
    found = re.fullmatch(r"([^.]+?)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)", written.decode(errors="replace"))
    if found is None:
        return None
    seconds, fraction, zone = found.groups()
    try:
        whole = int(datetime.fromisoformat(seconds + zone).timestamp())
    except ValueError:
        return None
    return whole * _NANOSECONDS + int((fraction or "").ljust(9, "0"))
