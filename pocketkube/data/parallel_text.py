"""Parallel text for translation: files of a sentence a line, tokenized by SentencePiece."""

import hashlib
import re
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count, islice
from pathlib import Path

import numpy as np

from pocketkube.bounded.limits import PIECE_BYTES, Unreadable
from pocketkube.bounded.streams import opened_stream
from pocketkube.data.dataset import Dataset, Examples, Labels, Translation, skipped_of
from pocketkube.data.splits import Split, hold_out, split_called
from pocketkube.data.token_pairs import BEGIN, END, TokenPairs, TokenRows
from pocketkube.data.tokenizer import Tokenizer, read_tokenizer, trained_tokenizer
from pocketkube.errors import UserError
from pocketkube.files.layout import TOKENIZER_FILE
from pocketkube.spec.sections import DatasetSettings
from pocketkube.storage.download_cache import hold

_PACKED = ("", ".gz", ".bz2", ".xz")
# Pairs that are tokenized together.
_AT_ONCE = 1 << 16
_PARTS: tuple[Split, ...] = ("train", "validation", "test")
_Files = Sequence[tuple[Path, Path]]


@dataclass(frozen=True)
class _Pair:
    """A line of two files.

    Attributes:
        place: The file and the line, for messages.
        source: The sentence.
        target: Its translation.
        wrong: What is wrong with it, as it goes on after the place; else empty.
    """

    place: str
    source: str = ""
    target: str = ""
    wrong: str = ""


@dataclass(frozen=True)
class _Text:
    """The pairs of a split.

    Attributes:
        pairs: Their tokens.
        translations: The lines of the translations; none where nobody asks for them.
        bad: A sentence on each pair that is left out.
    """

    pairs: TokenPairs
    translations: Sequence[str]
    bad: Sequence[str] = ()

    @property
    def size(self) -> int:
        return len(self.pairs.lengths)

    def take(self, rows: np.ndarray) -> "_Text":
        lines = [self.translations[row] for row in rows] if self.translations else []
        return _Text(self.pairs.take(rows), lines)


def load(folder: Path, settings: DatasetSettings) -> Dataset:
    """Reads a folder of parallel files: train.en and train.de, or train.news.en and so on.

    Each may be packed by gzip. Those whose names begin with "validation", "valid", "val" or "dev", and
    "test", are these splits; one without files of its own is held out of the training pairs. The
    SentencePiece model is `sentencepiece.model` where that stands beside them; else it is trained from
    the training files, and kept for the next time.

    Pairs that are longer than `max_length` tokens are left out of training, and cut where a model is
    judged.

    Raises:
        UserError: If files or settings are missing, a file is there packed and unpacked, two files do
            not have as many lines, or a line is empty or no UTF-8 and such are not to be skipped.
    """
    assert settings.languages is not None
    one, other = settings.languages
    files = {part: _files(folder, part, settings.languages) for part in _PARTS}
    if not files["train"]:
        raise UserError(f"{folder}: has no train.{one} and train.{other}, packed by gzip or not.")
    complete = bool(files["validation"] and files["test"])
    most = settings.max_train if complete else None
    tokenizer = _tokenizer(folder, files["train"], settings, most)
    train = _text(files["train"], tokenizer, settings, most=most, training=True, keep=not complete)
    judged: dict[str, _Text] = {part: _text(files[part], tokenizer, settings) for part in _PARTS[1:]}
    sentences = [sentence for part in (train, *judged.values()) for sentence in part.bad]
    total = len(sentences) + sum(part.size for part in (train, *judged.values()))
    skipped = skipped_of(str(folder), sentences, total)
    if not files["test"]:
        train, judged["test"] = _held_out(train, settings.test_fraction)
    if settings.max_train is not None:
        train = train.take(np.arange(min(settings.max_train, train.size)))
    if not files["validation"]:
        train, judged["validation"] = _held_out(train, settings.validation_fraction)
    parts = {"training": train, **judged}
    for part, text in parts.items():
        if not text.size:
            raise UserError(f"{folder}: too few pairs of lines; none are left for the {part} set.")
    length, tokens = settings.max_length, tokenizer.vocabulary_size
    labels = (Labels(tokens, shape=(length,), whole=(0, tokens - 1)),)
    splits = (Examples(x.size, x.pairs.open, None, labels, pairs=x.pairs) for x in parts.values())
    dataset = Dataset(str(folder), ((length,), (length,)), labels, *splits, skipped=skipped)
    translation = Translation(settings.languages, tokenizer, tuple(judged["test"].translations))
    return replace(dataset, translation=translation)


def _held_out(text: _Text, fraction: float) -> tuple[_Text, _Text]:
    rows, held = hold_out(text.size, fraction)
    return text.take(rows), text.take(held)


def _files(folder: Path, part: Split, languages: tuple[str, str]) -> _Files:
    """The two files of each part of a split, by their names."""
    if not folder.is_dir():
        raise UserError(f"{folder}: there is no such folder of parallel text.")
    found: dict[str, dict[str, Path]] = {}
    for file in sorted(folder.iterdir()):
        for ending in (f".{language}{packed}" for language in languages for packed in _PACKED):
            stem, language = file.name.removesuffix(ending), ending.split(".")[1]
            if stem != file.name and split_called(re.split("[.-]", stem)[0]) == part:
                other = found.setdefault(stem, {}).setdefault(language, file)
                if other != file:
                    raise UserError(
                        f"{folder}: has both {other.name} and {file.name}; keep one of them."
                    )
    for stem, pair in found.items():
        for language in languages:
            if language not in pair:
                (there,) = pair.values()
                raise UserError(f"{folder}: has {there.name}, but no {stem}.{language} beside it.")
    source, target = languages
    return [(pair[source], pair[target]) for pair in found.values()]


