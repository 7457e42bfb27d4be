"""SentencePiece models (Kudo and Richardson, 2018): trained from text, and from text to tokens."""

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pocketkube.data.token_pairs import BEGIN, END, PADDING, UNKNOWN
from pocketkube.errors import MachineError, UserError, first_line

MISSING = (
    "dataset: text needs the Python packages sentencepiece and sacrebleu: pip install "
    "'.[translation]' in PocketKube's checkout."
)


@dataclass(frozen=True)
class Tokenizer:
    """From text to tokens and back.

    Attributes:
        model: A SentencePiece model, as a file of it holds it.
    """

    model: bytes

    @cached_property
    def _processor(self) -> Any:
        return _package().SentencePieceProcessor(model_proto=self.model)

    @property
    def vocabulary_size(self) -> int:
        """How many tokens there are."""
        return int(self._processor.get_piece_size())

    def encode(self, sentences: Sequence[str]) -> list[list[int]]:
        """The tokens of each sentence, without begin and end."""
        found: list[list[int]] = self._processor.encode(list(sentences), out_type=int, num_threads=-1)
        return found

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of a sentence's tokens up to its end.

        A model's vocabulary may be padded: what is beyond this one is unknown.
        """
        size = self.vocabulary_size
        said = [int(token) if token < size else UNKNOWN for token in tokens]
        said = said[: said.index(END)] if END in said else said
        return str(self._processor.decode([token for token in said if token not in (PADDING, BEGIN)]))


def trained_tokenizer(sentences: Iterable[str], vocabulary_size: int, origin: str) -> Tokenizer:
    """Learns byte-pair encoding (Sennrich et al., 2016) from sentences of all languages.

    Args:
        sentences: The training text.
        vocabulary_size: How many tokens there are to be.
        origin: What messages call the text.

    Raises:
        UserError: If the text has no so many.
    """
    written = io.BytesIO()
    try:
        _package().SentencePieceTrainer.train(
            sentence_iterator=iter(sentences),
            model_writer=written,
            model_type="bpe",
            vocab_size=vocabulary_size,
            character_coverage=1.0,
            pad_id=PADDING,
            unk_id=UNKNOWN,
            bos_id=BEGIN,
            eos_id=END,
            minloglevel=3,
        )
    except (RuntimeError, ValueError) as error:
        reason = first_line(error).rpartition("] ")[2] or first_line(error)
        raise UserError(
            f"{origin}: no SentencePiece model of {vocabulary_size} tokens can be trained from it "
            f"({reason.strip(' .')}); set another dataset.vocabulary_size."
        ) from error
    return Tokenizer(written.getvalue())


def read_tokenizer(file: Path) -> Tokenizer:
    """Reads a SentencePiece model.

    Raises:
        UserError: If it is none, or its first tokens are others than PocketKube's.
    """
    tokenizer = Tokenizer(file.read_bytes())
    try:
        processor = tokenizer._processor
    except (RuntimeError, ValueError) as error:
        raise UserError(f"{file}: is no SentencePiece model.") from error
    ids = (processor.pad_id(), processor.unk_id(), processor.bos_id(), processor.eos_id())
    if ids != (PADDING, UNKNOWN, BEGIN, END):
        raise UserError(
            f"{file}: its tokens for padding, unknown, begin and end are {', '.join(map(str, ids))}; "
            "train it with --pad_id=0 --unk_id=1 --bos_id=2 --eos_id=3."
        )
    return tokenizer


def _package() -> Any:
    try:
        import sentencepiece
    except ImportError as error:
        raise MachineError(MISSING) from error
    return sentencepiece
