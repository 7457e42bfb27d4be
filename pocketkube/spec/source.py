"""The YAML of specs: reads a file into plain values, together with the line of every key."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from pocketkube.errors import UserError

# A network of thousands of layers, each with settings of its own, has less.
MAX_NODES = 20_000
MAX_DEPTH = 50
# The texts of a user's modules may stand in a spec.
MAX_BYTES = 2**20 + 2**18


@dataclass(frozen=True)
class Wanted:
    """What a YAML file has to be, for messages.

    Attributes:
        what: In words, as "a spec".
        example: A line of it.
        listed: The command that lists what it may hold; empty where there is none.
    """

    what: str
    example: str
    listed: str = ""


SPEC = Wanted("a spec", "model: resnet20", "pocketkube spec --explain")


class _TooLarge(Exception):
    """A document has more nodes, or is nested deeper, than a spec can be."""


class _Loader(yaml.SafeLoader):
    """SafeLoader that reads numbers as YAML 1.2 and editors do, and that stops in time."""

    _nodes = _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """PyYAML's, of a document that is not too large."""
        self._nodes, self._depth = self._nodes + 1, self._depth + 1
        # Keys are nodes, too.
        if self._nodes > 2 * MAX_NODES or self._depth > MAX_DEPTH + 2:
            raise _TooLarge
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """PyYAML's, whose constructors for dates, numbers and tags let Python's own errors through."""
        try:
            return super().construct_object(node, deep)
        except (ValueError, LookupError, AttributeError, TypeError, OverflowError) as error:
            kind, known = node.tag.rpartition(":")[2], str(error) if type(error) is ValueError else ""
            raise yaml.constructor.ConstructorError(
                problem=f"{node.value!r:.60} cannot be read as {kind}{known and f' ({known})'}",
                problem_mark=node.start_mark,
            ) from error

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        """A whole number, to the base of ten where nothing else is said: 010 is ten."""
        text = str(self.construct_scalar(node))
        return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))


class Dumper(yaml.SafeDumper):
    """SafeDumper whose texts `read_document` gives back as they are, and readers of YAML 1.1, too.

    1e-3 and 1:30 are quoted, and so is what YAML takes for the end of a line besides the usual.
    """

    def analyze_scalar(self, scalar: str) -> Any:
        """PyYAML's, which would write such line ends as they are where Unicode is allowed."""
        analysis = super().analyze_scalar(scalar)
        if set(scalar) & set("\x85\u2028\u2029"):
            analysis.allow_flow_plain = analysis.allow_block_plain = False
            analysis.allow_single_quoted = analysis.allow_block = False
        return analysis


_INT, _FLOAT = "tag:yaml.org,2002:int", "tag:yaml.org,2002:float"
# In YAML 1.1, which PyYAML reads, 010 is eight, 1:30 ninety, and 2026-01-01 no text.
_OF_YAML_1_1 = (_INT, _FLOAT, "tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:value")
# YAML 1.2, section 10.3.2.
_NUMBERS = {
    _INT: r"(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$",
    _FLOAT: r"(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
    r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$",
}

_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in known if tag not in _OF_YAML_1_1]
    for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_constructor(_INT, _Loader.construct_yaml_int)
for _side in (_Loader, Dumper):
    for _tag, _pattern in _NUMBERS.items():
        _side.add_implicit_resolver(_tag, re.compile(_pattern), list("-+.0123456789"))


def read_document(path: Path, wanted: Wanted = SPEC) -> tuple[dict[Any, Any], yaml.MappingNode]:
    """Reads a YAML file whose document is a mapping.

    Args:
        path: The file.
        wanted: What it has to be.

    Returns:
        The document, and its node, from which `line_of` tells lines.

    Raises:
        UserError: If the file cannot be read, is not YAML or not a mapping, gives a key twice, or
            is nested without end.
    """
    text = _text(path, wanted)
    loader = None
    try:
        # Already opening the text refuses characters that YAML forbids.
        loader = _Loader(text)
        root = loader.get_single_node()
        if root is None:
            listed = f"; `{wanted.listed}` lists what it may hold" if wanted.listed else ""
            raise UserError(f"{path.name} is empty, and has to be {wanted.what}{listed}")
        if not isinstance(root, yaml.MappingNode):
            raise UserError(
                f"{path.name} line {root.start_mark.line + 1}: must be a mapping such as "
                f"`{wanted.example}`, one key a line"
            )
        _check(root, path.name, wanted)
        return loader.construct_document(root), root
    except yaml.MarkedYAMLError as error:
        raise UserError(_syntax(error, text, path.name)) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise UserError(
            f"{path.name} line {line}: holds the character #x{ord(text[error.position]):04x}, "
            "which YAML forbids"
        ) from None
    except (RecursionError, _TooLarge):
        raise UserError(_too_deep(path.name, wanted)) from None
    finally:
        if loader:
            loader.dispose()


