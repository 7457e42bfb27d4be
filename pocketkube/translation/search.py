"""Finds the likeliest translation: greedily, or by beam search."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from pocketkube.data.token_pairs import BEGIN, END

# Of Vaswani et al. (2017).
BEAMS, LENGTH_PENALTY = 4, 0.6


class Decoder(Protocol):
    """What says how likely each token comes next in several translations at once.

    Attributes:
        length: How many tokens a translation may have, its end included.
    """

    @property
    def length(self) -> int:
        """How many tokens a translation may have, its end included."""

    def begin(self, sources: np.ndarray) -> None:
        """Reads sentences `[n, source]`, of which nothing is written yet."""

    def next(self, tokens: np.ndarray, position: int) -> np.ndarray:
        """Logits `[n, vocabulary]` of what comes behind the tokens `[n]` at a position, from 0."""

    def reorder(self, rows: np.ndarray) -> None:
        """Goes on with translations `[m]` of those that there are, each any number of times."""


def greedy_search(decoder: Decoder, sources: np.ndarray) -> list[list[int]]:
    """Takes the likeliest token at each position.

    Args:
        decoder: What says it.
        sources: Tokens `[n, source]`.

    Returns:
        The tokens of each translation, without begin and end.
    """
    decoder.begin(sources)
    tokens, written = np.full(len(sources), BEGIN), np.zeros((len(sources), 0), np.int64)
    for position in range(decoder.length):
        tokens = decoder.next(tokens, position).argmax(axis=-1)
        written = np.concatenate([written, tokens[:, None]], axis=1)
        if (written == END).any(axis=1).all():
            break
    return [_up_to_end(row) for row in written]


@dataclass
class _Best:
    """The best translation of a sentence that has ended."""

    score: float = -np.inf
    tokens: Sequence[int] = ()


def beam_search(
    decoder: Decoder, sources: np.ndarray, beams: int = BEAMS, length_penalty: float = LENGTH_PENALTY
) -> list[list[int]]:
    """Goes on with several beginnings of each translation at once.

    Of those that have ended, the best by its logarithmic probability over the penalty of Wu et al.
    (2016), `((5 + length) / 6) ** length_penalty`.

    Args:
        decoder: What says how likely each token is.
        sources: Tokens `[n, source]`.
        beams: How many beginnings of each.
        length_penalty: 0 takes the likeliest, which are short; 1 the likeliest a token, or nearly.

    Returns:
        The tokens of each translation, without begin and end.
    """
    count = len(sources)
    decoder.begin(np.repeat(sources, beams, axis=0))
    written = np.zeros((count, beams, 0), np.int64)
    # At first all beginnings are the same one.
    scores = np.tile(np.where(np.arange(beams) == 0, 0.0, -np.inf), (count, 1))
    tokens, best = np.full((count, beams), BEGIN), [_Best() for _ in range(count)]
    firsts = np.arange(count)[:, None] * beams
    for position in range(decoder.length):
        said = _log_softmax(decoder.next(tokens.reshape(-1), position)).reshape(count, beams, -1)
        vocabulary = said.shape[-1]
        totals = (scores[:, :, None] + said).reshape(count, -1)
        # As many again: every beginning may end here.
        wanted = min(2 * beams, totals.shape[1])
        likely = np.argpartition(-totals, wanted - 1, axis=1)[:, :wanted]
        found = np.take_along_axis(totals, likely, axis=1)
        turn = np.argsort(-found, axis=1, kind="stable")
        likely, found = (np.take_along_axis(x, turn, axis=1) for x in (likely, found))
        parents, nexts = likely // vocabulary, likely % vocabulary
        ended = nexts == END
        for row, place in np.argwhere(ended & np.isfinite(found)):
            score = found[row, place] / _penalty(position + 1, length_penalty)
            if score > best[row].score:
                best[row] = _Best(score, written[row, parents[row, place]].tolist())
        kept = np.argsort(ended, axis=1, kind="stable")[:, :beams]
        scores = np.where(
            np.take_along_axis(ended, kept, axis=1), -np.inf, np.take_along_axis(found, kept, axis=1)
        )
        parents, tokens = (np.take_along_axis(x, kept, axis=1) for x in (parents, nexts))
        written = np.take_along_axis(written, parents[:, :, None], axis=1)
        written = np.concatenate([written, tokens[:, :, None]], axis=2)
        decoder.reorder((firsts + parents).reshape(-1))
        # What goes on only becomes less likely; the penalty is largest at the end.
        hopes = scores.max(axis=1) / _penalty(decoder.length, length_penalty)
        if all(each.score >= hope for each, hope in zip(best, hopes, strict=True)):
            break
    return [
        list(each.tokens) if np.isfinite(each.score) else written[row, 0].tolist()
        for row, each in enumerate(best)
    ]


def _penalty(length: int, exponent: float) -> float:
    return float(((5 + length) / 6) ** exponent)


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def _up_to_end(tokens: np.ndarray) -> list[int]:
    listed: list[int] = tokens.tolist()
    return listed[: listed.index(END)] if END in listed else listed
