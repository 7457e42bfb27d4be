"""Who gets which place when processes come and go."""

from concurrent.futures import Future
from concurrent.futures import TimeoutError as Waits
from threading import Thread

import pytest

from pocketkube.launch.elastic.group import Group, JoinRequest, LostProcess, Place


class Asking:
    """Processes that ask a group, each in a thread that nobody waits for."""

    def __init__(self, least: int, *names: str) -> None:
        self.group = Group(least)
        self.group.add(names)

    def __call__(
        self, name: str, section: int = 0, *, reconnects: bool = True
    ) -> "Future[Place | None]":
        asked: Future[Place | None] = Future()

        def ask() -> None:
            try:
                asked.set_result(self.group.join(name, JoinRequest(section, reconnects)))
            except LostProcess as gone:
                asked.set_exception(gone)

        Thread(target=ask, daemon=True).start()
        return asked


def waits(asked: "Future[Place | None]") -> bool:
    try:
        asked.result(0.2)
    except Waits:
        return True
    return False


def places(*asked: "Future[Place | None]") -> list[tuple[int, int, int]]:
    found = [each.result(5) for each in asked]
    return [(place.round, place.rank, place.size) for place in found if place]


def test_all_that_were_started_begin_together() -> None:
    ask = Asking(1, "a", "b")
    first = ask("b")
    assert waits(first)
    assert sorted(places(ask("a"), first)) == [(1, 0, 2), (1, 1, 2)]


def test_those_that_are_left_keep_their_order_and_newcomers_come_last() -> None:
    ask = Asking(1, "a", "b", "c")
    asked = [ask("a")]
    for name in "bc":
        assert waits(asked[-1])
        asked.append(ask(name))
    assert places(*asked) == [(1, 0, 3), (1, 1, 3), (1, 2, 3)]
    ask.group.add(["d"])
    new = ask("d")
    # It waits until the others come to a point where nothing is lost, and are told.
    assert waits(new)
    assert ask.group.is_to_change(1)
    ask.group.remove("a")
    assert places(ask("c"), ask("b"), new) == [(2, 1, 3), (2, 0, 3), (2, 2, 3)]
    assert not ask.group.is_to_change(2)


def test_the_next_piece_of_work_needs_no_new_connections() -> None:
    ask = Asking(1, "a", "b")
    before = places(ask("a"), ask("b"))
    assert places(ask("a", 1, reconnects=False), ask("b", 1, reconnects=False)) == before
    # What they told each other to connect is kept as long as they are connected.
    ask.group.put("/global/0", b"address")
    assert places(ask("a", 2, reconnects=False), ask("b", 2, reconnects=False)) == before
    assert ask.group.get("/global/0") == b"address"
    places(ask("a", 2), ask("b", 2))
    assert ask.group.get("/global/0") is None


def test_one_that_is_behind_is_told_to_go_on_and_then_takes_part() -> None:
    ask = Asking(1, "a")
    assert places(ask("a")) == [(1, 0, 1)]
    assert places(ask("a", 1, reconnects=False)) == [(1, 0, 1)]
    ask.group.add(["b"])
    assert ask("b", 0).result(5) is None
    assert not ask.group.is_to_change(1)
    late = ask("b", 1)
    assert waits(late)
    assert places(ask("a", 1), late) == [(2, 0, 2), (2, 1, 2)]


def test_too_few_wait_for_more() -> None:
    ask = Asking(2, "a", "b")
    places(ask("a"), ask("b"))
    ask.group.remove("b")
    left = ask("a")
    assert waits(left)
    assert ask.group.waits_for_more
    ask.group.add(["c"])
    assert places(left, ask("c")) == [(2, 0, 2), (2, 1, 2)]


def test_where_none_is_left_of_those_that_learnt_newcomers_do_not_begin_anew() -> None:
    ask = Asking(1, "a")
    places(ask("a"))
    ask.group.add(["b"])
    new = ask("b")
    ask.group.remove("a")
    assert waits(new)
    assert ask.group.is_orphaned
    ask.group.remove("b")
    with pytest.raises(LostProcess):
        new.result(5)


def test_one_that_never_asks_and_is_gone_is_not_waited_for() -> None:
    ask = Asking(1, "a", "b")
    first = ask("a")
    assert waits(first)
    ask.group.remove("b")
    assert places(first) == [(1, 0, 1)]


def test_one_below_the_least_number_goes_on_with_a_newcomer_that_is_behind() -> None:
    ask = Asking(2, "a", "b")
    places(ask("a"), ask("b"))
    ask.group.remove("b")
    left = ask("a", 1)
    ask.group.add(["c"])
    assert ask("c", 0).result(5) is None
    assert places(left, ask("c", 1)) == [(2, 0, 2), (2, 1, 2)]


def test_one_that_has_ended_a_piece_of_work_waits_while_another_repeats_it() -> None:
    ask = Asking(1, "a", "b", "c")
    places(ask("a"), ask("b"), ask("c"))
    ask.group.remove("c")
    ahead = ask("a", 1)
    assert places(ask("b", 0)) == [(2, 0, 1)]
    assert waits(ahead)
    assert sorted(places(ask("b", 1, reconnects=False), ahead)) == [(3, 0, 2), (3, 1, 2)]


def test_one_that_is_lost_gets_no_place_though_it_asks() -> None:
    ask = Asking(1, "a", "b")
    ask.group.remove("b")
    with pytest.raises(LostProcess):
        ask("b").result(5)
    assert places(ask("a")) == [(1, 0, 1)]


def test_who_asks_again_after_a_while_finds_its_place() -> None:
    ask = Asking(1, "a", "b")
    with pytest.raises(TimeoutError):
        ask.group.join("a", JoinRequest(0, reconnects=True), 0.05)
    assert places(ask("b")) == [(1, 1, 2)]
    assert ask.group.join("a", None, 0.05) == Place(1, 0, 2)


def test_groups_that_are_made_in_vain_are_counted_until_something_is_done() -> None:
    ask = Asking(1, "a")
    for _ in range(3):
        places(ask("a"))
    assert ask.group.rounds_in_vain == 3
    assert not ask.group.is_to_change(3)
    assert ask.group.rounds_in_vain == 0
