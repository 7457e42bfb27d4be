"""Makes a model of Keras 3 of a file of an older Keras, in safe mode."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

from pocketkube.bounded.variables import room_for
from pocketkube.errors import UserError, first_line
from pocketkube.graph.sharing import compute_from_variables
from pocketkube.older_keras.configuration import adapted, kept_name, may_mask, refuse_unsafe
from pocketkube.older_keras.hdf5 import is_hdf5, read_hdf5
from pocketkube.older_keras.masks import masked_layers
from pocketkube.older_keras.saved_model import is_saved_model, read_saved_model
from pocketkube.older_keras.stored import StoredModel, StoredWeight
from pocketkube.spec.model_files import HDF5

# Weights that Keras 3 does not keep.
_LEFT_OUT = {"count"}
# Losses that Keras 3 calls otherwise.
_RENAMED_LOSSES = {
    "cosine_proximity": "cosine_similarity",
    "huber_loss": "huber",
    "kullback_leibler_divergence": "kl_divergence",
    "logcosh": "log_cosh",
}


@dataclass(frozen=True)
class Imported:
    """A model that was brought back.

    Attributes:
        model: The model; it is compiled with its old loss where Keras 3 knows it.
        notes: Sentences for the user, on what was left behind.
    """

    model: keras.Model
    notes: tuple[str, ...]


def is_older(path: Path) -> bool:
    """Whether a file or a folder is one that an older Keras wrote, by what it is called.

    Up to TensorFlow 2.11, a file that was to be called .keras was HDF5 as well.
    """
    return path.suffix in HDF5 or is_saved_model(path) or is_hdf5(path)


def load_older(path: Path) -> Imported:
    """Loads the HDF5 file or the SavedModel folder of an older Keras.

    Configurations and weights alone are read; neither Python code nor a graph of the file is run.

    Args:
        path: A .h5 or .hdf5 file, or the folder; or a .keras file that is HDF5.

    Returns:
        The model.

    Raises:
        UserError: If it is damaged or holds no network, or has layers that safe mode or Keras 3 does
            not run.
    """
    if not path.exists():
        raise UserError(f"There is no model file {path}.")
    if not is_older(path):
        raise UserError(
            f"{path} is no .h5 or .hdf5 file and no SavedModel's folder"
            f"{': it need not be imported' if path.suffix == '.keras' else ''}."
        )
    stored = read_saved_model(path) if is_saved_model(path) else read_hdf5(path)
    model = _model(stored, path)
    if not isinstance(model, keras.Model):
        raise UserError(f"{path} holds no model, but a {type(model).__name__}.")
    if not _is_of_keras_3(stored):
        _put_in(model, stored, path)
    return Imported(model, tuple(_compiled(model, stored.training)))


def _model(stored: StoredModel, path: Path) -> Any:
    """Of Keras 3's own HDF5 files with its weights, else without."""
    numbers = sum(weight.value.size for weights in stored.weights.values() for weight in weights)

    def built(is_masked: Callable[[str], bool]) -> Any:
        config = adapted(stored.config, str(path), is_masked)
        with room_for(numbers):
            return keras.saving.deserialize_keras_object(config, safe_mode=True)

    with _plain_failure(path):
        if _is_of_keras_3(stored):
            refuse_unsafe(stored.config, str(path))
            if path.suffix not in HDF5:
                raise UserError(f"{path} is an HDF5 file: rename it to {path.with_suffix('.h5').name}.")
            with room_for(numbers):
                return keras.saving.load_model(path, compile=False, safe_mode=True)
        if not may_mask(stored.config):
            return built(lambda name: False)
        # Where masks arrive is known once there is a model.
        return built(masked_layers(built(lambda name: True)).__contains__)


@contextmanager
def _plain_failure(path: Path) -> Iterator[None]:
    """What Keras says of a file that it cannot read, in one line."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{path} cannot be brought back: {first_line(error)}") from error


def _is_of_keras_3(stored: StoredModel) -> bool:
    return not stored.keras_version.startswith("2")


def _put_in(model: keras.Model, stored: StoredModel, path: Path) -> None:
    """Gives a model its weights, layer by layer."""
    left = {kept_name(name): weights for name, weights in stored.weights.items()}
    for layer in model.layers:
        variables = [*layer.trainable_weights, *layer.non_trainable_weights]
        found = _without_extra(left.pop(layer.name, ()), variables)
        shapes = [tuple(variable.shape) for variable in variables]
        ordered = _ordered(found, [variable.name for variable in variables])
        if [weight.value.shape for weight in ordered] != shapes:
            told = ", ".join(f"{weight.name} {weight.value.shape}" for weight in found) or "none"
            raise UserError(
                f"{path}: the weights of {layer.name} ({type(layer).__name__}) are {told}; Keras 3 "
                f"wants {', '.join(map(str, shapes)) or 'none'}: it does not know the layer's settings."
            )
        for variable, weight in zip(variables, ordered, strict=True):
            variable.assign(weight.value)
    unknown = [name for name, weights in left.items() if weights and name != "top_level_model_weights"]
    if unknown:
        raise UserError(f"{path} has weights of {', '.join(unknown)}, which the network in it has not.")
    compute_from_variables(model)


def _without_extra(
    weights: Sequence[StoredWeight], variables: Sequence[keras.Variable]
) -> Sequence[StoredWeight]:
    extra = _LEFT_OUT - {variable.name for variable in variables}
    return [weight for weight in weights if weight.name not in extra]


def _ordered(weights: Sequence[StoredWeight], names: Sequence[str]) -> Sequence[StoredWeight]:
    """By their names, where these tell them apart; else as they stand."""
    by_name = {weight.name: weight for weight in weights}
    if len(by_name) == len(weights) and by_name.keys() == set(names) and len(names) == len(by_name):
        return [by_name[name] for name in names]
    return weights


def _compiled(model: keras.Model, training: Mapping[str, Any] | None) -> list[str]:
    """Compiles a model with its loss; tells what is left behind."""
    if training is None:
        return []
    try:
        loss = _loss(training.get("loss"))
        if loss is not None:
            weights = training.get("loss_weights")
            model.compile(loss=loss, loss_weights=_by_output(weights))
    except (TypeError, ValueError, KeyError) as error:
        named = str(training.get("loss"))[:80]
        return [f"Its loss, {named}, is not known here and is left behind: {first_line(error)}"]
    return ["Its optimizer and metrics are left behind: training begins with those of a spec."]


def _loss(stored: Any) -> Any:
    if stored is None:
        return None
    if isinstance(stored, list):
        return [_loss(each) for each in stored]
    if isinstance(stored, dict) and "class_name" not in stored:
        return {kept_name(name): _loss(each) for name, each in stored.items()}
    if isinstance(stored, dict):
        config = {key: each for key, each in stored["config"].items() if key != "fn"}
        if config.get("reduction") == "auto":
            del config["reduction"]
        stored = {"class_name": stored["class_name"], "config": config}
    if isinstance(stored, str):
        stored = _RENAMED_LOSSES.get(stored, stored)
    found = keras.losses.get(stored)
    # A name stays what it is: it is how users wrote it.
    return stored if isinstance(stored, str) else found


def _by_output(weights: Any) -> Any:
    if isinstance(weights, dict):
        return {kept_name(name): each for name, each in weights.items()}
    return weights
