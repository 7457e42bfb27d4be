"""Tells whether the code of a stage is still the one that made an output."""

import ast
import hashlib
import os
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec, resolve_name
from pathlib import Path

PACKAGE = "pocketkube"
NO_FILE = os.urandom(16)
# They name modules that others load: a stage that imports them runs none of those.
LAZY = (PACKAGE, f"{PACKAGE}.stages.registry")
INSTALLED_IN = frozenset({"site-packages", "dist-packages"})
# Whose arithmetic and file formats outputs depend on; TensorFlow has two names, by machine.
LIBRARIES = ("keras", "tensorflow", "tensorflow-cpu", "ai-edge-litert", "numpy", "scikit-learn")


@cache
def code_digest(*modules: str) -> str:
    """A digest of modules' source, of what they import that is not installed, and of the libraries.

    Imports are read from the source, those inside functions too; so are modules of these packages whose
    names stand in a text, as registries name them. A module without a file, as a notebook's, is another
    one in each process. Of what is installed the libraries count alone, by their versions.

    Args:
        modules: Their dotted names.
    """
    digest = hashlib.sha256()
    packages = frozenset({PACKAGE, *(module.split(".")[0] for module in modules)})
    for module in modules:
        if _file(module) is None:
            digest.update(NO_FILE)
    for name in sorted(_closure(modules, packages)):
        file = _file(name)
        assert file is not None
        digest.update(name.encode() + b"\0" + file.read_bytes())
    for library in LIBRARIES:
        digest.update(f"{library} {_version(library)}\n".encode())
    return digest.hexdigest()


def _closure(modules: Sequence[str], packages: frozenset[str]) -> set[str]:
    found: set[str] = set()
    waiting = [*modules]
    while waiting:
        name = waiting.pop()
        if name not in found and _file(name) is not None:
            found.add(name)
            imported, named = _imported(name), _named(name)
            waiting += [each for each in {*imported, *named} if each.split(".")[0] in packages]
            waiting += [each for each in imported if not _is_installed(each.split(".")[0])]
    return found


@cache
def _imported(module: str) -> frozenset[str]:
    """What a module imports."""
    file = _file(module)
    assert file is not None
    # Importing a.b.c runs a and a.b as well.
    parents = module.split(".")[:-1]
    names = {".".join(parents[: depth + 1]) for depth in range(len(parents))}
    for node in _run(_tree(file)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = _base(node, module if file.stem == "__init__" else ".".join(parents))
            names |= {base, *(f"{base}.{alias.name}" for alias in node.names)}
    return _of_modules(names)


@cache
def _named(module: str) -> frozenset[str]:
    """What may be modules among the texts in a module."""
    file = _file(module)
    assert file is not None
    if module in LAZY:
        return frozenset()
    texts = [node.value for node in _run(_tree(file)) if isinstance(node, ast.Constant)]
    return _of_modules({text.split(":")[0] for text in texts if isinstance(text, str)})


def _of_modules(names: set[str]) -> frozenset[str]:
    return frozenset(name for name in names if all(map(str.isidentifier, name.split("."))))


@cache
def _tree(file: Path) -> ast.Module:
    return ast.parse(file.read_bytes())


@cache
def _is_installed(package: str) -> bool:
    """Whether a top-level module is Python's own, or lies where packages are installed."""
    return package in sys.stdlib_module_names or any(
        INSTALLED_IN.intersection(folder.parts) for folder in _folders(package)
    )


def _base(node: ast.ImportFrom, package: str) -> str:
    """The module that names are imported from, as one in `package` says it."""
    try:
        return resolve_name("." * node.level + (node.module or ""), package)
    except ImportError:
        return ""


def _run(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those that only type checkers look at."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            waiting += node.orelse
        else:
            yield node
            waiting += ast.iter_child_nodes(node)


@cache
def _file(module: str) -> Path | None:
    """Where a module lives; None for what is no module, as a function's name."""
    package, *below = module.split(".")
    for folder in _folders(package):
        place = folder.joinpath(package, *below)
        for file in (place.with_suffix(".py"), place / "__init__.py"):
            if file.is_file():
                return file
    return None


@cache
def _folders(package: str) -> tuple[Path, ...]:
    """The folders that a top-level package or module stands in."""
    if package == "__main__":
        return ()
    spec = find_spec(package)
    if spec is None:
        return ()
    if spec.submodule_search_locations:
        return tuple(Path(place).parent for place in spec.submodule_search_locations)
    return (Path(spec.origin).parent,) if spec.origin else ()


def _version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return "none"
