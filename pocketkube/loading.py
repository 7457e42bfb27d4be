"""Says in one line why a model file cannot be loaded."""

import json
import zipfile
from pathlib import Path
from typing import Any

import keras

# Models that round their activations are made of it: who loads one has to know it.
from pocketkube.quantization.fake_quantize import FakeQuantize as FakeQuantize


def why_not_loaded(path: Path, error: Exception) -> str:
    """What is wrong with a file, and what would be right.

    Args:
        path: An archive with Keras's config.json.
        error: What Keras said.
    """
    text = str(error)
    if "Lambda" in text and "safe" in text.lower():
        return (
            f"{path} has a Lambda layer, whose code safe mode does not run: replace it with a built-in "
            "layer, or with a class of your own under @keras.saving.register_keras_serializable()."
        )
    for class_name in _unknown_classes(path):
        return (
            f"{path} uses the class {class_name}, which is not known here: decorate it with "
            "@keras.saving.register_keras_serializable() and import its module before loading "
            f"(python -c 'import your_module, pocketkube.cli as c; c.main()' ...)."
        )
    if "config.json" in text or "zip" in text.lower():
        return f"{path} is damaged or cut short: {first_line(error)}"
    return f"{path} cannot be loaded: {first_line(error)}"


def _unknown_classes(path: Path) -> list[str]:
    """Classes that a file names and that no one registered."""
    with zipfile.ZipFile(path) as archive:
        config = json.loads(archive.read("config.json"))
    found: list[str] = []

    def visit(node: Any) -> None:
        if isinstance(node, dict):
            name = node.get("class_name")
            if isinstance(name, str) and "config" in node:
                registered = node.get("registered_name") or name
                custom = not str(node.get("module") or "").startswith(("keras", "builtins"))
                if custom and keras.saving.get_registered_object(registered) is None:
                    found.append(name)
            for value in node.values():
                visit(value)
        elif isinstance(node, list):
            for value in node:
                visit(value)

    visit(config)
    return list(dict.fromkeys(found))


def first_line(error: Exception) -> str:
    """The first line of an error's text; its type where it has none."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:200]
