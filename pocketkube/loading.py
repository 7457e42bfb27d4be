"""Says in one line why a model file cannot be loaded."""

import json
import re
import zipfile
from pathlib import Path
from typing import Any

import keras

from pocketkube.errors import first_line
from pocketkube.extension import layers

# Files may name them: who loads one has to know them.
from pocketkube.older_keras.activations import hard_sigmoid_of_keras_2 as hard_sigmoid_of_keras_2
from pocketkube.quantization.fake_quantize import FakeQuantize as FakeQuantize


def load_added_layers(path: Path) -> None:
    """Imports the packages that add a layer which a file names, so that Keras knows its class.

    Args:
        path: An archive with Keras's config.json.

    Raises:
        UserError: If such a package cannot be imported.
    """
    names = layers.names()
    if not names:
        return
    with zipfile.ZipFile(path) as archive:
        text = archive.read("config.json").decode()
    for name in names:
        if json.dumps(name) in text:
            layers.get(name)


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
    unknown = _unknown(path)
    if unknown:
        are, them = ("is", "it") if len(unknown) == 1 else ("are", "them")
        return (
            f"{path} uses {' and '.join(unknown)}, which {are} not known here: name the module that "
            f"has {them}, by imports: [my_layers] in the spec or --import my_layers (or a .py file) on "
            "the command line; in Python import it, with "
            f"@keras.saving.register_keras_serializable() above {them}."
        )
    held_twice = re.search(r"Layer '(\S+)' expected \d+ variables, but received 0", text)
    if held_twice:
        return (
            f"{path} has no weights for the layer {held_twice[1]} where it is needed a second time: "
            "Keras's file loses that two layers hold the same third one, or that a nested model and "
            "the one around it call it. Call it in the model itself, before the layers that hold it."
        )
    if "config.json" in text or "zip" in text.lower():
        return f"{path} is damaged or cut short: {first_line(error)}"
    return f"{path} cannot be loaded: {first_line(error)}"


def _unknown(path: Path) -> list[str]:
    """Classes and functions that a file names and that no one registered, each once."""
    with zipfile.ZipFile(path) as archive:
        config = json.loads(archive.read("config.json"))
    found: list[str] = []

    def visit(node: Any) -> None:
        if isinstance(node, dict):
            if isinstance(node.get("class_name"), str) and "config" in node and not _is_known(node):
                found.append(_called(node))
            for value in node.values():
                visit(value)
        elif isinstance(node, list):
            for value in node:
                visit(value)

    visit(config)
    return list(dict.fromkeys(found))


def _is_known(node: dict[str, Any]) -> bool:
    name = node["class_name"]
    # Keras writes tensors, slices and the like down as if they were of such classes.
    if name.startswith("__") and name.endswith("__"):
        return True
    if name == FUNCTION:
        try:
            keras.saving.deserialize_keras_object(node)
        except (TypeError, ValueError):
            return False
        return True
    if str(node.get("module")).split(".")[0] in ("keras", "builtins"):
        return True
    return keras.saving.get_registered_object(node.get("registered_name") or name) is not None


def _called(node: dict[str, Any]) -> str:
    if node["class_name"] == FUNCTION:
        return f"the function {str(node['config']).rsplit('>')[-1]}"
    return f"the class {node['class_name']}"


FUNCTION = "function"