def line_of(root: yaml.Node, steps: Sequence[str | int]) -> int:
    """Tells the line, counted from one, of the key that `steps` lead to.

    Args:
        root: The document's node.
        steps: Keys and list positions from the root; where they lead to nothing, the line is that
            of the last thing found on the way.

    Returns:
        The line.
    """
    node, line = root, root.start_mark.line
    for step in steps:
        if isinstance(node, yaml.MappingNode):
            found = [(k, v) for k, v in node.value if str(step) in (k.value, _as_read(k))]
            if not found:
                break
            key, node = found[0]
            line = key.start_mark.line
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int):
            if step >= len(node.value):
                break
            node = node.value[step]
            line = node.start_mark.line
        else:
            break
    return line + 1


def _as_read(key: yaml.Node) -> str:
    """What a key became that is no text in YAML, as True of yes and None of ~."""
    if key.tag == "tag:yaml.org,2002:str":
        return str(key.value)
    return str(_Loader("").construct_document(key))


def _text(path: Path, wanted: Wanted) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise UserError(f"{path.name}: is larger than the {MAX_BYTES:,} bytes that it can have")
        return content.decode("utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such file; give the path of {wanted.what}") from None
    except IsADirectoryError:
        raise UserError(f"{path} is a folder; give the path of {wanted.what} in it") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path.name}: byte {error.start} is not UTF-8; is it a text file?") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None


def _check(root: yaml.Node, name: str, wanted: Wanted) -> None:
    """Refuses keys given twice, of which YAML parsers keep the last, and endless nesting."""
    seen = 0
    waiting = [(root, 0)]
    while waiting:
        node, depth = waiting.pop()
        seen += 1
        # Aliases can make a small file endless or exponentially large.
        if depth > MAX_DEPTH or seen > MAX_NODES:
            raise UserError(_too_deep(name, wanted))
        if isinstance(node, yaml.MappingNode):
            _check_keys(node, name)
            waiting += [(value, depth + 1) for _, value in node.value]
        elif isinstance(node, yaml.SequenceNode):
            waiting += [(item, depth + 1) for item in node.value]


def _check_keys(node: yaml.MappingNode, name: str) -> None:
    first_lines: dict[str, int] = {}
    for key, _ in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode):
            raise UserError(f"{name} line {line}: a key must be a word, not a list or a mapping")
        # 1 and 01 are the same.
        read = _as_read(key) if key.tag == _INT else key.value
        if read in first_lines:
            raise UserError(
                f"{name} line {line}: '{key.value:.60}' is given twice, first on line "
                f"{first_lines[read]}; keep one"
            )
        first_lines[read] = line


def _syntax(error: yaml.MarkedYAMLError, text: str, name: str) -> str:
    mark = error.problem_mark or error.context_mark
    if mark is None:
        return f"{name}: is not YAML: {error}"
    lines = text.splitlines()
    offending = lines[mark.line] if mark.line < len(lines) else ""
    indent = offending[: len(offending) - len(offending.lstrip())]
    if "\t" in indent or "\\t" in (error.problem or ""):
        return f"{name} line {mark.line + 1}: a tab cannot indent YAML; use spaces"
    said = "; ".join(part for part in (error.context, error.problem) if part)
    return f"{name} line {mark.line + 1}: is not YAML: {said}"


def _too_deep(name: str, wanted: Wanted) -> str:
    return f"{name}: is nested deeper or is larger than {wanted.what} can be; do aliases (*) go round?"
