"""Fuzzing: whatever stands in a spec's file, it is a spec or is refused in one line."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pocketkube.errors import UserError
from pocketkube.spec import Spec, load_spec, parse_spec
from pocketkube.spec.source import MAX_BYTES, MAX_NODES
from tests.fuzzing import fuzzed
from tests.spec.generated import TRAPS

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.yaml"))
RIGHT = "model: lenet\ndataset: digits\nstages: []\n"
PIECES = [*"{}[]:,-?&*!|>%@`'\"# \n\t~=<", "a", "1", "- ", ": ", "\n  ", "<<: ", "*a", "&a ", "!!int "]
ODD = [
    *TRAPS,
    "\0",
    "\ud800",
    "\x1b",
    "!!python/name:os.system",
    "!!bool x",
    "!!timestamp x",
    "!!set {a}",
]
KEYS = ["model", "dataset", "stages", "target", "training", "imports", "search", "cluster", "name"]


def _is_hashable(value: Any) -> bool:
    return not isinstance(value, float) or value == value


scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.dates()
    | st.binary(max_size=4)
    | st.sampled_from(ODD)
    | st.text(max_size=8)
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(KEYS) | scalars.filter(_is_hashable), inner, max_size=3)
    ),
    max_leaves=8,
)


def told(content: str | bytes) -> Spec | str:
    """What becomes of a file: a spec, or a line that says what is wrong with it."""
    raw = content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "spec.yaml"
        file.write_bytes(raw)
        return answer(load_spec, file)


def answer(read: Callable[[Any], Spec], what: Any) -> Spec | str:
    try:
        return read(what)
    except UserError as error:
        line = str(error)
    assert line
    assert "\n" not in line
    assert len(line) < 20_000
    return line


@fuzzed(150)
@given(st.text(max_size=40) | st.lists(st.sampled_from(PIECES), max_size=25).map("".join))
@example("[" * 10_000)
@example("- " * 10_000)
@example("a: &a [*a]")
def test_any_text(text: str) -> None:
    told(text)
    told(RIGHT + text)


@fuzzed(60)
@given(st.binary(max_size=60))
def test_any_bytes(content: bytes) -> None:
    told(content)
    told(RIGHT.encode() + content)


@fuzzed(100)
@given(st.sampled_from(EXAMPLES), st.data())
def test_a_spec_with_one_thing_changed(file: Path, data: st.DataObject) -> None:
    lines = file.read_text("utf-8").splitlines(keepends=True)
    number = data.draw(st.integers(0, len(lines) - 1))
    line = lines[number]
    match data.draw(st.sampled_from(["leave out", "twice", "cut", "insert", "value"])):
        case "leave out":
            lines[number] = ""
        case "twice":
            lines[number] = line + line
        case "cut":
            lines[number] = line[: data.draw(st.integers(0, len(line)))]
        case "insert":
            place = data.draw(st.integers(0, len(line)))
            lines[number] = line[:place] + data.draw(st.sampled_from([*PIECES, *ODD])) + line[place:]
        case "value":
            key, colon, _ = line.partition(":")
            odd = data.draw(st.sampled_from(ODD) | st.text(max_size=8))
            lines[number] = f"{key}{colon} {odd}\n"
    told("".join(lines))


@fuzzed(150)
@given(st.dictionaries(st.sampled_from([*Spec.model_fields, *KEYS]), values, max_size=5) | values)
def test_any_mapping(document: Any) -> None:
    if isinstance(document, dict):
        document = {"model": "lenet", "dataset": "digits", "stages": []} | document
    answer(parse_spec, document)


@pytest.mark.parametrize(
    ("text", "number"),
    [("10", 10), ("010", 10), ("08", 8), ("+7", 7), ("0o10", 8), ("0x10", 16), ("1e1", 10), ("07.", 7)],
)
def test_a_whole_number_is_what_it_looks_like(text: str, number: int) -> None:
    """In YAML 1.1 010 is eight, and 08 is text."""
    spec = told(f"{RIGHT}training: {{epochs: {text}}}\n")
    assert isinstance(spec, Spec)
    assert spec.training.epochs == number


@pytest.mark.parametrize("text", ["1:30", "1_000", "0b11", "-0o10", "1:30.5", "2026-01-01", "="])
def test_what_is_no_number_in_yaml_1_2_is_text(text: str) -> None:
    said = str(told(f"{RIGHT}training: {{epochs: {text}}}\n"))
    assert said == f"spec.yaml line 4: training.epochs: must be a whole number; received '{text}'"
    spec = told(RIGHT.replace("lenet", text + ".keras").replace("digits", f"{{npz: {text}}}"))
    assert isinstance(spec, Spec)
    assert spec.dataset.npz == text


def test_one_number_written_in_two_ways_is_one_key() -> None:
    said = told(f"{RIGHT}training: {{class_weights: {{0: 1, 1: 5, 01: 6}}}}\n")
    assert "line 4: '01' is given twice, first on line 4; keep one" in str(said)


@pytest.mark.parametrize("key", ["yes", "~", "1", "2026-01-01", "no", "1e3", "null", "0x10"])
def test_a_key_that_is_no_text_has_its_line(key: str) -> None:
    assert str(told(f"{RIGHT}{key}: 3\n")).startswith("spec.yaml line 4: ")
    assert str(told(f"{RIGHT}training:\n  epochs: 1\n  {key}: 3\n")).startswith("spec.yaml line 6: ")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("stages: [" + "x, " * 1_500_000 + "]", f"is larger than the {MAX_BYTES:,} bytes"),
        ("a: [" + "x, " * (2 * MAX_NODES + 1) + "]", "nested deeper or is larger than a spec can be"),
        ("".join(f"a{i}: &a{i} [{f'*a{i - 1}, ' * 10 if i else ''}]\n" for i in range(9)), "aliases"),
        ("a: " * 60, "line 1"),
        ("seed: 2026-13-45", "line 1"),
        ("seed: !!int ''", "line 1: is not YAML: '' cannot be read as int"),
        ('model: "a\\0b"\nstages: []', "model: must not hold the character"),
    ],
)
def test_what_is_too_large_or_unreadable_is_refused_before_it_is_understood(
    text: str, said: str
) -> None:
    assert said in str(told(text))


def test_of_thousands_of_mistakes_a_few_are_named() -> None:
    line = str(told(RIGHT.replace("[]", "[" + "x, " * 5000 + "]")))
    assert "line 3: stages[0]: 'x' is not a stage" in line
    assert len(line) < 10_000
