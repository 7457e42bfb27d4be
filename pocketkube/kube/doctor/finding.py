"""What a look at one thing of a cluster has found."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from pocketkube.errors import UserError
from pocketkube.kube.failures import Refused


class Level(StrEnum):
    """How much a finding matters."""

    RIGHT = "right"
    # Works without it, or cannot be told from here.
    NOTE = "note"
    WRONG = "wrong"


@dataclass(frozen=True)
class Finding:
    """What was found.

    Attributes:
        level: How much it matters.
        subject: What was looked at, in a word or two.
        sentence: What is so.
        remedy: The command, or else the change, that mends it; empty where nothing has to be.
    """

    level: Level
    subject: str
    sentence: str
    remedy: str = ""


def right(subject: str, sentence: str) -> Finding:
    """All is well."""
    return Finding(Level.RIGHT, subject, sentence)


def note(subject: str, sentence: str, remedy: str = "") -> Finding:
    """Not needed, or not to be told from here."""
    return Finding(Level.NOTE, subject, sentence, remedy)


def wrong(subject: str, sentence: str, remedy: str) -> Finding:
    """Something that is needed is missing or wrong."""
    return Finding(Level.WRONG, subject, sentence, remedy)


def missing(is_needed: bool, subject: str, sentence: str, remedy: str) -> Finding:
    """Something is missing: wrong only where it is needed."""
    return Finding(Level.WRONG if is_needed else Level.NOTE, subject, sentence, remedy)


def looked_at(subject: str, look: Callable[[], Iterable[Finding]]) -> Iterator[Finding]:
    """What a look finds; that it is not allowed, or breaks off, is a finding, too."""
    try:
        yield from look()
    except Refused as refused:
        # Quotas, limits and pod security refuse with the same status as rights do.
        if refused.status != 403 or "cannot" not in refused.said:
            remedy = "kubectl version" if refused.status != 403 else "change what is named there"
            yield wrong(subject, str(refused), remedy)
            return
        yield note(
            subject,
            f"cannot be looked at with these credentials: {refused.said}",
            "run doctor as an administrator of the cluster",
        )
    except UserError as error:
        yield wrong(subject, str(error), "kubectl cluster-info")
