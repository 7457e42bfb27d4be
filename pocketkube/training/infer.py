"""What each output of a model is to learn, by its compile settings, its labels and how it ends."""

from collections.abc import Sequence
from dataclasses import replace
from math import prod
from typing import Any

import keras

from pocketkube.data.dataset import Labels
from pocketkube.errors import UserError
from pocketkube.graph.walk import is_model
from pocketkube.keras_private import calls_of, loss_arguments, origin
from pocketkube.measures import MAP_RANK, Classes, Maps, MultiLabel, Values, label_places
from pocketkube.structure import output_names
from pocketkube.training.class_heads import ClassHead, MapHead, MultiLabelHead
from pocketkube.training.compiled import (
    CompiledLoss,
    compiled_losses,
    is_compiled,
    metric_names,
)
from pocketkube.training.head import Head, keras_loss
from pocketkube.training.heads import ValueHead
from pocketkube.training.label_kinds import (
    OF_ONE_CLASS,
    OF_YES_OR_NO,
    TAKE_ANSWERS,
    LabelKind,
    LabelledOutput,
    kind_of_answers,
    labels_of_answers,
)

# Losses that give one number for all positions of an example.
OF_ALL_POSITIONS = ("dice", "tversky")
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
# Those that cut values off, behind which probabilities are still such.
LIMITS = ("clip", "minimum", "maximum")
PROBABILITIES = ("softmax", "sigmoid", "hard_sigmoid", "hardsigmoid")


def infer_heads(
    model: keras.Model, labels: Sequence[Labels], named: LabelKind | None = None
) -> tuple[Head, ...]:
    """The head that each output of a model is.

    Args:
        model: The model.
        labels: Of each output in the order of `model.outputs`, or of each that has a loss; none where
            what the model answers itself stands in for them.
        named: What the spec says that labels are; None where loss and labels tell.

    Returns:
        The heads in the order of the outputs.

    Raises:
        UserError: If an output, its loss and its labels do not fit each other.
    """
    if not labels:
        return _heads_of_answers(model, named or LabelKind())
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
        else _Output(model, name, output, place, labels[place], named or LabelKind(), said).head(loss)
        for name, output, place, loss, said in zip(
            output_names(model), model.outputs, places, losses, metric_names(model), strict=True
        )
    )


def _heads_of_answers(model: keras.Model, named: LabelKind) -> tuple[Head, ...]:
    """The heads where labels are what the model answers.

    What its outputs are is told by its losses and metrics, else by how they end. A loss of the user's
    own, of which it is not known what labels it takes, gives way to Keras's of the same kind.
    """
    losses: list[CompiledLoss | None] = [None] * len(model.outputs)
    if is_compiled(model):
        losses = compiled_losses(model, model.outputs)
    heads: list[Head] = []
    for name, output, loss, metrics in zip(
        output_names(model), model.outputs, losses, metric_names(model), strict=True
    ):
        if loss is None and is_compiled(model):
            heads.append(_untrained(name, output))
            continue
        function = keras_loss(loss.loss) if loss else None
        kind = named.kind or kind_of_answers(name, output.shape, ending(output), function, metrics)
        labels = labels_of_answers(kind, tuple(output.shape[1:]))
        known = loss if function in TAKE_ANSWERS or (kind == Values.kind and function) else None
        is_map = kind == Classes.kind and not named.kind and len(output.shape) > MAP_RANK
        said = LabelKind(Maps.kind if is_map else kind)
        found = _Output(model, name, output, len(heads), labels, said, metrics).head(known)
        heads.append(found if loss is None else replace(found, weight=loss.weight))
    return tuple(heads)


def ending(output: keras.KerasTensor) -> str:
    """Name of the activation that an output ends in, or of its layer."""
    while True:
        operation, node, place = origin(output)
        if is_model(operation):
            output = operation.outputs[place]
            continue
        activation = getattr(getattr(operation, "layer", operation), "activation", operation)
        name = getattr(activation, "__name__", type(activation).__name__).lower()
        inputs = calls_of(operation)[node].input_tensors
        if name in LIMITS and len(inputs) == 1:
            before = ending(inputs[0])
            return before if before in PROBABILITIES else name
        if name not in KEEP_VALUES or len(inputs) != 1 or getattr(operation, "weights", []):
            return name
        output = inputs[0]


