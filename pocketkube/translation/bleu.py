"""BLEU of a model's translations of the test examples, as sacrebleu counts it."""

import re
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from pocketkube.data.batches import materialize
from pocketkube.data.dataset import Dataset
from pocketkube.data.tokenizer import MISSING
from pocketkube.errors import MachineError
from pocketkube.training.workers import Workers, shared
from pocketkube.translation.keras_decoder import KerasDecoder
from pocketkube.translation.search import BEAMS, LENGTH_PENALTY, Decoder, beam_search

# How sacrebleu splits sentences where spaces do not tell words apart; elsewhere as for English.
SPLIT = {"zh": "zh", "ja": "char", "ko": "char"}
# Sentences that are translated together.
AT_ONCE = 32


@dataclass(frozen=True)
class Bleu:
    """How near translations are to those of people.

    Attributes:
        score: From 0 to 100.
        sentences: Of how many.
        signature: How sacrebleu has counted (Post, 2018).
    """

    score: float
    sentences: int
    signature: str

    @property
    def told(self) -> str:
        """The score in a sentence."""
        return (
            f"BLEU {self.score:.2f} on {self.sentences} test sentences, {BEAMS} beams, length penalty "
            f"{LENGTH_PENALTY:g} ({self.signature})."
        )


def bleu_of(model: keras.Model, dataset: Dataset) -> Bleu:
    """Translates the test examples, shared by all workers where there are several.

    Args:
        model: A model of translation.
        dataset: Parallel text.

    Raises:
        UserError: If the model cannot be computed step by step.
    """
    assert dataset.translation is not None
    decoder, decode = KerasDecoder(model), dataset.translation.tokenizer.decode
    (sources, *_), _ = materialize(dataset.test, None, 0)

    def all_tokens(workers: Workers) -> np.ndarray:
        own = slice(workers.rank, None, workers.size)
        tokens = np.zeros((len(sources), decoder.length), np.int32)
        tokens[own] = _filled_up(translated(decoder, sources[own]), decoder.length)
        return np.asarray(workers.total(tf.constant(tokens)))

    said, (_, target) = [decode(row) for row in shared(all_tokens)], dataset.translation.languages
    return bleu(said, dataset.translation.references, target)


def translated(decoder: Decoder, sources: np.ndarray) -> list[list[int]]:
    """The best translation of each sentence.

    Args:
        decoder: What says how likely each token is.
        sources: Tokens `[n, source]`.
    """
    starts = range(0, len(sources), AT_ONCE)
    return [row for at in starts for row in beam_search(decoder, sources[at : at + AT_ONCE])]


def bleu(translations: list[str], references: tuple[str, ...], language: str) -> Bleu:
    """Compares translations with one reference each.

    Args:
        translations: What a model says.
        references: What people say.
        language: The code of the language of both, as in "de" or "zh-Hans".
    """
    metric = _package().BLEU(tokenize=SPLIT.get(re.split("[-_]", language.lower())[0]))
    score = metric.corpus_score(translations, [list(references)]).score
    return Bleu(float(score), len(references), str(metric.get_signature()))


def _filled_up(rows: list[list[int]], length: int) -> np.ndarray:
    filled = np.zeros((len(rows), length), np.int32)
    for place, row in enumerate(rows):
        filled[place, : len(row)] = row
    return filled


def _package() -> Any:
    try:
        from sacrebleu import metrics
    except ImportError as error:
        raise MachineError(MISSING) from error
    return metrics
