"""The network that a spec names: built, or loaded from a .keras file, and fit for the data."""

from collections.abc import Sequence
from dataclasses import replace

import keras

from pocketkube.bundle import read_model
from pocketkube.data.dataset import Dataset
from pocketkube.errors import UserError
from pocketkube.extension import models
from pocketkube.graph.by_name import in_order, order_of
from pocketkube.graph.walk import functional_graph
from pocketkube.models.build import build_model
from pocketkube.models.names import BUILT_IN_NAMES, TRANSLATION_NAMES, check_name
from pocketkube.models.transformer import transformer
from pocketkube.older_keras import Imported
from pocketkube.shapes import Shape, other_channels, refuse_other_shapes, shape_fits
from pocketkube.spec.model_files import is_model_file
from pocketkube.storage import parse_location


def network_with_notes(
    key: str,
    name: str,
    width: float,
    dataset: Dataset | None,
    seed: int,
    like: keras.Model | None = None,
) -> Imported:
    """Makes a network ready, and tells what its file had and is left behind.

    Args:
        key: Where the spec names it, for messages: "model" or "student".
        name: A built-in network's name, or the path of a .keras file.
        width: Width multiplier of a built-in network.
        dataset: What it is to take and to tell apart; None where there are no examples.
        seed: The weights of a built-in network follow from it.
        like: The model in whose order of inputs and outputs the data are, and the network is to be, by
            their names; None where the data are in the network's own.

    Returns:
        The network and notes for the user; a file's has the weights that it was saved with.

    Raises:
        UserError: If there is no such network or file, or the data are nothing for it.
    """
    if is_model_file(name):
        with parse_location(name).fetched() as path:
            found = read_model(path)
        found = replace(found, model=_in_order_of(found.model, like))
        _check_inputs(key, name, found.model, dataset)
        return found
    if dataset is None or not dataset.labels:
        data = "which there is none of" if dataset is None else f"of which {dataset.name} has none"
        raise UserError(
            f"{key}: {name} is trained from scratch by labels, {data}: give the path of a trained "
            "network's file."
        )
    if name in TRANSLATION_NAMES:
        return Imported(transformer(name, dataset, width=width, seed=seed), ())
    builder = models.find(name, BUILT_IN_NAMES)
    if builder is not None:
        model = builder(dataset, width=width, seed=seed)
        if not isinstance(model, keras.Model):
            raise UserError(
                f"The network {name} of {models.origin(name).who} is built as a "
                f"{type(model).__name__}, not as a keras.Model."
            )
        model = _in_order_of(model, like)
        _check_inputs(key, name, model, dataset)
        return Imported(model, ())
    try:
        check_name(name)
    except UserError as error:
        raise error.saying(f"{key}: {error}") from error
    labels = dataset.labels[0]
    several = len(dataset.labels) != 1 or len(dataset.input_shapes) != 1
    of_positions = len(labels.shape or ()) > (1 if labels.rows else 0)
    if labels.num_classes is None or of_positions or several:
        raise UserError(
            f"{key}: {name} classifies one image; this dataset has other inputs or labels: "
            "give the path of a .keras file."
        )
    shape = dataset.input_shapes[0]
    return Imported(build_model(name, shape, labels.num_classes, width=width, seed=seed), ())


def _in_order_of(model: keras.Model, like: keras.Model | None) -> keras.Model:
    return model if like is None else in_order(model, order_of(model, like))


def _check_inputs(key: str, name: str, model: keras.Model, dataset: Dataset | None) -> None:
    functional_graph(model)
    if dataset is None:
        return
    wanted = [tuple(x.shape[1:]) for x in model.inputs]
    refuse_other_shapes(
        dataset.name if key == "model" else f"{key}: {dataset.name}",
        dataset.input_shapes,
        name,
        wanted,
        _remedy(dataset, wanted),
    )


def _remedy(dataset: Dataset, wanted: Sequence[Shape]) -> str:
    """What to do about examples of other shapes than are wanted."""
    given, remedies = dataset.input_shapes, ["use the model's own data"]
    if len(given) == len(wanted) == 1:
        (have,), (want,) = given, wanted
        if len(have) == len(want) == 3 and not shape_fits(have[:2], want[:2]):
            size = ", ".join(str(side or now) for side, now in zip(want[:2], have, strict=False))
            channels = other_channels(have, want)
            resized = (
                "resize x" if dataset.name.endswith(".npz") else f"let dataset.image_size be [{size}]"
            )
            remedies.insert(0, f"{resized}; {channels}" if channels else resized)
    return ", or ".join(remedies)
