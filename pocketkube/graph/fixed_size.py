"""Gives the inputs of a model that takes any size a fixed one: costs and LiteRT files need it."""

from collections.abc import Sequence
from typing import Any

import keras

from pocketkube.errors import UserError, first_line
from pocketkube.graph.compile_settings import compile_like
from pocketkube.graph.sharing import compute_from_variables, freeze_alike
from pocketkube.keras_private import origin
from pocketkube.shapes import Shape, shape_fits


def open_shapes(model: keras.Model) -> list[Shape]:
    """Shapes of the inputs an example, where one of them has an axis of any size; none elsewhere."""
    shapes = [tuple(tensor.shape[1:]) for tensor in model.inputs]
    return shapes if any(None in shape for shape in shapes) else []


def are_of_images(shapes: Sequence[Shape]) -> bool:
    """Whether a height and a width are all that shapes leave open."""
    return all(None not in shape or (len(shape) == 3 and shape[-1] is not None) for shape in shapes)


def at_image_size(model: keras.Model, size: Sequence[int] | None) -> keras.Model:
    """A model that takes images of any size, at one size.

    Args:
        model: A functional or sequential model; it is left as it is.
        size: Height and width; None to take the model as it is.

    Returns:
        The same network with the same weights.

    Raises:
        UserError: If no input is an image of any size or of this one, one is of another kind, the size
            is not positive, or a layer cannot take it.
    """
    if size is None:
        return model
    height, width = size
    if min(height, width) < 1:
        raise UserError(f"The image size {height} x {width} is none; give two numbers of 1 or more.")
    shapes = open_shapes(model)
    if not shapes:
        fixed = [tuple(tensor.shape[1:]) for tensor in model.inputs]
        if {shape[:2] for shape in fixed if len(shape) == 3} == {(height, width)}:
            return model
        raise UserError(
            f"{model.name} takes inputs of the fixed shapes {fixed}; leave the image size out."
        )
    wanted = []
    for shape in shapes:
        images = (height, width, shape[-1]) if len(shape) == 3 else shape
        if None in images or not shape_fits(images, shape):
            raise UserError(
                f"{model.name} takes an input of the shape {shape}, which is no image of "
                f"{height} x {width}; build the model with a fixed input shape."
            )
        wanted.append(images)
    return at_shapes(model, wanted)


def at_shapes(model: keras.Model, shapes: Sequence[Shape]) -> keras.Model:
    """A model whose inputs have other shapes.

    Args:
        model: A functional or sequential model; it is left as it is.
        shapes: Shape of each input an example, in the order of `model.inputs`; None for any size, which
            models within take then, too.

    Returns:
        The same network with the same weights.

    Raises:
        UserError: If a layer cannot take them.
    """
    config = model.get_config()
    by_layer = dict(zip((origin(x)[0].name for x in model.inputs), shapes, strict=True))
    for layer in config["layers"]:
        settings = layer["config"]
        if layer["class_name"] == "InputLayer" and settings["name"] in by_layer:
            settings["batch_shape"] = (None, *by_layer[settings["name"]])
    config.pop("build_input_shape", None)
    if any(None in shape for shape in shapes):
        for layer in config["layers"]:
            _open(layer["config"])
    try:
        sized = type(model).from_config(config)
        sized.set_weights(model.get_weights())
        compute_from_variables(sized)
        freeze_alike(model, sized)
    except (ValueError, TypeError) as error:
        raise UserError(
            f"{model.name} cannot take inputs of the shapes {list(shapes)}: {first_line(error)}"
        ) from error
    compile_like(sized, model)
    return sized


def opened(model: keras.Model, shapes: Sequence[Shape]) -> keras.Model:
    """A model that takes inputs of any size again, or as it is, where a layer of it no longer can.

    Args:
        model: A model that was brought to one size; it is left as it is.
        shapes: What `open_shapes` gave before; none where it had one size from the beginning.
    """
    if not shapes:
        return model
    try:
        return at_shapes(model, shapes)
    except UserError:
        return model


def _open(config: Any) -> None:
    """Lets the models in a configuration take inputs of any size, in place; channels stay."""
    if not isinstance(config, dict):
        return
    for layer in config.get("layers", ()):
        settings = layer["config"]
        if layer["class_name"] == "InputLayer" and len(settings["batch_shape"]) > 1:
            batch, *sizes, channels = settings["batch_shape"]
            settings["batch_shape"] = (batch, *[None] * len(sizes), channels)
        else:
            _open(settings)
    if "layers" in config:
        config.pop("build_input_shape", None)
