"""Reads the .py files that a user's spec or command line names, and nobody else's."""

import ast
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

from pydantic import ValidationError

from pocketkube.errors import UserError
from pocketkube.files.whole import place_of
from pocketkube.spec.sections.imports import LARGEST_TEXT, Import, check_imports, packed


def read_import(text: str, base: Path) -> Import:
    """A module that a user names.

    Args:
        text: Its name, which a .py file in `base` may have; the path of a .py file; or what
            `Import.word` gives.
        base: The folder that relative paths start from.

    Raises:
        UserError: If there is no such file, or it is no module.
    """
    name, equals, given = text.partition("=")
    if equals:
        return _checked(lambda: Import(name=name, packed=given))
    if "://" in text:
        raise UserError(
            f"{text} is an address: name a .py file beside the spec, or a module of the image"
        )
    file = _file(text, base)
    if file is None:
        return _checked(lambda: Import(name=text))
    try:
        source = file.read_text("utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"there is no file {file}") from None
    except UnicodeDecodeError:
        raise UserError(f"{file} is no Python: it is no text") from None
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror}") from None
    if len(source.encode()) > LARGEST_TEXT:
        raise UserError(f"{file.name} has more than {LARGEST_TEXT:,} bytes; install it as a package")
    if not file.stem.isidentifier():
        raise UserError(f"{file.name} is no module's name: rename the file, as to my_layers.py")
    found = _checked(lambda: Import(name=file.stem, packed=packed(source)))
    _refuse_hidden(found.name, file)
    return found


def read_imports(words: Sequence[str], base: Path) -> tuple[Import, ...]:
    """Modules that a user names, in the order in which they are imported.

    Raises:
        UserError: As `read_import` does; and if one is named twice, all are too large, or a file
            imports one beside it that is not named before.
    """
    found = tuple(read_import(word, base) for word in words)
    refuse_unnamed(found, words, base)
    try:
        check_imports(found)
    except ValueError as error:
        raise UserError(str(error).removeprefix("imports: ")) from None
    return found


def refuse_unnamed(imports: Sequence[Import], words: Sequence[str], base: Path) -> None:
    """Refuses files that import others beside them which do not go with them.

    Args:
        imports: What was named, in order.
        words: How it was named.
        base: As for `read_import`.
    """
    named: set[str] = set()
    for each, word in zip(imports, words, strict=True):
        file = None if "=" in word else _file(word, base)
        if each.packed and file is not None:
            for name in _imported(each.source):
                if name not in named and name != each.name and (file.parent / f"{name}.py").is_file():
                    raise UserError(
                        f"{file.name} imports {name}.py, which is beside it: name {name} before "
                        f"{each.name}"
                    )
        named.add(each.name)


def _file(text: str, base: Path) -> Path | None:
    """The file that is named; None for a module's name."""
    if text.endswith(".py") or "/" in text or "\\" in text:
        if not text.endswith(".py"):
            raise UserError(f"{text} is no .py file, and no module's name")
        return place_of(text, base)
    beside = base / f"{text}.py"
    return beside if text.isidentifier() and beside.is_file() else None


def _imported(source: str) -> list[str]:
    """The top-level modules that a text imports, wherever in it."""
    names = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.append(node.module)
    return [name.split(".")[0] for name in names]


def _refuse_hidden(name: str, file: Path) -> None:
    """A file that has the name of an installed module would take that one's place."""
    try:
        spec = find_spec(name)
    except (ValueError, ImportError):
        return
    origin = Path(spec.origin) if spec is not None and spec.origin else None
    if origin is not None and origin.is_file() and not origin.samefile(file):
        raise UserError(f"{file.name} has the name of an installed module, {origin}: rename the file")


def _checked(make: Callable[[], Import]) -> Import:
    try:
        return make()
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(str(first.get("ctx", {}).get("error", first["msg"]))) from None
