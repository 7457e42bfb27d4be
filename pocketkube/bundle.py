"""A model bundle: a folder with model.keras and, beside it, what is known of the model."""

import json
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras

from pocketkube.errors import UserError
from pocketkube.facts import load_facts
from pocketkube.files import replaced_folder, write_text
from pocketkube.layout import FACTS_FILE, MODEL_FILE
from pocketkube.quantization import fake_quantize as _known_to_keras  # noqa: F401


@dataclass(frozen=True)
class Bundle:
    """A model and its facts.

    Attributes:
        model: The model.
        facts: What is known of it, ready for JSON: its data set, figures and the stages before.
    """

    model: keras.Model
    facts: dict[str, Any] = field(default_factory=dict)


def save_bundle(folder: Path, bundle: Bundle) -> None:
    """Writes a bundle, whole or not at all."""
    with replaced_folder(folder) as aside:
        bundle.model.save(aside / MODEL_FILE)
        write_text(aside / FACTS_FILE, json.dumps(bundle.facts, indent=1))


def load_bundle(folder: Path) -> Bundle:
    """Reads a bundle.

    Raises:
        UserError: If the folder is no bundle, or the model in it cannot be loaded.
    """
    return Bundle(load_model(folder / MODEL_FILE), load_facts(folder))


def load_model(path: Path) -> keras.Model:
    """Loads a .keras file in Keras's safe mode.

    Args:
        path: The file.

    Returns:
        The model, with its compile settings where it has them. One that was trained in mixed precision
        computes in the precision of its weights: LiteRT has no half-precision arithmetic.

    Raises:
        UserError: If it is missing, damaged, or needs code that safe mode does not run.
    """
    if not path.is_file():
        raise UserError(f"There is no model file {path}.")
    if path.suffix != ".keras":
        raise UserError(
            f"{path} is no .keras file; load it where it was made and call model.save('net.keras')."
        )
    if not zipfile.is_zipfile(path):
        raise UserError(f"{path} is damaged or cut short: it is no archive, as .keras files are.")
    try:
        return _in_float32(keras.saving.load_model(path, safe_mode=True))
    except (zipfile.BadZipFile, EOFError, OSError) as error:
        raise UserError(f"{path} is damaged or cut short: {_first_line(error)}") from error
    except Exception as error:
        raise UserError(_reason(path, error)) from error


def _in_float32(model: keras.Model) -> keras.Model:
    for layer in model._flatten_layers():
        if layer.dtype_policy.compute_dtype != layer.dtype_policy.variable_dtype:
            layer.dtype_policy = layer.dtype_policy.variable_dtype
    return model


def _reason(path: Path, error: Exception) -> str:
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
        return f"{path} is damaged or cut short: {_first_line(error)}"
    return f"{path} cannot be loaded: {_first_line(error)}"


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


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:200]
