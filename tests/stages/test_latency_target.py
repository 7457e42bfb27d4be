"""How pruning for a latency aims anew, by what the files of earlier aims cost."""

import pytest

from pocketkube.stages.latency_target import next_aim


def test_one_aim_is_corrected_by_as_much_as_it_was_off() -> None:
    assert next_aim([(2.0, 1.25)]) == pytest.approx(2.0 * 0.98 / 1.25)
    assert next_aim([(2.0, 0.5)]) == pytest.approx(2.0 * 0.98 / 0.5)


def test_between_an_aim_that_fits_and_one_that_does_not_the_next_lies() -> None:
    """A file that costs half of what it may, and then one that costs too much: neither is the end."""

    def cost(goal: float) -> float:
        return 0.5 if goal < 1.2 else 0.5 * goal**1.5

    aims = [(1.0, cost(1.0))]
    for _ in range(5):
        aims.append((next_aim(aims), cost(next_aim(aims))))
        if 0.9 <= aims[-1][1] <= 1:
            break
    assert 0.9 <= aims[-1][1] <= 1
    assert len(aims) <= 6
