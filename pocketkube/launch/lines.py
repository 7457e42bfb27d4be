"""The lines of ranks that mpirun merged with `--tag-output`."""

import re
from collections.abc import Iterable, Iterator

from pocketkube.errors import UserError


def lines_by_rank(stream: Iterable[str]) -> Iterator[tuple[str | None, str]]:
    """The lines of each rank, or of None where they are mpirun's own.

    Open MPI tags what a rank writes at once, be it less than a line: those pieces are put together.
    """
    pending: dict[tuple[str | None, str], str] = {}
    for line in stream:
        untagged, *tagged = _TAG.split(line)
        pieces = [(None, "", untagged), *zip(tagged[::3], tagged[1::3], tagged[2::3], strict=True)]
        for rank, name, piece in pieces:
            text = pending.pop((rank, name), "") + piece
            if text.endswith("\n"):
                yield rank, text.removesuffix("\n")
            elif text:
                pending[rank, name] = text
    for (rank, _), text in pending.items():
        yield rank, text


def shown(rank: str | None, text: str) -> str:
    """A line as a person sees it, with its rank; empty where it is not to be seen.

    A stage's refusal is not: it is the outcome's reason.
    """
    if not text.strip() or text.startswith(UserError.PREFIX):
        return ""
    return text if rank is None else f"[rank {rank}] {text}"


# As Open MPI tags a piece: job, rank, stream.
_TAG = re.compile(r"\[\d+,(\d+)\]<(stdout|stderr)>:")
