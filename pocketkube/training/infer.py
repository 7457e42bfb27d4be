"""What each output of a model is to learn, by its compile settings, its labels and how it ends."""

from collections.abc import Sequence
from math import prod
from typing import Any

import keras

from pocketkube.data.dataset import Labels
from pocketkube.errors import UserError
from pocketkube.keras_private import calls_of, loss_arguments, origin
from pocketkube.measures import Classes, Values, label_places
from pocketkube.structure import output_names
from pocketkube.training.compiled import (
    CompiledLoss,
    compiled_losses,
    is_compiled,
)
from pocketkube.training.heads import TAKE_NUMBERS, TAKE_ROWS, ClassHead, Head, ValueHead, keras_loss

# Operations that leave values as they are: what an output ends in is before them.
KEEP_VALUES = (
    "reshape",
    "flatten",
    "permute",
    "squeeze",
    "expanddims",
    "identity",
    "linear",
    "dropout",
)
PROBABILITIES = ("softmax", "sigmoid", "hard_sigmoid", "hardsigmoid")


def infer_heads(model: keras.Model, labels: Sequence[Labels]) -> tuple[Head, ...]:
    """The head that each output of a model is.

    Args:
        model: The model.
        labels: Of each output in the order of `model.outputs`, or of each that has a loss.

    Returns:
        The heads in the order of the outputs.

    Raises:
        UserError: If an output, its loss and its labels do not fit each other.
    """
    if not is_compiled(model):
        places: list[int | None] = list(_places(model, [True] * len(model.outputs), labels))
        losses: list[CompiledLoss | None] = [None] * len(places)
    else:
        # Which outputs have a loss shows whatever the labels are; what "crossentropy" means does not.
        scored = [loss is not None for loss in compiled_losses(model, model.outputs)]
        found = iter(_places(model, scored, labels))
        places = [next(found) if is_scored else None for is_scored in scored]
        tensors = [
            output if place is None else _label_tensor(output, labels[place])
            for output, place in zip(model.outputs, places, strict=True)
        ]
        losses = compiled_losses(model, tensors)
    return tuple(
        _untrained(name, output)
        if place is None
        else _Output(model, name, output, place, labels[place]).head(loss)
        for name, output, place, loss in zip(
            output_names(model), model.outputs, places, losses, strict=True
        )
    )


def ending(output: keras.KerasTensor) -> str:
    """Name of the activation that an output ends in, or of its layer."""
    while True:
        operation, node, place = origin(output)
        if isinstance(operation, keras.Model):
            output = operation.outputs[place]
            continue
        activation = getattr(getattr(operation, "layer", operation), "activation", operation)
        name = getattr(activation, "__name__", type(activation).__name__).lower()
        inputs = calls_of(operation)[node].input_tensors
        if name not in KEEP_VALUES or len(inputs) != 1 or getattr(operation, "weights", []):
            return name
        output = inputs[0]


