"""Says in one line why a model file cannot be loaded."""

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import keras

from pocketkube.bounded.limits import Unreadable
from pocketkube.bounded.zip_archive import ZipArchive
from pocketkube.errors import UserError, first_line
from pocketkube.extension import layers

# Files may name them: who loads one has to know them.
from pocketkube.older_keras.activations import hard_sigmoid_of_keras_2 as hard_sigmoid_of_keras_2
from pocketkube.older_keras.mask_of import MaskOf as MaskOf
from pocketkube.older_keras.masks import MERGING as MERGING
from pocketkube.quantization.fake_quantize import FakeQuantize as FakeQuantize

CONFIG, METADATA = "config.json", "metadata.json"
FUNCTION, LAMBDA = "function", "__lambda__"


def config_of(archive: ZipArchive) -> Any:
    """What an archive's config.json says of a model.

    Args:
        archive: A .keras file, or a packed one.

    Raises:
        Unreadable: If it has none, or one that is damaged or larger than any.
    """
    return _json_of(archive, CONFIG)


def refuse_keras_2(path: Path, archive: ZipArchive) -> None:
    """Refuses a .keras file of Keras 2, which has another form than those of Keras 3.

    Args:
        path: The file.
        archive: What is in it.

    Raises:
        UserError: If it is one.
        Unreadable: If what says so is damaged.
    """
    told = _json_of(archive, METADATA) if METADATA in archive.names else None
    version = str(told.get("keras_version", "")) if isinstance(told, dict) else ""
    if version.startswith("2."):
        raise UserError(
            f"{path} was written by Keras {version:.20}, whose .keras files are not read here: load it "
            "with Keras 2 (TensorFlow up to 2.15, or the package tf_keras), call model.save('net.h5'), "
            "and give that file."
        )


def _json_of(archive: ZipArchive, name: str) -> Any:
    text = archive.text(name)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"its {name} is no JSON: {first_line(error)}") from error


def load_added_layers(config: Any) -> None:
    """Imports the packages that add a layer which a model names, so that Keras knows its class.

    Args:
        config: What its config.json says.

    Raises:
        UserError: If such a package cannot be imported.
    """
    names = layers.names()
    if names:
        named = {node for node in _nodes(config) if isinstance(node, str)}
        for name in names:
            if name in named:
                layers.get(name)


def why_not_loaded(path: Path, config: Any, error: Exception) -> str:
    """What is wrong with a file, and what would be right.

    Args:
        path: The file.
        config: What its config.json says of a model.
        error: What Keras said.
    """
    text = str(error)
    if "Lambda" in text and "safe" in text.lower():
        return (
            f"{path} has a Lambda layer, whose code safe mode does not run: replace it with a built-in "
            "layer, or with a class of your own under @keras.saving.register_keras_serializable()."
        )
    lambdas = list(dict.fromkeys(_lambdas(config)))
    if lambdas:
        return (
            f"{path} has code that safe mode does not run: {' and '.join(lambdas)} {_is(lambdas)} a "
            "lambda: build the model with a function under "
            "@keras.saving.register_keras_serializable() in its place."
        )
    unknown = _unknown(config)
    if unknown:
        them = "it" if len(unknown) == 1 else "them"
        return (
            f"{path} uses {' and '.join(unknown)}, which {_is(unknown)} not known here: name the module"
            f" that has {them}, by imports: [my_layers] in the spec or --import my_layers (or a .py "
            "file) on the command line; in Python import it, with "
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


def _is(named: Sequence[str]) -> str:
    return "is" if len(named) == 1 else "are"


def _lambdas(config: Any) -> Iterator[str]:
    """What layers of a configuration have lambdas for."""
    for node in _nodes(config):
        settings = node.get("config") if isinstance(node, dict) else None
        if not isinstance(settings, dict):
            continue
        for name, value in settings.items():
            if isinstance(value, dict) and _is_lambda(value):
                yield f"the {name} of {settings.get('name')}"


def _is_lambda(value: dict[str, Any]) -> bool:
    # Of activations Keras leaves the class out: what remains is code, defaults and closure.
    code = value.get("value")
    return value.get("class_name") == LAMBDA or (
        value.keys() == {"value"} and isinstance(code, list) and len(code) == 3
    )


def _unknown(config: Any) -> list[str]:
    """Classes and functions that a model names and that no one registered, each once."""
    classes = (
        node
        for node in _nodes(config)
        if isinstance(node, dict) and isinstance(node.get("class_name"), str) and "config" in node
    )
    return list(dict.fromkeys(_called(node) for node in classes if not _is_known(node)))


def _nodes(config: Any) -> Iterator[Any]:
    """All values of a configuration, in its order, however deep it is."""
    waiting = [config]
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, dict):
            waiting += reversed(node.values())
        elif isinstance(node, list):
            waiting += reversed(node)


def _is_known(node: dict[str, Any]) -> bool:
    name = node["class_name"]
    # Keras writes tensors, slices and the like down as if they were of such classes.
    if name.startswith("__") and name.endswith("__"):
        return True
    if name == FUNCTION:
        try:
            keras.saving.deserialize_keras_object(node)
        # Of a damaged one Keras raises what it happens to run into.
        except Exception:
            return False
        return True
    if str(node.get("module")).split(".")[0] in ("keras", "builtins"):
        return True
    return keras.saving.get_registered_object(node.get("registered_name") or name) is not None


def _called(node: dict[str, Any]) -> str:
    if node["class_name"] == FUNCTION:
        return f"the function {str(node['config']).rsplit('>')[-1]}"
    return f"the class {node['class_name']}"
