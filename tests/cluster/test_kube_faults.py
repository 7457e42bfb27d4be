"""Requests to a real API server over a way on which things go wrong."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest

from pocketkube.kube import ApiServerAway, Refused, Session, objects
from pocketkube.kube.objects import CONFIG_MAP
from pocketkube.kube.transport import Patience
from tests.cluster.faulty import faulty, status
from tests.cluster.lone_api_server import LoneApiServer
from tests.cluster.test_kube_objects import config_map, core, data_of
from tests.storage.relay import Answer, Cut, Fault, Wrong

Way = Callable[..., AbstractContextManager[Session]]
BUSY = status(429, "TooManyRequests", "the server has received too many requests", Retry_After="2")


@pytest.fixture
def way(lone: LoneApiServer, bare: Session) -> Way:
    return lambda fault, **more: faulty(lone.kubeconfig, bare.namespace, fault, **more)


def first(method: str, *wrong: Wrong) -> tuple[Fault, list[str]]:
    """What goes wrong with the first requests of a method, and the paths of all of them."""
    asked: list[str] = []

    def fault(used: str, path: str) -> Wrong | None:
        if used != method or "/namespaces/" not in path:
            return None
        asked.append(path)
        return wrong[len(asked) - 1] if len(asked) <= len(wrong) else None

    return fault, asked


def test_a_server_that_is_busy_is_asked_when_it_says(way: Way, bare: Session) -> None:
    fault, asked = first("POST", BUSY)
    began = time.monotonic()
    with way(fault) as session:
        assert objects.create(session, config_map()).is_new
    assert 2 <= time.monotonic() - began < 5
    assert len(asked) == 2


def test_a_server_that_asks_for_hours_is_not_obeyed(way: Way, bare: Session) -> None:
    later = status(429, "TooManyRequests", Retry_After="7200")
    fault, _ = first("GET", *[later] * 5)
    began = time.monotonic()
    with way(fault, patience=Patience(total_s=1)) as session, pytest.raises(ApiServerAway, match="429"):
        objects.get(session, CONFIG_MAP, "settings")
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    "wrong",
    [
        Answer(500, b'{"kind":"Status","code":500,"message":"etcdserver: leader changed"}'),
        Answer(502, b"<html>Bad Gateway</html>", "text/html"),
        status(503, "ServiceUnavailable", Retry_After="1"),
        status(504, "Timeout"),
        Cut(0),
        Cut(40),
    ],
    ids=["500", "502", "503", "504", "cut", "cut later"],
)
def test_what_passes_is_asked_again(way: Way, bare: Session, wrong: Wrong, capfd: Any) -> None:
    objects.create(bare, config_map(epochs="3"))
    fault, asked = first("GET", wrong, wrong)
    with way(fault) as session:
        found = objects.get(session, CONFIG_MAP, "settings")
    assert found is not None
    assert found["data"] == {"epochs": "3"}
    assert len(asked) == 3
    said = capfd.readouterr().err.splitlines()
    assert len([line for line in said if line.startswith("api_server=http://127.0.0.1:")]) == 2


@pytest.mark.parametrize("lost", [Cut(0), Cut(40)])
def test_what_was_created_without_an_answer_is_found(way: Way, bare: Session, lost: Wrong) -> None:
    fault, asked = first("POST", lost)
    with way(fault) as session:
        made = objects.create(session, config_map(epochs="3"))
    assert len(asked) == 2
    # It is this call's own, although the server says that it is there.
    assert made.is_new
    there = core(bare).list_namespaced_config_map(bare.namespace).items
    assert [(found.metadata.name, found.metadata.uid) for found in there] == [
        ("settings", made.document["metadata"]["uid"])
    ]


def test_what_another_created_before_is_not_taken_for_ones_own(way: Way, bare: Session) -> None:
    objects.create(bare, config_map(epochs="9"))
    # The answer that it is there is lost, too.
    fault, asked = first("POST", Cut(0))
    with way(fault) as session:
        assert not objects.create(session, config_map(epochs="3")).is_new
    assert len(asked) == 2
    assert data_of(bare) == {"epochs": "9"}


def test_a_change_without_an_answer_is_made_once(way: Way, bare: Session) -> None:
    objects.create(bare, config_map(epochs="3"))
    fault, asked = first("PUT", Cut(0))

    def name_owner(found: dict[str, Any]) -> dict[str, Any]:
        return {**found, "data": {**found["data"], "owner": "me"}}

    with way(fault) as session:
        objects.update(session, CONFIG_MAP, "settings", name_owner)
    # The second met what the first had done, a conflict, and looked.
    assert len(asked) == 3
    assert data_of(bare) == {"epochs": "3", "owner": "me"}


def test_a_deletion_without_an_answer_is_one(way: Way, bare: Session) -> None:
    objects.create(bare, config_map())
    fault, asked = first("DELETE", Cut(0))
    with way(fault) as session:
        assert objects.delete(session, CONFIG_MAP, "settings", "Background", seconds=20)
    assert len(asked) == 2
    assert core(bare).list_namespaced_config_map(bare.namespace).items == []


def test_an_answer_that_takes_too_long_is_asked_for_again(way: Way, bare: Session) -> None:
    asked: list[str] = []

    def slow_at_first(method: str, path: str) -> None:
        if method == "POST":
            asked.append(path)
            time.sleep(3 if len(asked) == 1 else 0)

    with way(slow_at_first, patience=Patience(answer_s=1, total_s=30)) as session:
        made = objects.create(session, config_map(epochs="3"))
    assert len(asked) >= 2
    time.sleep(3)
    # The slow one came after all.
    assert data_of(bare) == {"epochs": "3"}
    found = objects.get(bare, CONFIG_MAP, "settings")
    assert found is not None
    assert found["metadata"]["uid"] == made.document["metadata"]["uid"]


def test_a_list_that_grew_old_between_its_pages_begins_anew(
    way: Way, bare: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "_PAGE", 2)
    for number in range(5):
        objects.create(bare, config_map(f"settings-{number}"))
    aged = [status(410, "Expired", "The provided continue parameter is too old")]

    def second_page_is_gone(method: str, path: str) -> Wrong | None:
        return aged.pop() if aged and "continue=" in path else None

    with way(second_page_is_gone) as session:
        found = objects.find(session, CONFIG_MAP)
    assert [objects.name_of(document) for document in found] == [f"settings-{n}" for n in range(5)]
    assert not aged


def test_a_quota_that_another_counts_at_the_same_moment_is_no_refusal(way: Way, bare: Session) -> None:
    race = 'Operation cannot be fulfilled on resourcequotas \\"small\\": the object has been modified'
    fault, _ = first("POST", status(409, "Conflict", race))
    with way(fault) as session:
        assert objects.create(session, config_map()).is_new


def test_a_server_that_stays_away_is_given_up(lone: LoneApiServer, bare: Session, way: Way) -> None:
    fault, asked = first("GET", *[Cut(0)] * 100)
    began = time.monotonic()
    with way(fault, patience=Patience(answer_s=1, total_s=3)) as session:
        with pytest.raises(ApiServerAway) as caught:
            objects.get(session, CONFIG_MAP, "settings")
        assert f"ConfigMap settings in namespace {bare.namespace}: the API server" in str(caught.value)
        assert session.server.url in str(caught.value)
    assert time.monotonic() - began < 10
    assert 3 <= len(asked) < 12


def test_a_conflict_that_never_ends_is_told(way: Way, bare: Session) -> None:
    objects.create(bare, config_map())
    fault, asked = first("PUT", *[status(409, "Conflict", "the object has been modified")] * 100)
    with way(fault) as session, pytest.raises(Refused, match="has been modified"):
        objects.update(session, CONFIG_MAP, "settings", dict)
    assert len(asked) > 5
