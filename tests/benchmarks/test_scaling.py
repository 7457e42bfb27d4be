"""What the measurement of several processes makes of what it is told."""

import json
from pathlib import Path

from tests.benchmarks.scaling import ALONE, BATCH, GLOO, NETWORKS, Group, table
from tests.horovod_timeline import Sent, busy_us, numbers_by_type, sent_tensors


def test_a_timeline_is_read_and_time_that_messages_share_counts_once(tmp_path: Path) -> None:
    events: list[dict[str, object]] = []
    for place, (kind, shape, began, ended) in enumerate(
        [("float32", "[2, 3]", 10, 30), ("float16", "[5]", 20, 40), ("float32", "[]", 90, 91)]
    ):
        events += [
            {"name": "process_name", "ph": "M", "pid": place, "args": {"name": f"tensor{place}"}},
            {"ph": "B", "name": "NEGOTIATE_ALLREDUCE", "ts": began - 5, "pid": place},
            {"ph": "E", "ts": began - 1, "pid": place},
            {"ph": "B", "name": "ALLREDUCE", "ts": began, "pid": place},
            {"ph": "B", "name": "MPI_ALLREDUCE", "ts": began + 1, "pid": place},
            {"ph": "E", "ts": ended, "pid": place},
            {"ph": "E", "ts": ended, "pid": place, "args": {"dtype": kind, "shape": shape}},
            {"ph": "i", "name": "CYCLE_START", "ts": ended, "s": "g"},
        ]
    (tmp_path / "timeline.json").write_text(json.dumps(events))
    sent = sent_tensors(tmp_path / "timeline.json")
    assert sent[1] == Sent("tensor1", "float16", 5, 20, 40)
    assert numbers_by_type(sent) == {"float32": 7, "float16": 5}
    assert busy_us(sent) == 31


def test_the_table_has_rates_and_ratios_of_the_rounds() -> None:
    one, two = Group(ALONE), Group(GLOO, 2)
    rounds = 3
    for place in range(len(NETWORKS)):
        for turn in range(rounds + 2):
            one.seconds[place * (rounds + 2) + turn] = [0.1 * (1 + place)]
            # The slower process counts; building the network does not.
            two.seconds[place * (rounds + 2) + turn] = [0.01, 0.125 * (1 + place) if turn else 9.0]
            one.on_the_way[place * (rounds + 2) + turn] = 0.0
            two.on_the_way[place * (rounds + 2) + turn] = 0.05
    lines = table([one, two], rounds).splitlines()[2:]
    assert lines[0] == f"| ResNet-20 | {ALONE} | {BATCH / 0.1:.0f} | 100.0 | 1.00 |  |"
    assert lines[1] == f"| ResNet-20 | {GLOO} | {2 * BATCH / 0.125:.0f} | 125.0 | 0.80 | 5.0% |"
    assert lines[3].startswith(
        f"| ResNet-20, twice as wide | {GLOO} | {BATCH / 0.125:.0f} | 250.0 | 0.80"
    )
