"""Parallel text: what is read of it, in which batches it comes, and what is said of what is wrong."""

import gzip
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketkube.data.batches import batches, materialize
from pocketkube.data.token_pairs import BEGIN, END, PADDING, UNKNOWN
from pocketkube.errors import UserError
from pocketkube.spec import parse_spec
from pocketkube.training.task import infer_task
from tests.fuzzing import fuzzed
from tests.reversed_text import TOKENS, load_text, write_reversed
from tests.translation.networks import small_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return write_reversed(tmp_path_factory.mktemp("text"), train=203, longest=10)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def own_model(folder, tmp_path_factory) -> Path:
    """A folder with a SentencePiece model, and no text yet."""
    own = tmp_path_factory.mktemp("own")
    model = load_text(folder).translation.tokenizer.model
    return written(own, sentencepiece_model=model)


def written(folder: Path, **texts: bytes) -> Path:
    """Files by their names, in which _ stands for a dot."""
    folder.mkdir(exist_ok=True)
    for name, text in texts.items():
        (folder / name.replace("_", ".")).write_bytes(text)
    return folder


def test_an_example_is_a_sentence_what_is_written_so_far_and_what_comes_next(folder) -> None:
    dataset = load_text(folder)
    assert dataset.input_shapes == ((12,), (12,))
    assert [dataset.train.size, dataset.validation.size, dataset.test.size] == [203, 12, 12]
    (source, target), (labels,) = materialize(dataset.test, None, 0)
    assert source.dtype == target.dtype == labels.dtype == np.int32
    decode = dataset.translation.tokenizer.decode
    for read, before, after, reference in zip(
        source, target, labels, dataset.translation.references, strict=True
    ):
        assert decode(after) == reference
        assert decode(read).split() == reference.split()[::-1]
        size = int((after != PADDING).sum())
        assert before[0] == BEGIN
        assert after[size - 1] == END
        np.testing.assert_array_equal(before[1:size], after[: size - 1])
        assert not before[size:].any()
    streamed = list(dataset.test.open().as_numpy_iterator())
    np.testing.assert_array_equal(np.stack([x for (x, _), _ in streamed]), source)
    np.testing.assert_array_equal(materialize(dataset.test, 4, 1)[1][0].shape, (4, 12))


@pytest.mark.parametrize("name", ["valid", "val", "dev.news", "Validation-2"])
def test_validation_text_has_other_names_too(own_model, folder, tmp_path, name) -> None:
    for file in (*own_model.iterdir(), *folder.iterdir()):
        called = file.name.replace("validation", name)
        (tmp_path / called).write_bytes(file.read_bytes())
    dataset = load_text(tmp_path)
    assert [dataset.train.size, dataset.validation.size, dataset.test.size] == [203, 12, 12]


def test_tokens_beyond_the_vocabulary_are_unknown(folder) -> None:
    """As a model says them whose vocabulary is padded to a multiple of 64."""
    tokenizer = load_text(folder).translation.tokenizer
    tokens = tokenizer.encode(["a b"])[0]
    beyond = tokenizer.decode([*tokens, 63, END])
    assert beyond == tokenizer.decode([*tokens, UNKNOWN, END])
    assert beyond.startswith("a b")


def test_a_model_with_fewer_outputs_than_tokens_is_refused(folder) -> None:
    with pytest.raises(UserError, match=f"tells 20 classes apart, but .* {TOKENS}"):
        infer_task(small_model(20), *load_text(folder, max_length=7).labels)


def rows(dataset, **settings):
    found = batches(dataset.train, 8, epoch_seed=(3, 1), drop_remainder=True, **settings)
    return [(x.numpy(), y.numpy(), z.numpy()) for (x, y), (z,) in found]