class _Output:
    """One output and its labels, and what messages call them."""

    def __init__(
        self, model: keras.Model, name: str, output: keras.KerasTensor, number: int, labels: Labels
    ) -> None:
        self._name, self._output, self._labels = name, output, labels
        several = len(model.outputs) > 1
        self._called = (
            f"Output {name} of the model {model.name}" if several else f"The model {model.name}"
        )
        self._y = f"y{number}" if several else "the dataset"
        self._units = output.shape[-1] if len(output.shape) > 1 else 1
        self._example = tuple(output.shape[1:])

    def head(self, compiled: CompiledLoss | None) -> Head:
        """The head for the loss that the output is compiled with, if any."""
        function = keras_loss(compiled.loss) if compiled else None
        if self._labels.num_classes is not None:
            self._refuse_value_loss(compiled, function)
            return self._class_head(compiled)
        if function in TAKE_NUMBERS:
            raise UserError(
                f"{self._called} is compiled for classification, but the labels of {self._y} are no "
                "class numbers: give integer labels."
            )
        if function in ("categorical_crossentropy", "categorical_focal_crossentropy", "kl_divergence"):
            return self._class_head(compiled)
        if function in ("binary_crossentropy", "binary_focal_crossentropy"):
            if self._example in ((), (1,)):
                return self._class_head(compiled)
            if _takes_logits(compiled, self._output):
                raise UserError(
                    f"{self._called} gives logits, but the labels of {self._y} are values: end it in a "
                    "sigmoid, so that they can be compared."
                )
        return self._value_head(compiled)

    def _class_head(self, compiled: CompiledLoss | None) -> ClassHead:
        count, wanted = max(self._units, 2), self._labels.num_classes
        if wanted is not None and wanted > count:
            raise UserError(
                f"{self._called} tells {count} classes apart, but {self._y} "
                f"{'holds' if self._y != 'the dataset' else 'has'} {wanted}."
            )
        self._refuse_other_positions()
        logits = _takes_logits(compiled, self._output)
        measure = Classes(None if self._units > 1 else 0.0 if logits else 0.5)
        loss, weight = _class_loss(self._units, self._labels.rows, logits), 1.0
        if compiled:
            loss, weight = compiled.loss, compiled.weight
        return ClassHead(self._name, measure, loss, weight, num_classes=count, from_logits=logits)

    def _value_head(self, compiled: CompiledLoss | None) -> ValueHead:
        shape = self._labels.shape
        if shape is not None and None not in self._example and prod(shape) != prod(self._example):
            raise UserError(
                f"{self._called} gives values of the shape {self._example} an example, but the labels "
                f"of {self._y} have {shape}."
            )
        loss, weight = keras.losses.MeanSquaredError(), 1.0
        if compiled:
            loss, weight = compiled.loss, compiled.weight
        return ValueHead(self._name, Values(), loss, weight)

    def _refuse_value_loss(self, compiled: CompiledLoss | None, function: str | None) -> None:
        if function is None or function in (*TAKE_NUMBERS, *TAKE_ROWS) or self._labels.rows:
            return
        assert compiled is not None
        raise UserError(
            f"{self._called} is compiled with {compiled.loss.name}, but the labels of {self._y} are "
            "class numbers: compile it with a cross-entropy, or give values (floats) as labels."
        )

    def _refuse_other_positions(self) -> None:
        """Says when there is not one label for each row of classes."""
        shape = self._labels.shape
        if shape is None:
            return
        are_rows = self._labels.rows or self._labels.num_classes is None
        positions = shape[:-1] if are_rows else shape
        if len(positions) != len(self._example[:-1]) or any(
            a not in (None, b) for a, b in zip(self._example[:-1], positions, strict=True)
        ):
            raise UserError(
                f"{self._called} gives classes of the shape {self._example} an example, but the labels "
                f"of {self._y} have {shape}: one label for each row of classes."
            )


def _places(model: keras.Model, scored: list[bool], labels: Sequence[Labels]) -> list[int]:
    return label_places(scored, len(labels), "The dataset", f"the model {model.name}")


def _label_tensor(output: keras.KerasTensor, labels: Labels) -> keras.KerasTensor:
    """Labels as Keras sees them."""
    shape: Any = labels.shape
    if shape is None:
        shape = () if labels.num_classes is not None and not labels.rows else output.shape[1:]
    is_number = labels.num_classes is not None and not labels.rows
    return keras.KerasTensor((None, *shape), dtype="int32" if is_number else "float32")


def _class_loss(units: int, rows: bool, logits: bool) -> keras.losses.Loss:
    """What Keras would call crossentropy."""
    if units == 1:
        return keras.losses.BinaryCrossentropy(from_logits=logits)
    if rows:
        return keras.losses.CategoricalCrossentropy(from_logits=logits)
    return keras.losses.SparseCategoricalCrossentropy(from_logits=logits)


def _takes_logits(compiled: CompiledLoss | None, output: keras.KerasTensor) -> bool:
    """As the loss is set to; where it has no such setting, by how the output ends."""
    if compiled:
        config = loss_arguments(compiled.loss) or compiled.loss.get_config()
        if keras_loss(compiled.loss) and "crossentropy" in str(keras_loss(compiled.loss)):
            return bool(config.get("from_logits", False))
        if "from_logits" in config:
            return bool(config["from_logits"])
    return ending(output) not in PROBABILITIES


def _untrained(name: str, output: keras.KerasTensor) -> Head:
    """An output without a loss; its kind says how a file's output is compared with it."""
    if ending(output) == "softmax":
        return ClassHead(name, Classes(), None, num_classes=output.shape[-1], from_logits=False)
    return ValueHead(name, Values(), None)
