"""CIFAR's python files are read without pickle, and nothing else is."""

import pickle
import pickletools
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketkube.bounded.limits import Unreadable
from pocketkube.data.plain_pickle import decode
from tests.damage import damaged
from tests.fuzzing import fuzzed

BATCH: dict[Any, Any] = {
    b"batch_label": b"training batch 1 of 5",
    b"labels": [3, 9, 300, 70000],
    b"data": np.arange(24, dtype=np.uint8).reshape(4, 6),
    b"numbers": np.asfortranarray(np.arange(6, dtype=">i4").reshape(2, 3)),
    b"filenames": [b"a.png", "é.png", "a.png"],
    b"others": (1.5, None, True, [], (), {1: 2**80}),
}


def same(found: dict[str, Any]) -> bool:
    """Whether it is `BATCH`, but for the order of bytes."""
    plain = {key.decode(): value for key, value in BATCH.items()}
    return found.keys() == plain.keys() and all(
        np.array_equal(found[key], value) if isinstance(value, np.ndarray) else found[key] == value
        for key, value in plain.items()
    )


@pytest.mark.parametrize("protocol", range(5))
def test_a_batch_of_any_protocol(protocol: int) -> None:
    assert same(decode(pickle.dumps(BATCH, protocol)))


def test_a_batch_as_python_2_wrote_it() -> None:
    def text(value: bytes) -> bytes:
        return b"U" + bytes([len(value)]) + value

    array = (
        b"cnumpy.core.multiarray\n_reconstruct\nq\1cnumpy\nndarray\nq\2K\0\x85q\3U\1bq\4\x87q\5Rq\6"
        b"(K\1K\2K\3\x86q\7cnumpy\ndtype\nq\x08U\2u1q\tK\0K\1\x87q\nRq\x0b"
        b"(K\3U\1|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb\x89U\6\0\x7f\x80\xff\x0a\x27tb"
    )
    content = b"\x80\2}q\0(" + text(b"labels") + b"]q\x0c(K\6K\x09e" + text(b"data") + array + b"u."
    found = decode(content)
    assert found["labels"] == [6, 9]
    assert found["data"].tolist() == [[0, 127, 128], [255, 10, 39]]
    assert found["data"].dtype == np.uint8


class Calls:
    """Pickles as a call."""

    def __init__(self, function: Any, *arguments: Any, state: Any = None):
        self.parts = (function, arguments, state)

    def __reduce__(self) -> tuple:
        return self.parts if self.parts[2] is not None else self.parts[:2]


def array_of(dtype: Any, state: tuple) -> bytes:
    """An array of two numbers whose type has a state of the file's own."""
    kind = Calls(np.dtype, dtype, False, True, state=state)
    array = Calls(
        np._core.multiarray._reconstruct,  # type: ignore[attr-defined]
        *(np.ndarray, (0,), b"b"),
        state=(1, (2,), kind, False, struct.pack("<QQ", 0x4141414141414141, 0x4141414141414141)),
    )
    return pickle.dumps({"data": array}, 2)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (pickle.dumps({"a": Calls(Path.touch, Path("ran"))}, 2), "asks for .*; only arrays"),
        (pickle.dumps({"a": Calls(eval, "1 + 1")}, 4), "it asks for builtins.eval; only arrays"),
        # Bytes of the file become pointers where NumPy itself takes such a state.
        (
            array_of("V8", (3, "|", None, ("f",), {"f": (np.dtype("O"), 0)}, 8, 1, 0)),
            "must be of whole numbers",
        ),
        (array_of("O", (3, "|", None, None, None, -1, -1, 63)), "must be of whole numbers"),
        (array_of("f8", (3, "<", None, None, None, -1, -1, 0)), "whole numbers. Received: 'f8'"),
        (array_of("u8", (3, "|x", None, None, None, -1, -1, 0)), "must be of whole numbers"),
        (array_of("u4", (3, "<", None, None, None, -1, -1, 0)), r"of shape \(2,\) has 16 bytes"),
        (pickle.dumps([1], 2), "a dict is missing"),
        (pickle.dumps({}, 2)[:-1], "STOP"),
        (b"}h\7.", "remembers no value 7"),
        (b"}" + b"0" * 9 + b".", "values are missing"),
        (b"u.", "a mark is missing"),
        (b"(]Nd.", "a dict has keys that are no text"),
        (b"\x80\2" + b"N" * (1 << 21) + b".", "takes more than 1048576 steps"),
        (b"\x80\2]q\0h\0a.", "a dict is missing"),
        (b"(i__main__\nA\n.", "it has INST"),
        (b"P1\n.", "it has PERSID"),
        (b"", "exhausted"),
    ],
)
def test_nothing_but_plain_values_and_arrays_is_read(content: bytes, said: str) -> None:
    with pytest.raises(Unreadable, match=said):
        decode(content)
    assert not Path("ran").exists()


