"""Tells whether the code of a stage is still the one that made an output."""

import ast
import hashlib
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pocketkube

PACKAGE = pocketkube.__name__
# Whose arithmetic and file formats outputs depend on; TensorFlow has two names, by machine.
LIBRARIES = ("keras", "tensorflow", "tensorflow-cpu", "ai-edge-litert", "numpy", "scikit-learn")


@cache
def code_digest(module: str) -> str:
    """A digest of a module's source, of all of this package that it imports, and of the libraries.

    Imports are read from the source, those inside functions too; so are modules of this package whose
    names stand in a text, as registries name them.

    Args:
        module: Its dotted name.
    """
    digest = hashlib.sha256()
    for name in sorted(_closure(module)):
        file = _file(name)
        assert file is not None
        digest.update(name.encode() + b"\0" + file.read_bytes())
    for library in LIBRARIES:
        digest.update(f"{library} {_version(library)}\n".encode())
    return digest.hexdigest()


def _closure(module: str) -> set[str]:
    found: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name not in found and _file(name) is not None:
            found.add(name)
            waiting += _imported(name)
    return found


@cache
def _imported(module: str) -> frozenset[str]:
    file = _file(module)
    assert file is not None
    # Importing a.b.c runs a and a.b as well.
    parents = module.split(".")[:-1]
    names = {".".join(parents[: depth + 1]) for depth in range(len(parents))}
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            names |= {node.value.split(":")[0]}
    return frozenset(name for name in names if name.split(".")[0] == PACKAGE)


@cache
def _file(module: str) -> Path | None:
    """Where a module of this package lives; None for what is no module, as a function's name."""
    place = Path(pocketkube.__file__).parent.joinpath(*module.split(".")[1:])
    for file in (place.with_suffix(".py"), place / "__init__.py"):
        if file.is_file() and module.split(".")[0] == PACKAGE:
            return file
    return None


def _version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return "none"
