"""Fuzzing: whatever stands in a command's options, it ends in words and never in a traceback."""

import argparse
import importlib
import signal
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import layers

from pocketkube.console.last_words import FAULT
from pocketkube.errors import UserError
from tests.fuzzing import fuzzed

PROGRAM = importlib.import_module("pocketkube.cli.main")
NUMBERS = ["0", "-1", "1", "3", "nan", "inf", "-inf", "1e400", "1.5", str(2**31), str(2**64), "9" * 400]
WORDS = ["", " ", "-", "--", "é", "a b", "\x1b[31m", "\u202e", "a\0b", "x" * 300, "~nosuchuser/x", "%s"]
PLACES = [
    "net.keras",
    "open.keras",
    "cut.keras",
    "out.keras",
    "out.tflite",
    "data.npz",
    "spec.yaml",
    "bad.yaml",
    "empty.json",
    "list.json",
    "deep.json",
    "text",
    "folder",
    "text/x.keras",
    "loop",
    "nosuch/../x.h5",
    "s3://",
    "s3://b/k\0",
    "http://a:b@c/d",
    "/proc/self/mem",
]
OTHERS = ["{}", "[]", "{", '{"model": 1}', "a=b", "model=folder", "l1", "taylor", "train_model", "json"]
# Other than where nobody listens, a server could be asked.
NOWHERE = "http://127.0.0.1:9"


def commands(parser: argparse.ArgumentParser, words: tuple[str, ...] = ()) -> dict:
    """All commands, by their words, with the parser of each."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            found = {}
            for name, each in action.choices.items():
                found |= commands(each, (*words, name))
            return found
    return {words: parser}


COMMANDS = commands(PROGRAM.command_parser())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("odd")
    net = [layers.Conv2D(8, 3), layers.GlobalAveragePooling2D(), layers.Dense(3)]
    keras.Sequential([keras.Input((8, 8, 1)), *net]).save(place / "net.keras")
    image = keras.Input((None, None, 1))
    keras.Model(image, layers.Conv2D(4, 1)(layers.Conv2D(4, 3)(image))).save(place / "open.keras")
    (place / "cut.keras").write_bytes((place / "net.keras").read_bytes()[:1000])
    np.savez(place / "data.npz", x=np.zeros((9, 8, 8, 1), np.float32), y=np.arange(9) % 3)
    (place / "spec.yaml").write_text(
        "model: net.keras\ndataset: {npz: nosuch.npz}\ntarget: {speedup: 2}\nstages: [prune_channels]\n"
    )
    (place / "bad.yaml").write_text("model: [\n")
    (place / "empty.json").write_text("{}")
    (place / "list.json").write_text('[{"schema_version": "é"}]')
    (place / "deep.json").write_text("[" * 100_000)
    (place / "text").write_text("\x1b[31mtext")
    (place / "folder").mkdir()
    (place / "loop").symlink_to("loop")
    return place


def value_of(action: argparse.Action) -> st.SearchStrategy[str]:
    if "--endpoint" in action.option_strings:
        return st.just(NOWHERE)
    likely = NUMBERS if action.type in (int, float) else PLACES
    return st.sampled_from(likely) | st.sampled_from([*NUMBERS, *WORDS, *PLACES, *OTHERS])


@st.composite
def words_for(draw: st.DrawFn, parser: argparse.ArgumentParser) -> list[str]:
    """Most of what a command takes, each with a value that it may not expect."""
    words: list[str] = []
    for action in parser._actions:
        if isinstance(action, argparse._HelpAction):
            continue
        needed = action.required or not action.option_strings or "--endpoint" in action.option_strings
        if not needed and draw(st.integers(0, 2)):
            continue
        count = action.nargs if isinstance(action.nargs, int) else 1
        values = [draw(value_of(action)) for _ in range(count)]
        words += [*action.option_strings[-1:], *values]
    return words


def ending(words: list[str]) -> tuple[int, str]:
    """The exit code of a command, and what it printed on standard error."""
    handler = signal.getsignal(signal.SIGTERM)
    with redirect_stderr(StringIO()) as said, redirect_stdout(StringIO()):
        try:
            PROGRAM.main(words)
            code = 0
        except SystemExit as ended:
            code = int(ended.code or 0)
        finally:
            signal.signal(signal.SIGTERM, handler)
    return code, said.getvalue()


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_command_ends_in_words(
    command: tuple[str, ...], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("KUBECONFIG", str(folder / "nosuch"))
    for name in ("KUBERNETES_SERVICE_HOST", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)

    @fuzzed(8)
    @given(words_for(COMMANDS[command]))
    def check(words: list[str]) -> None:
        code, said = ending([*command, *words])
        assert code in (0, 1, 2), said
        assert "Traceback" not in said
        assert FAULT not in said
        assert "\x1b" not in said
        if code:
            # argparse has its own beginning, which names the command.
            assert said.splitlines()[-1].startswith((UserError.PREFIX, "pocketkube "))

    check()
