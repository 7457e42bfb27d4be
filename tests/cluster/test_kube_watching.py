"""A watch on a real API server: what is seen while it, or the way to it, comes and goes."""

import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from typing import Any

import pytest

from pocketkube.kube import ApiServerAway, Refused, Session, objects
from pocketkube.kube.objects import CONFIG_MAP
from pocketkube.kube.transport import Patience
from pocketkube.kube.watching import Seen, watch, watch_with_pauses
from tests.cluster.faulty import faulty, status
from tests.cluster.lone_api_server import LoneApiServer
from tests.cluster.test_kube_objects import config_map, core
from tests.storage.relay import Answer, Cut, Otherwise, Wrong

LIMIT_S = 60


def count_of(seen: Seen) -> str:
    return "gone" if seen.is_gone else seen.document["data"].get("count", "-")


class Changes:
    """Changes an object again and again from a thread, as another program does."""

    def __init__(self, session: Session, *counts: int, pause_s: float = 0.3):
        self._session, self._counts, self._pause_s = session, counts, pause_s

    def __enter__(self) -> None:
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def __exit__(self, *raised: object) -> None:
        self._thread.join()

    def _run(self) -> None:
        for count in self._counts:
            time.sleep(self._pause_s)
            put(self._session, count)


def put(session: Session, count: int) -> None:
    body = {"data": {"count": str(count)}}
    core(session).patch_namespaced_config_map("settings", session.namespace, body)


def remove(session: Session) -> None:
    core(session).delete_namespaced_config_map("settings", session.namespace)


def until(states: Iterator[Seen], last: str) -> list[str]:
    counts = []
    for seen in states:
        counts.append(count_of(seen))
        if counts[-1] == last:
            return counts
    raise AssertionError(f"{last} never came, but {counts}")


def named(session: Session) -> Iterator[Seen]:
    return watch(session, CONFIG_MAP, name="settings", seconds=LIMIT_S)


def test_what_there_is_then_each_change_then_the_end(bare: Session) -> None:
    objects.create(bare, config_map(count="0"))
    objects.create(bare, config_map("another", count="7"))
    with Changes(bare, 1, 2, 3):
        assert until(named(bare), "3") == ["0", "1", "2", "3"]
    later = threading.Timer(0.5, remove, (bare,))
    later.start()
    assert until(named(bare), "gone") == ["3", "gone"]
    later.join()


def test_it_ends_when_time_is_up(bare: Session) -> None:
    objects.create(bare, config_map(count="0"))
    began = time.monotonic()
    seen = list(watch(bare, CONFIG_MAP, name="settings", seconds=2))
    assert [count_of(state) for state in seen] == ["0"]
    assert 2 <= time.monotonic() - began < 4


def test_it_tells_that_nothing_is_new(bare: Session) -> None:
    objects.create(bare, config_map(count="0"))
    began = time.monotonic()
    states = watch_with_pauses(bare, CONFIG_MAP, name="settings", seconds=LIMIT_S, pause_s=1)
    first = list(islice(states, 4))
    assert [state and count_of(state) for state in first] == ["0", None, None, None]
    assert 1.5 <= time.monotonic() - began < 4
    with Changes(bare, 1):
        assert until(filter(None, states), "1") == ["1"]


def test_what_loses_its_label_counts_as_gone(bare: Session) -> None:
    objects.create(bare, config_map(count="0"))
    objects.create(bare, {**config_map(), "metadata": {"name": "another"}})
    states = watch(bare, CONFIG_MAP, labels="app=tested", seconds=LIMIT_S)
    assert count_of(next(states)) == "0"
    objects.patch(bare, CONFIG_MAP, "settings", {"metadata": {"labels": {"app": "other"}}})
    assert next(states).is_gone


def first_watches(
    *faults: Wrong | Callable[[str], Wrong],
) -> tuple[Callable[[str, str], Any], list[str]]:
    """A fault for each of the first watches, and the paths of all watches."""
    asked: list[str] = []

    def fault(method: str, path: str) -> Wrong | None:
        if "watch=true" not in path:
            return None
        asked.append(path)
        if len(asked) > len(faults):
            return None
        wrong = faults[len(asked) - 1]
        return wrong(path) if callable(wrong) else wrong

    return fault, asked