class _Output:
    """One output and its labels, and what messages call them."""

    def __init__(
        self,
        model: keras.Model,
        name: str,
        output: keras.KerasTensor,
        number: int,
        labels: Labels,
        named: LabelKind,
        metrics: frozenset[str],
    ) -> None:
        self._name, self._output, self._labels, self._metrics = name, output, labels, metrics
        several = len(model.outputs) > 1
        self._called = (
            f"Output {name} of the model {model.name}" if several else f"The model {model.name}"
        )
        self._y = f"y{number}" if several else "the dataset"
        self._example = tuple(output.shape[1:])
        self._with_labels = LabelledOutput(labels, self._example, named)
        self._named, self._units = named, self._with_labels.units

    def head(self, compiled: CompiledLoss | None) -> Head:
        """The head for the loss that the output is compiled with, if any."""
        function = keras_loss(compiled.loss) if compiled else None
        ends_in_shares = ending(self._output) in PROBABILITIES
        found = self._with_labels.kind(function, self._metrics, ends_in_shares=ends_in_shares)
        if function in OF_YES_OR_NO and found == Values.kind and not self._named.kind:
            self._refuse_logits(compiled)
        match self._named.kind or found:
            case MultiLabel.kind:
                return self._multi_label_head(compiled)
            case Values.kind:
                return self._value_head(compiled)
            case _:
                return self._class_head(compiled)

    def _refuse_logits(self, compiled: CompiledLoss | None) -> None:
        """Says when labels between 0 and 1 are held against logits."""
        if self._units > 1 and _takes_logits(compiled, self._output):
            raise UserError(
                f"{self._called} gives logits, but the labels of {self._y} are values: end it in a "
                "sigmoid, so that they can be compared."
            )

    def _refuse_one_unit(self, compiled: CompiledLoss | None) -> None:
        """Says when a loss that takes a unit for each class has a single one."""
        if compiled and self._units == 1 and keras_loss(compiled.loss) in OF_ONE_CLASS:
            raise UserError(
                f"{self._called} has a single unit, but is compiled with {compiled.loss.name}, which "
                "takes one for each class: end it in as many units as there are classes, or compile it "
                "with binary_crossentropy."
            )

    def _class_head(self, compiled: CompiledLoss | None) -> ClassHead:
        self._refuse_one_unit(compiled)
        count, wanted, whole = max(self._units, 2), self._labels.num_classes, self._labels.whole
        ignore = self._ignored(compiled)
        self._refuse_no_classes(compiled, ignore)
        if self._with_labels.in_rows:
            wanted = (self._labels.shape or (0,))[-1]
        elif whole is not None:
            wanted = 1 + whole[1]
        if wanted is not None and wanted > count and (ignore is None or wanted != 1 + ignore):
            white = "; a mask's white, 255, has to be 1" if self._units == 1 and wanted > 255 else ""
            raise UserError(
                f"{self._called} tells {count} classes apart, but {self._y} "
                f"{'holds' if self._y != 'the dataset' else 'has'} {wanted}{white}."
            )
        logits = _takes_logits(compiled, self._output)
        cut = None if self._units > 1 else 0.0 if logits else 0.5
        loss, weight = _class_loss(self._units, self._with_labels.in_rows, logits), 1.0
        if compiled:
            loss, weight = compiled.loss, compiled.weight
            if ignore is not None and keras_loss(loss) in OF_ALL_POSITIONS:
                raise UserError(
                    f"{self._called} is compiled with {loss.name}, which looks at all positions "
                    f"together and cannot leave out those of the label {ignore}: compile it with a "
                    "cross-entropy, or leave ignore_class out."
                )
        as_map = len(self._example) >= MAP_RANK and self._named.kind != Classes.kind
        if as_map or self._named.kind == Maps.kind:
            return MapHead(self._name, Maps(cut, ignore), loss, weight, count, logits)
        return ClassHead(self._name, Classes(cut, ignore), loss, weight, count, logits)

    def _multi_label_head(self, compiled: CompiledLoss | None) -> MultiLabelHead:
        if not self._labels.binary or not self._with_labels.meets_units:
            raise UserError(
                f"{self._called} gives {self._example} an example, but the labels of {self._y} are no "
                f"zeros and ones of that shape{self._told}: multi_label has one for each unit."
            )
        logits = _takes_logits(compiled, self._output)
        loss, weight = keras.losses.BinaryCrossentropy(from_logits=logits), 1.0
        if compiled:
            loss, weight = compiled.loss, compiled.weight
        measure = MultiLabel(0.0 if logits else 0.5)
        return MultiLabelHead(self._name, measure, loss, weight, from_logits=logits)

    def _value_head(self, compiled: CompiledLoss | None) -> ValueHead:
        shape = self._labels.shape
        fixed = shape is not None and None not in self._example
        if fixed and prod(shape or ()) != prod(self._example):
            how = ""
            if compiled and self._labels.num_classes is not None:
                how = (
                    f", and is compiled with {compiled.loss.name}, a loss of values: compile it with a "
                    "cross-entropy to tell classes apart"
                )
            raise UserError(
                f"{self._called} gives values of the shape {self._example} an example, but the labels "
                f"of {self._y} have {shape}{how}."
            )
        loss, weight = keras.losses.MeanSquaredError(), 1.0
        if compiled:
            loss, weight = compiled.loss, compiled.weight
        return ValueHead(self._name, Values(), loss, weight)

    def _ignored(self, compiled: CompiledLoss | None) -> int | None:
        """The label that does not count, by the loss or the spec."""
        by_loss = loss_arguments(compiled.loss).get("ignore_class") if compiled else None
        return self._named.ignore if by_loss is None else int(by_loss)

    def _refuse_no_classes(self, compiled: CompiledLoss | None, ignore: int | None) -> None:
        """Says when labels cannot be classes of the output."""
        labels, in_rows = self._labels, self._with_labels.in_rows
        if not in_rows and not self._with_labels.meets_numbers:
            raise UserError(
                f"{self._called} gives classes of the shape {self._example} an example, but the labels "
                f"of {self._y} have {labels.shape}: one label for each row of classes, or a row of "
                "them."
            )
        if in_rows or labels.whole is None:
            if not in_rows and labels.num_classes is None and self._units > 1:
                raise UserError(
                    f"{self._called} is {'compiled' if compiled else 'made'} for classification, but "
                    f"the labels of {self._y} are no whole numbers: give class numbers, or a row over "
                    "classes."
                )
            return
        if labels.whole[0] < 0 and labels.whole[0] != ignore:
            raise UserError(
                f"{self._called} tells classes apart, but the labels of {self._y} begin at "
                f"{labels.whole[0]}: classes are 0 or more, but for the one that a loss's ignore_class "
                "or the spec's task names."
            )

    @property
    def _told(self) -> str:
        return "" if self._labels.shape is None else f", but {self._labels.shape}"


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
