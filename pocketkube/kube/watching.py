"""The states of objects as they come, none of the last ones missed, whatever happens on the way."""

import json
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

from pocketkube.kube.failures import ApiServerAway, Refused, refusal
from pocketkube.kube.objects import Kind, described, listed, path_of, selection
from pocketkube.kube.session import Session
from pocketkube.kube.transport import Document, Request, lines, pause_s_after

# After so long the server is asked anew: no proxy or balancer on the way ends what goes on for hours.
LONGEST_WATCH_S = 290.0
# A server that is there ends its answer in time; a connection that broke without a word does not.
_GRACE_S = 15.0
# Some fifteen seconds.
_TRIES = 5


@dataclass(frozen=True)
class Seen:
    """An object's state.

    Attributes:
        document: The object; the last that was seen of it, if it is gone.
        is_gone: Whether it was deleted, or has lost the labels that were asked for.
    """

    document: Document
    is_gone: bool = False


class _Expired(Exception):
    """The server does not know any more what happened since."""


def watch(
    session: Session, kind: Kind, *, labels: str = "", name: str = "", seconds: float
) -> Iterator[Seen]:
    """The states of objects: what there is, then each change, until time is up.

    What happened while the connection was lost, or the API server was away, comes later: each object's
    last state always does, those between may not.

    Args:
        session: The cluster, and the namespace.
        kind: The objects' kind.
        labels: A selector of labels, as in app=train.
        name: The name of the only object that is wanted.
        seconds: When to end.

    Yields:
        States, an object's in their order.

    Raises:
        Refused: If the API server says no.
        ApiServerAway: If it stays away.
    """
    for seen in watch_with_pauses(
        session, kind, labels=labels, name=name, seconds=seconds, pause_s=LONGEST_WATCH_S
    ):
        if seen is not None:
            yield seen


def watch_with_pauses(
    session: Session,
    kind: Kind,
    *,
    labels: str = "",
    name: str = "",
    seconds: float,
    pause_s: float,
) -> Iterator[Seen | None]:
    """As `watch`, and None whenever nothing was new for so long, and after what there is at first.

    Args:
        session: The cluster, and the namespace.
        kind: The objects' kind.
        labels: A selector of labels.
        name: The name of the only object that is wanted.
        seconds: When to end.
        pause_s: For how long nothing may be new; whole seconds.
    """
    fields = f"metadata.name={name}" if name else ""
    known: dict[str, Document] = {}
    ends = time.monotonic() + seconds
    moment, failures = "", 0
    while (left_s := ends - time.monotonic()) > 0:
        if not moment:
            found = listed(_within(session, left_s), kind, labels, fields)
            yield from _differences(known, found.documents)
            yield None
            moment, failures = found.resource_version, 0
            continue
        asked_s = max(1, math.ceil(min(left_s, pause_s, LONGEST_WATCH_S)))
        began, is_new = time.monotonic(), False
        try:
            for kind_of_event, document in _events(session, kind, labels, fields, moment, asked_s):
                moment, failures = document["metadata"]["resourceVersion"], 0
                if kind_of_event != "BOOKMARK":
                    is_new = True
                    yield _change(known, kind_of_event, document)
        except _Expired:
            moment = ""
        except ApiServerAway as away:
            failures += 1
            # One that answers may fail for that moment: a server that was restored knows earlier ones.
            # One that does not, for long, is asked for a list, which says so and gives up in time.
            moment = moment if away.status is None and failures < _TRIES else ""
            time.sleep(min(pause_s_after(failures, away), max(0, ends - time.monotonic())))
        else:
            failures = 0
            if not is_new:
                # One that ends each answer at once is not asked a thousand times a second.
                time.sleep(1 if time.monotonic() - began < 1 else 0)
                yield None


def _events(
    session: Session, kind: Kind, labels: str, fields: str, since: str, seconds: int
) -> Iterator[tuple[str, Document]]:
    """What the server tells in one answer: ADDED, MODIFIED, DELETED or BOOKMARK, and the object."""
    what = described(session, kind)
    query = (
        *selection(labels, fields),
        ("watch", "true"),
        ("resourceVersion", since),
        ("allowWatchBookmarks", "true"),
        ("timeoutSeconds", str(seconds)),
    )
    request = Request(what, "GET", path_of(session, kind), query)
    try:
        for line in lines(session.server, request, seconds + _GRACE_S):
            event = json.loads(line)
            if event["type"] == "ERROR":
                raise refusal(what, int(event["object"].get("code") or 500), event["object"])
            yield event["type"], event["object"]
    except Refused as refused:
        if refused.status == 410:
            raise _Expired from refused
        raise
    except ValueError as error:
        raise ApiServerAway(f"{what}: the API server's answer broke off.") from error


def _change(known: dict[str, Document], kind_of_event: str, document: Document) -> Seen:
    uid = document["metadata"]["uid"]
    if kind_of_event == "DELETED":
        known.pop(uid, None)
        return Seen(document, is_gone=True)
    known[uid] = document
    return Seen(document)


def _differences(known: dict[str, Document], found: tuple[Document, ...]) -> Iterator[Seen]:
    """What a list tells that was not known before."""
    there = {document["metadata"]["uid"] for document in found}
    # Those that have gone come first: another may have their name by now.
    for uid in [uid for uid in known if uid not in there]:
        yield Seen(known.pop(uid), is_gone=True)
    for document in found:
        uid, version = document["metadata"]["uid"], document["metadata"]["resourceVersion"]
        if uid not in known or known[uid]["metadata"]["resourceVersion"] != version:
            known[uid] = document
            yield Seen(document)


def _within(session: Session, seconds: float) -> Session:
    patience = session.server.patience
    patience = replace(patience, total_s=min(seconds, patience.total_s))
    return replace(session, server=replace(session.server, patience=patience))