def _tokenizer(folder: Path, files: _Files, settings: DatasetSettings, most: int | None) -> Tokenizer:
    """The SentencePiece model in the folder, or one of the training files, trained once a machine."""
    if (folder / TOKENIZER_FILE).is_file():
        return read_tokenizer(folder / TOKENIZER_FILE)

    def sentences() -> Iterator[str]:
        for pair in islice(_pairs(files, settings), most):
            if not pair.wrong:
                yield pair.source
                yield pair.target

    digest = hashlib.sha256(f"sentencepiece bpe {settings.vocabulary_size}".encode())
    for sentence in sentences():
        digest.update(f"{sentence}\n".encode())

    def fill(place: Path) -> None:
        found = trained_tokenizer(sentences(), settings.vocabulary_size, str(folder))
        (place / TOKENIZER_FILE).write_bytes(found.model)

    # About what a token takes in such a file.
    size_bytes = 32 * settings.vocabulary_size
    held = hold(digest.hexdigest(), f"{folder}'s SentencePiece model", size_bytes, fill)
    try:
        return read_tokenizer(held.folder / TOKENIZER_FILE)
    finally:
        held.close()


def _text(
    files: _Files,
    tokenizer: Tokenizer,
    settings: DatasetSettings,
    *,
    most: int | None = None,
    training: bool = False,
    keep: bool = True,
) -> _Text:
    """Reads a split.

    Args:
        files: Its files.
        tokenizer: What makes tokens of them.
        settings: The data set's.
        most: How many lines are read; all if None.
        training: Whether long pairs are left out; else they are cut.
        keep: Whether the translations' text is kept.
    """
    length, bad, translations = settings.max_length, list[str](), list[str]()
    sources, targets = _Rows(), _Rows()
    pairs = islice(_pairs(files, settings), most)
    while chunk := list(islice(pairs, _AT_ONCE)):
        bad += [f"{pair.place} {pair.wrong}." for pair in chunk if pair.wrong]
        good = [pair for pair in chunk if not pair.wrong]
        read = tokenizer.encode([pair.source for pair in good])
        written = tokenizer.encode([pair.target for pair in good])
        for pair, one, other in zip(good, read, written, strict=True):
            longest = 1 + max(len(one), len(other))
            if training and longest > length:
                bad.append(
                    f"{pair.place} has {longest} tokens in one language or the other, more than "
                    f"dataset.max_length {length}."
                )
                continue
            sources.add([*one[: length - 1], END])
            targets.add([BEGIN, *other[: length - 1], END])
            if keep:
                translations.append(pair.target)
    return _Text(TokenPairs(sources.rows(), targets.rows(), length), translations, bad)


class _Rows:
    """Gathers sequences of tokens."""

    def __init__(self) -> None:
        self._tokens, self._lengths = array("i"), array("q", [0])

    def add(self, tokens: Sequence[int]) -> None:
        """Puts one behind the others."""
        self._tokens.extend(tokens)
        self._lengths.append(len(tokens))

    def rows(self) -> TokenRows:
        """All of them."""
        tokens, lengths = np.array(self._tokens, np.int32), np.array(self._lengths, np.int64)
        return TokenRows(tokens, np.cumsum(lengths))


def _pairs(files: _Files, settings: DatasetSettings) -> Iterator[_Pair]:
    """The lines of files, one beside the other.

    Raises:
        UserError: If a file cannot be read, one of two is longer, or a line cannot be used and such are
            not to be skipped.
    """
    for one, other in files:
        left, right = _lines(one), _lines(other)
        for number in count(1):
            source, target = next(left, None), next(right, None)
            if source is None or target is None:
                _refuse_more((one, other), number - 1, (source, *left), (target, *right))
                break
            pair = _pair((one, other), number, (source, target))
            if pair.wrong and settings.on_bad_example == "fail":
                raise UserError(
                    f"{pair.place} {pair.wrong}; mend it, or set dataset.on_bad_example: skip."
                )
            yield pair


def _refuse_more(files: tuple[Path, Path], number: int, *lefts: Sequence[bytes | None]) -> None:
    """Says when one of two files goes on after line `number`."""
    for file, other, left in zip(files, reversed(files), lefts, strict=True):
        if left[0] is not None:
            raise UserError(
                f"{file}: has {number + len(left)} lines, but {other.name} has {number}: each line is "
                "to be the translation of the other file's."
            )


def _pair(files: tuple[Path, Path], number: int, lines: tuple[bytes, bytes]) -> _Pair:
    texts = []
    for file, line in zip(files, lines, strict=True):
        place = f"{file}: line {number}"
        try:
            texts.append(line.decode("utf-8-sig" if number == 1 else "utf-8").strip())
        except UnicodeDecodeError:
            return _Pair(place, wrong="is no UTF-8")
        if not texts[-1]:
            return _Pair(place, wrong="is empty")
    return _Pair(f"{files[0]}: line {number}", *texts)


def _lines(file: Path) -> Iterator[bytes]:
    """The lines of a file, packed or not; only what ends a line in all programs does."""
    rest = b""
    try:
        with opened_stream(file) as stream:
            while piece := stream.read(PIECE_BYTES):
                *lines, rest = (rest + piece).split(b"\n")
                yield from lines
    except Unreadable as error:
        raise UserError(f"{file}: cannot be read: {error}.") from error
    if rest:
        yield rest
