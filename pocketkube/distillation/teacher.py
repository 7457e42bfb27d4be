"""A teacher: a trained model of any architecture that fits the student's inputs and outputs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from pocketkube.errors import UserError
from pocketkube.graph.example_shapes import example_shapes
from pocketkube.shapes import shapes_fit
from pocketkube.structure import arranged
from pocketkube.traceable import refuse_untraceable
from pocketkube.training.task import Task


@dataclass(frozen=True)
class Teacher:
    """A model to learn from.

    Attributes:
        name: What to call it in messages: its file, or what it is.
        model: The model; it runs in inference mode.
        task: How its outputs are read; a teacher may end in probabilities where the student ends in
            logits.
    """

    name: str
    model: keras.Model
    task: Task


def fitting_outputs(
    student: keras.Model, task: Task, teachers: Sequence[Teacher], shapes: Sequence[tuple[int, ...]]
) -> list[tuple[int, ...]]:
    """Shapes of the outputs that student and teachers have in common.

    Args:
        student: The model that is trained.
        task: Its task.
        teachers: Its teachers.
        shapes: Of the inputs, an example each.

    Returns:
        Shape of each softened output, without the batch axis; a classifier's last axis has an entry
        for each class, also where one output stands for two.

    Raises:
        UserError: If a teacher takes other inputs than the student, tells other classes apart, gives
            other outputs or is of another kind, or TensorFlow cannot compute with its layers' names; or
            a model does not say the shape of its outputs, nor can compute an example of ones.
    """
    specs = [
        keras.KerasTensor((None, *shape), dtype=x.dtype)
        for shape, x in zip(shapes, student.inputs, strict=True)
    ]
    wanted = _outputs_of(student, task, specs)
    for teacher in teachers:
        refuse_untraceable(teacher.model)
        ours, theirs = (_kinds(each) for each in (task, teacher.task))
        if ours != theirs:
            raise UserError(f"The teacher {teacher.name} is for {theirs}, the student for {ours}.")
        own = getattr(teacher.model, "inputs", None)
        inputs = [tuple(x.shape[1:]) for x in own] if own else list(shapes)
        if not shapes_fit(shapes, inputs):
            raise UserError(
                f"The teacher {teacher.name} takes inputs of {_shown(inputs)}, but the student takes "
                f"{_shown(shapes)}: both need the same."
            )
        outputs = _outputs_of(teacher.model, teacher.task, specs)
        if outputs != wanted:
            what = "classes" if ours == "classification" else "values"
            raise UserError(
                f"The teacher {teacher.name} gives {_shown(outputs)} {what}, but the student "
                f"{_shown(wanted)}: both need the same."
            )
    return wanted


def _kinds(task: Task) -> str:
    return " and ".join(head.kind for head in task.trained)


def _outputs_of(
    model: keras.Model, task: Task, specs: Sequence[keras.KerasTensor]
) -> list[tuple[int, ...]]:
    def run(*inputs: tf.Tensor) -> Any:
        return task.softened(model(arranged(model, inputs), training=False), 1.0)

    return example_shapes(run, specs, model.name)


def _shown(shapes: Sequence[tuple[int | None, ...]]) -> str:
    return " and ".join(" x ".join(map(str, shape)) for shape in shapes)