def test_batches_are_of_like_lengths_and_every_example_comes_once(folder) -> None:
    dataset = load_text(folder)
    got = rows(dataset)
    assert len(got) == 203 // 8
    widths = [x.shape[1] for x, _, _ in got]
    assert set(widths) == {8, 12}
    # They come in no order of length.
    assert widths != sorted(widths)
    for arrays in got:
        needed = max(int((x != PADDING).sum(axis=1).max()) for x in arrays)
        assert {x.shape for x in arrays} == {(8, min(-(-needed // 8) * 8, 12))}
    seen = {tuple(x[x != PADDING]) for batch, _, _ in got for x in batch}
    everything, _ = materialize(dataset.train, None, 0)
    assert seen <= {tuple(x[x != PADDING]) for x in everything[0]}
    assert sum(len(x) for x, _, _ in got) == 200
    filled = sum(int((x != PADDING).sum()) for x, _, _ in got)
    # What a batch of the order as it is would be filled up to.
    assert filled / sum(x.size for x, _, _ in got) > filled / (200 * 12)
    other = batches(dataset.train, 8, epoch_seed=(3, 2), drop_remainder=True)
    assert not np.array_equal(next(iter(other))[1][0][:, :3], got[0][2][:, :3])


def test_ranks_see_their_rows_of_the_same_batches_from_any_place(folder) -> None:
    dataset = load_text(folder)
    whole = rows(dataset)
    for rank in (0, 1, 2):
        for ours, theirs in zip(rows(dataset, rank=rank, ranks=3, skip=5), whole[5:], strict=True):
            for mine, all_of_them in zip(ours, theirs, strict=True):
                np.testing.assert_array_equal(mine, all_of_them[rank::3])


def test_a_model_that_was_trained_is_kept_and_one_beside_the_text_is_used(
    folder, tmp_path, own_cache, monkeypatch
) -> None:
    first = load_text(folder)
    kept = list(own_cache.rglob("sentencepiece.model"))
    assert len(kept) == 1
    monkeypatch.setattr(
        "pocketkube.data.parallel_text.trained_tokenizer", lambda *_: pytest.fail("trained again")
    )
    assert load_text(folder).translation.tokenizer.model == first.translation.tokenizer.model
    both = {"train_en": b"a b\nc d\ne f\n" * 4, "train_de": b"b a\nd c\nf e\n" * 4}
    own = written(tmp_path / "own", **both, sentencepiece_model=first.translation.tokenizer.model)
    dataset = load_text(own, vocabulary_size=9)
    assert dataset.translation.vocabulary_size == first.translation.vocabulary_size
    # A test and a validation set are held out.
    assert dataset.train.size + dataset.validation.size + dataset.test.size == 12
    assert set(dataset.translation.references) <= {"b a", "d c", "f e"}
    written(own, sentencepiece_model=b"none")
    with pytest.raises(UserError, match=r"sentencepiece\.model: is no SentencePiece model"):
        load_text(own)


GOOD = b"a b\nc d\ne f\ng h\n"


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"train_en": GOOD}, r"has train\.en, but no train\.de beside it"),
        ({"test_en": GOOD, "test_de": GOOD}, r"has no train\.en and train\.de, packed by gzip or not"),
        (
            # Which of them was changed last nobody says.
            {"train_en": GOOD, "train_de": GOOD, "train_de_gz": gzip.compress(GOOD)},
            r"has both train\.de and train\.de\.gz; keep one of them",
        ),
        (
            {"train_en": GOOD, "train_de": GOOD + b"more\nlines\n"},
            r"train\.de: has 6 lines, but train\.en has 4: each line",
        ),
        ({"train_en": GOOD, "train_de": b"a\nb\n\nd\n"}, r"train\.de: line 3 is empty; mend it, or"),
        (
            {"train_en": b"a\nb\nc\n\xff\xfe\n", "train_de": GOOD},
            r"train\.en: line 4 is no UTF-8; mend",
        ),
        (
            {"train_en": GOOD, "train_de": GOOD, "test_en": b"a\n\n", "test_de": b"a\nb\n"},
            r"test\.en: line 2 is empty",
        ),
        (
            {"train_en_gz": gzip.compress(GOOD)[:-9], "train_de": GOOD},
            r"train\.en\.gz: cannot be read: ",
        ),
        (
            {"train_en": GOOD, "train_de": GOOD},
            r"no SentencePiece model of 29 tokens can be trained from it \(.*\); set another "
            r"dataset\.vocabulary_size",
        ),
    ],
)
def test_what_is_wrong_is_said_with_its_file_and_line(tmp_path, files, message) -> None:
    size = 29 if "SentencePiece" in message else 14
    with pytest.raises(UserError, match=message) as refused:
        load_text(written(tmp_path / "text", **files), vocabulary_size=size)
    assert len(str(refused.value).splitlines()) == 1


def test_bad_lines_are_skipped_where_that_is_asked_for_and_long_ones_always(folder, tmp_path) -> None:
    text = {
        name: gzip.decompress((folder / f"train.{name}.gz").read_bytes()).splitlines()[:40]
        for name in ("en", "de")
    }
    text["en"][4], text["de"][7], text["en"][20] = b"", b"\xff", b"a " * 50
    lines = {f"train_{name}": b"\r\n".join(each) for name, each in text.items()}
    dataset = load_text(written(tmp_path / "text", **lines), on_bad_example="skip")
    assert dataset.skipped is not None
    assert (dataset.skipped.count, dataset.skipped.total) == (3, 40)
    assert dataset.skipped.first.endswith("train.en: line 5 is empty.")
    assert dataset.train.size + dataset.validation.size + dataset.test.size == 37


def test_the_longest_sentences_are_cut_where_a_model_is_judged(folder) -> None:
    dataset = load_text(folder, max_length=8)
    assert dataset.skipped is not None
    assert (
        "tokens in one language or the other, more than dataset.max_length 8" in dataset.skipped.first
    )
    assert dataset.test.size == 12
    (source, _), (labels,) = materialize(dataset.test, None, 0)
    assert source.shape == labels.shape == (12, 8)
    assert max(map(len, (line.split() for line in dataset.translation.references))) > 7


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        ({"text": "wmt"}, r"languages and text go together.* received text without languages"),
        ({"npz": "a.npz", "languages": ["en", "de"]}, "received npz with languages"),
        ({"text": "wmt", "languages": ["en", "en"]}, r"languages are two; received \['en', 'en'\]"),
        ({"text": "wmt", "languages": ["en", "../de"]}, "languages"),
    ],
)
def test_settings_that_contradict_are_refused(dataset, message) -> None:
    with pytest.raises(UserError, match=message):
        parse_spec({"model": "transformer", "dataset": dataset, "stages": []})


TEXTS = st.lists(st.sampled_from([b"a b", b"c", b"", b" ", b"\xff", b"\0", b"\r", "é\u2028x".encode()]))


@fuzzed()
@given(TEXTS, TEXTS, st.sampled_from([b"\n", b"\r\n", b"\r"]), st.sampled_from(["fail", "skip"]))
def test_any_lines_are_a_data_set_or_refused_in_one_line(
    folder, own_model, left, right, end, on_bad_example
) -> None:
    files = {"train_en": end.join(left), "train_de": end.join(right)}
    text = written(own_model, **files)
    splits, refused = (), ""
    try:
        dataset = load_text(text, on_bad_example=on_bad_example)
        splits = (dataset.train, dataset.validation, dataset.test)
    except UserError as error:
        refused = str(error)
    assert len(refused.splitlines()) <= 1
    for split in splits:
        (source, _), (labels,) = materialize(split, None, 0)
        assert ((source == END).sum(axis=1) == 1).all()
        assert ((labels == END).sum(axis=1) == 1).all()