def test_a_dropped_watch_goes_on_where_it_was(lone: LoneApiServer, bare: Session) -> None:
    objects.create(bare, config_map(count="0"))
    # In the midst of the first event, of the second or the third, and at once.
    fault, asked = first_watches(Cut(100), Cut(1200), Cut(0))
    with (
        faulty(lone.kubeconfig, bare.namespace, fault) as through,
        Changes(bare, *range(1, 13)),
    ):
        assert until(named(through), "12") == [str(count) for count in range(13)]
    assert len(asked) >= 4


def expired(path: str) -> Otherwise:
    """The same watch, from a moment that the server has long forgotten."""
    return Otherwise(re.sub("resourceVersion=[0-9]+", "resourceVersion=1", path))


def test_a_moment_that_the_server_forgot_is_looked_up_anew(lone: LoneApiServer, bare: Session) -> None:
    for count in range(3):
        objects.create(bare, config_map(f"settings-{count}", count=str(count)))
    # What was before it began, an API server does not know.
    lone.stop()
    lone.start()
    fault, asked = first_watches(Cut(0), expired)
    with faulty(lone.kubeconfig, bare.namespace, fault) as through:
        states = watch(through, CONFIG_MAP, labels="app=tested", seconds=LIMIT_S)
        assert [count_of(next(states)) for _ in range(3)] == ["0", "1", "2"]
        # Meanwhile, nobody looks: one goes, one comes again under its name, one changes.
        api = core(bare)
        api.delete_namespaced_config_map("settings-0", bare.namespace)
        api.delete_namespaced_config_map("settings-1", bare.namespace)
        objects.create(bare, config_map("settings-1", count="9"))
        api.patch_namespaced_config_map("settings-2", bare.namespace, {"data": {"count": "8"}})
        assert sorted(count_of(next(states)) for _ in range(4)) == ["8", "9", "gone", "gone"]
    # A list told it: there was no third watch yet.
    assert len(asked) == 2


@pytest.mark.parametrize("answer", [Answer(410, b"{}"), Answer(500, b"oh"), Answer(502, b"<html>")])
def test_an_answer_that_is_none_passes(lone: LoneApiServer, bare: Session, answer: Answer) -> None:
    objects.create(bare, config_map(count="0"))
    fault, _ = first_watches(answer, answer, answer)
    with faulty(lone.kubeconfig, bare.namespace, fault) as through, Changes(bare, 1, 2):
        counts = until(named(through), "2")
    # Between two lists a state may be missed, but not the last.
    assert counts[0] == "0"
    assert counts == sorted(set(counts))


def test_a_server_that_ends_each_watch_at_once_is_not_stormed(
    lone: LoneApiServer, bare: Session
) -> None:
    objects.create(bare, config_map(count="0"))
    fault, asked = first_watches(*[Answer(200)] * 100)
    with faulty(lone.kubeconfig, bare.namespace, fault) as through:
        list(watch(through, CONFIG_MAP, name="settings", seconds=4))
    assert 2 <= len(asked) <= 6


def test_it_outlives_the_api_server(lone: LoneApiServer, bare: Session) -> None:
    objects.create(bare, config_map(count="0"))

    def restarts() -> None:
        for count in (1, 2):
            lone.stop()
            time.sleep(2)
            lone.start()
            put(bare, count)
        remove(bare)

    thread = threading.Thread(target=restarts)
    states = named(bare)
    assert count_of(next(states)) == "0"
    thread.start()
    counts = until(states, "gone")
    thread.join()
    assert counts in (["1", "2", "gone"], ["2", "gone"], ["1", "gone"], ["gone"])


def test_a_server_that_stays_away_is_given_up(lone: LoneApiServer, bare: Session) -> None:
    objects.create(bare, config_map(count="0"))
    patience = Patience(answer_s=1, total_s=3)
    states = named(replace(bare, server=replace(bare.server, patience=patience)))
    assert count_of(next(states)) == "0"
    lone.stop()
    try:
        began = time.monotonic()
        with pytest.raises(ApiServerAway):
            next(states)
        assert time.monotonic() - began < 60
    finally:
        lone.start()


def test_who_may_not_watch_is_told_so(lone: LoneApiServer, bare: Session) -> None:
    fault, _ = first_watches(status(403, "Forbidden", "configmaps is forbidden: User me cannot watch"))
    with (
        faulty(lone.kubeconfig, bare.namespace, fault) as through,
        pytest.raises(Refused, match="cannot watch; grant it to that account"),
    ):
        list(named(through))
