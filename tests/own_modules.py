"""Modules that tests import as a spec asks for it, and what they leave behind."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras

from pocketkube.extension import layers
from pocketkube.importing import import_all
from pocketkube.spec.sections import Import
from pocketkube.spec.sections.imports import packed

MY_LAYERS = Path(__file__).with_name("my_layers.py")


def module(name: str, source: str) -> Import:
    """A module by its text."""
    return Import(name=name, packed=packed(source))


@contextmanager
def as_before() -> Iterator[None]:
    """Removes what modules that are imported within have left in this process."""
    modules, known = set(sys.modules), dict(keras.saving.get_custom_objects())
    found, decorated = dict(layers._found), dict(layers._decorated)
    try:
        yield
    finally:
        for name in set(sys.modules) - modules:
            if getattr(sys.modules[name].__spec__, "origin", None) == f"{name}.py of the spec":
                del sys.modules[name]
        keras.saving.get_custom_objects().clear()
        keras.saving.get_custom_objects().update(known)
        layers._found, layers._decorated = found, decorated


def save_network(folder: Path, **settings: Any) -> Path:
    """Writes my_layers.py into a folder, and net.keras with layers of it."""
    source = MY_LAYERS.read_text()
    (folder / "my_layers.py").write_text(source)
    with as_before():
        import_all([module("my_layers", source)])
        keras.utils.set_random_seed(0)
        sys.modules["my_layers"].network(**settings).save(folder / "net.keras")
    return folder / "net.keras"
