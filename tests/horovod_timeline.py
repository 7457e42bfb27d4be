"""What Horovod's timeline says of the messages of its first rank."""

import json
from collections import Counter
from dataclasses import dataclass
from math import prod
from pathlib import Path


@dataclass(frozen=True)
class Sent:
    """A tensor that was added up.

    Attributes:
        name: The operation's.
        kind: Its type.
        count: How many numbers it has.
        began_us: When the ranks had agreed that it was there.
        ended_us: When each had the sum.
    """

    name: str
    kind: str
    count: int
    began_us: int
    ended_us: int


def sent_tensors(timeline: Path) -> list[Sent]:
    """All tensors of a timeline's allreduces, in the order in which they were done."""
    found, names, open_ = [], {}, {}
    for event in json.loads(timeline.read_text()):
        place = event.get("pid")
        if event.get("name") == "process_name" and "name" in event["args"]:
            names[place] = event["args"]["name"]
        elif event["ph"] == "B":
            open_.setdefault(place, []).append((event["name"], event["ts"]))
        elif event["ph"] == "E":
            what, began = open_[place].pop()
            if what == "ALLREDUCE":
                tensor = event["args"]
                count = prod(json.loads(tensor["shape"]))
                found.append(Sent(names[place], tensor["dtype"], count, began, event["ts"]))
    return found


def numbers_by_type(sent: list[Sent]) -> Counter[str]:
    """How many numbers of each type travelled."""
    found: Counter[str] = Counter()
    for each in sent:
        found[each.kind] += each.count
    return found


def busy_us(sent: list[Sent]) -> int:
    """For how long any tensor was on its way."""
    total, until = 0, 0
    for each in sorted(sent, key=lambda each: each.began_us):
        total += max(0, each.ended_us - max(each.began_us, until))
        until = max(until, each.ended_us)
    return total