TEXT = b"X" + struct.pack("<I", 1000) + bytes(1000) + b"q\1"
KIND = b"cnumpy\ndtype\nU\2u1\x85R"
NEW_ARRAY = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n\x85R"
SHARED_ARRAY = NEW_ARRAY + b"(K\1M\xe8\3\x85" + KIND + b"\x89h\1tb"


def batch(value: bytes, again: bytes) -> bytes:
    """Fifty keys, the first of which has one value and the others another."""
    keys = [b"U\2%02d" % number for number in range(50)]
    return b"\x80\2" + TEXT + b"0}(" + keys[0] + value + b"".join(k + again for k in keys[1:]) + b"u."


def test_an_array_that_many_keys_hold_is_made_once() -> None:
    found = decode(batch(SHARED_ARRAY + b"q\2", b"h\2"))
    assert len(found) == 50
    assert all(np.shares_memory(found["00"], each) for each in found.values())


@pytest.mark.parametrize("again", [SHARED_ARRAY, b"c_codecs\nencode\nh\1U\6latin1\x86R"])
def test_text_that_becomes_many_arrays_is_refused(again: bytes) -> None:
    with pytest.raises(Unreadable, match="of more bytes than it has"):
        decode(batch(again, again))


@fuzzed(100)
@given(st.one_of(damaged(pickle.dumps(BATCH, 2)), damaged(pickle.dumps(BATCH, 0))))
def test_a_damaged_batch_is_refused_or_plain(content: bytes) -> None:
    refused_or_plain(content)


def programs() -> st.SearchStrategy[bytes]:
    """Steps of pickles in any order, more often than not those that arrays need."""
    usual = [
        b"(",
        b"t",
        b"R",
        b"b",
        b"u",
        b"}",
        b"]",
        b"e",
        b"q\1",
        b"h\1",
        b"\x86",
        b"N",
        b"K\2",
        b"0",
    ]
    names = [b"cnumpy\nndarray\n", b"cnumpy\ndtype\n", b"cnumpy.core.multiarray\n_reconstruct\n"]
    state = b"(K\3U\1<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb"
    any_step = st.sampled_from([each.code.encode("latin-1") for each in pickletools.opcodes])
    steps = st.one_of(st.sampled_from([*usual, *names, state, b"U\2u1", b"U\2V8"]), any_step)
    return st.lists(st.one_of(steps, steps, st.binary(max_size=4)), max_size=40).map(
        lambda found: b"\x80\2}" + b"".join(found) + b"."
    )


@fuzzed(200)
@given(programs())
def test_any_steps_are_refused_or_plain(content: bytes) -> None:
    refused_or_plain(content)


def refused_or_plain(content: bytes) -> None:
    try:
        found = decode(content)
    except Unreadable:
        return
    for value in found.values():
        assert not isinstance(value, np.ndarray) or value.dtype.kind in "ui"
