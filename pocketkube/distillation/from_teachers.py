"""The terms that teachers add to the loss: their outputs, their features and where they look."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from types import MappingProxyType
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from pocketkube.data.dataset import Examples
from pocketkube.distillation.observed import Observed, features_of
from pocketkube.distillation.pairs import chosen_pairs, named_pairs
from pocketkube.distillation.remembered import LARGEST, remember
from pocketkube.distillation.teacher import Teacher, fitting_outputs
from pocketkube.distillation.terms import attention_distance, feature_distance
from pocketkube.spec.sections import Distillation, Training
from pocketkube.structure import arranged
from pocketkube.training.distillation_term import DistillationTerm
from pocketkube.training.task import Task
from pocketkube.training.workers import Workers


@dataclass(frozen=True)
class _Answers:
    """The teachers' answers to a batch: softened outputs, and the first one's features."""

    outputs: Sequence[tf.Tensor]
    features: Sequence[tf.Tensor]


class FromTeachers(DistillationTerm):
    """Trains a student to answer as its teachers do.

    The loss becomes `(1 - weight) task + weight logits + features_weight features +
    attention_weight attention`. Logits (Hinton et al., 2015) are compared with the mean of the
    teachers' softened distributions, or of their values in regression; features and attention with
    the first teacher's, as means over the pairs of layers. A term whose weight is 0 is not computed.
    Where the task is to answer as the original does, there are no labels: the weight is 1, and labels,
    by which training is scored, are what the teachers answer to the inputs as they are.

    Args:
        student: The model that is trained; it is not changed here.
        task: Its task.
        teachers: Its teachers, at least one.
        settings: The weights, the temperature and which layers are compared.
        seed: The projections' first values follow from it.
        renamed: Where the student was rebuilt: for each layer that it had, by its path, the path of the
            one that gives its output now. Layers go by the paths that they had.
        shapes: Of the data's inputs, an example each, which say how long axes are that models leave
            open; None where there are none such.

    Raises:
        UserError: If a teacher does not fit the student, or layers cannot be compared.
    """

    def __init__(
        self,
        student: keras.Model,
        task: Task,
        teachers: Sequence[Teacher],
        settings: Distillation,
        *,
        seed: int,
        renamed: Mapping[str, str] = MappingProxyType({}),
        shapes: Sequence[tuple[int, ...]] | None = None,
    ) -> None:
        if task.to_original and settings.weight < 1:
            if settings.weight != Distillation.model_fields["weight"].default:
                self.notes = (
                    f"There are no labels to learn from beside teachers' outputs: distillation.weight "
                    f"counts as 1, not {settings.weight:g}.",
                )
            settings = settings.model_copy(update={"weight": 1.0})
        self.fingerprint = settings.model_dump_json(exclude={"teachers"})
        self.teachers = [teacher.model for teacher in teachers]
        self.task_share = 1 - settings.weight
        self._task, self._teachers, self._settings = task, teachers, settings
        shapes = [tuple(x.shape[1:]) for x in student.inputs] if shapes is None else list(shapes)
        self._outputs = fitting_outputs(student, task, teachers, shapes)
        self._student: Observed | None = None
        # How many labels there are, where remembered answers stand behind them.
        self._labels: int | None = None
        if settings.compares_features:
            self._compare_features(student, shapes, seed, renamed)

    def _compare_features(
        self,
        student: keras.Model,
        shapes: Sequence[tuple[int, ...]],
        seed: int,
        renamed: Mapping[str, str],
    ) -> None:
        settings, first = self._settings, self._teachers[0]
        found, theirs = features_of(student, shapes), features_of(first.model, shapes)
        ours = {name: replace(found[path], path=name) for name, path in renamed.items()} or found
        if settings.layers:
            attention = settings.attention_weight > 0
            pairs = named_pairs(settings.layers, ours, theirs, attention=attention)
        else:
            pairs = chosen_pairs(ours, theirs)
            shown = ", ".join(f"{a.path} with {b.path}" for a, b in pairs)
            compared = f"Layers compared with those of {first.name}: {shown}."
            self.notes = (*self.notes, compared)
        self._student = Observed(student, [renamed.get(mine.path, mine.path) for mine, _ in pairs])
        self._first = Observed(first.model, [other.path for _, other in pairs])
        self._projections: list[tuple[Any, Any]] = []
        if settings.features_weight:
            generator = np.random.default_rng(seed)
            self._projections = [
                _projection(number, mine.shape[-1], other.shape[-1], generator)
                for number, (mine, other) in enumerate(pairs)
            ]
        self.trained = [variable for projection in self._projections for variable in projection]

    def prepared(self, examples: Examples, settings: Training, workers: Workers) -> Examples:
        """Puts the teachers' outputs beside the labels of examples that are the same in every epoch.

        They are then computed once for each example. Where images change at random, the examples or the
        outputs do not fit into memory, or features are compared, too, they are computed in every step.
        """
        size = 4 * examples.size * sum(prod(shape) for shape in self._outputs)
        repeats = settings.epochs > 1 and not any(settings.augmentation.model_dump().values())
        logits_alone = self._settings.weight > 0 and not self._student
        if not (logits_alone and repeats) or examples.arrays is None or size > LARGEST:
            return examples
        inputs, labels = examples.arrays
        self._labels = len(labels)
        known = remember(self._softened, inputs, self._outputs, workers)
        return replace(examples, arrays=(inputs, (*labels, *known)))

    def answers(self, inputs: Sequence[Any], labels: Sequence[Any]) -> tuple[Sequence[Any], _Answers]:
        """The teachers' softened outputs, remembered or computed, and the first one's features."""
        own = self._labels
        if own is not None and len(labels) > own:
            known, softened = labels[:own], labels[own:]
            return known or self._task.answers(softened), _Answers(softened, ())
        first, features = None, ()
        if self._student:
            teacher = self._teachers[0]
            outputs, features = self._first(arranged(teacher.model, inputs), training=False)
            first = teacher.task.softened(outputs, self._settings.temperature)
        softened = self._softened(inputs, first) if self._settings.weight else ()
        return labels or self._task.answers(softened), _Answers(softened, features)

    def observe(self, model: Any, inputs: Any, *, training: bool) -> tuple[Any, Any]:
        """Calls the student, and looks at the features that are compared."""
        if not self._student:
            return super().observe(model, inputs, training=training)
        return self._student(inputs, training=training)

    def terms(self, outputs: Any, seen: Any, answers: _Answers, labels: Any) -> Any:
        """The teachers' terms, each with its weight."""
        settings, terms = self._settings, tf.zeros(())
        if settings.weight:
            wanted, temperature = answers.outputs, settings.temperature
            distance = self._task.distance_to(outputs, wanted, temperature, labels)
            terms += settings.weight * tf.cast(distance, terms.dtype)
        if settings.features_weight:
            distances = [
                feature_distance(mine, other, kernel.value, bias.value)
                for mine, other, (kernel, bias) in zip(
                    seen, answers.features, self._projections, strict=True
                )
            ]
            terms += settings.features_weight * tf.add_n(distances) / len(distances)
        if settings.attention_weight:
            distances = [
                attention_distance(mine, other)
                for mine, other in zip(seen, answers.features, strict=True)
            ]
            terms += settings.attention_weight * tf.add_n(distances) / len(distances)
        return terms

    def _softened(
        self, inputs: Sequence[Any], first: Sequence[tf.Tensor] | None = None
    ) -> list[tf.Tensor]:
        """The mean of the teachers' softened outputs; `first` are the first one's if known."""
        temperature = self._settings.temperature
        softened = [] if first is None else [first]
        for teacher in self._teachers[len(softened) :]:
            outputs = teacher.model(arranged(teacher.model, inputs), training=False)
            softened.append(teacher.task.softened(outputs, temperature))
        return self._task.mean_of_softened(softened)


def _projection(number: int, channels: int, wanted: int, generator: np.random.Generator) -> Any:
    """Kernel and bias of a 1x1 convolution; it begins by changing nothing where it can."""
    kernel = (
        np.eye(channels)
        if channels == wanted
        else generator.normal(0.0, channels**-0.5, (channels, wanted))
    )
    return (
        keras.Variable(kernel.astype("float32"), name=f"projection_{number}_kernel"),
        keras.Variable(np.zeros(wanted, "float32"), name=f"projection_{number}_bias"),
    )
