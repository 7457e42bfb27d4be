"""What a model is to learn: the heads that its outputs are, composed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from pocketkube.data.dataset import Labels
from pocketkube.errors import UserError
from pocketkube.keras_private import mask_of
from pocketkube.measures import Measure, Points, TaskMeasure, Wording, label_places
from pocketkube.structure import output_names
from pocketkube.training.class_heads import ClassHead
from pocketkube.training.compiled import compiled_losses, is_compiled
from pocketkube.training.head import Head, keras_loss, mean_over_positions
from pocketkube.training.heads import PointHead, head_of_config
from pocketkube.training.infer import ending, infer_heads
from pocketkube.training.label_kinds import LabelKind
from pocketkube.training.losses import WEIGHTED_MEAN, LandmarkLoss, over_mean


@dataclass(frozen=True, eq=False)
class Task:
    """A loss and a score for each example: the sum of the heads' losses, each with its weight.

    The score is the mean of the heads' scores where all are of one kind. Others have no common unit
    (accuracy, and errors in whatever the values are measured in): there the score is minus the loss, in
    which the weights that the model is compiled with say how the heads count.

    Attributes:
        heads: One for each of the model's outputs, in their order.
        description: What the loss is and how that is known, in a sentence.
        weighted: How many arrays of labels stand before weights of training examples, which their loss
            is multiplied by; None where there are no weights.
    """

    heads: tuple[Head, ...]
    description: str
    weighted: int | None = None

    @cached_property
    def trained(self) -> tuple[Head, ...]:
        """The heads that are trained and scored."""
        return tuple(head for head in self.heads if head.loss is not None)

    @cached_property
    def measure(self) -> TaskMeasure:
        """How the outputs are judged where there is no TensorFlow."""
        return TaskMeasure(tuple(head.judged for head in self.heads))

    @property
    def wording(self) -> Wording:
        """How `score` is read."""
        return self.measure.wording

    @property
    def to_original(self) -> bool:
        """Whether labels are what the original model answers; scores are of agreement with it then."""
        return self.measure.to_original

    def with_answers(self) -> "Task":
        """The same task where labels are what the original model answers."""
        heads = tuple(
            head if head.loss is None else replace(head, measure=_of_answers(head.measure))
            for head in self.heads
        )
        told = f"{self.description}; for want of labels held against the original model's answers"
        return Task(heads, told)

    def in_order(self, places: Sequence[int] | None) -> "Task":
        """The same task of a model whose outputs stand in another order; the same order if None."""
        return self if places is None else replace(self, heads=tuple(self.heads[n] for n in places))

    @property
    def config(self) -> dict[str, Any]:
        """The task as plain JSON values, of which `task_of_config` makes it again."""
        return {
            "score_name": self.wording.score_name,
            "description": self.description,
            "heads": [head.config for head in self.heads],
            "weighted": self.weighted,
        }

    def loss(self, labels: Any, outputs: Any, smoothing: float = 0.0) -> tf.Tensor:
        """The loss of each example.

        Args:
            labels: For each output, or each that is trained: class numbers `[batch, ...]`, rows over
                classes `[batch, ..., classes]`, or values.
            outputs: The model's output or outputs, `[batch, …]`.
            smoothing: Part of each class label that is spread over all classes.

        Returns:
            `[batch]`; its mean is what Keras gives for the batch.
        """
        weights, losses = self._apart(labels)[1], []
        for head, y, z in self._matched(labels, outputs):
            loss = head.weight * head.losses(y, z, smoothing)
            if weights is not None:
                loss *= _weights_of(head, y, z, tf.cast(weights, loss.dtype))
            losses.append(loss)
        return tf.add_n(losses)

    @property
    def divides_by_weights(self) -> bool:
        """Whether the loss of a batch is divided by the sum of all its weights, as `loss` does."""
        return any(
            head.loss is not None
            and head.loss.reduction == WEIGHTED_MEAN
            and (self.weighted is not None or has_class_weights(head))
            for head in self.heads
        )

    @property
    def leaves_out(self) -> bool:
        """Whether the loss is a mean over positions, some of which do not count.

        Of several outputs each has its own; their losses are means over examples here.
        """
        return len(self.trained) == 1 and self.trained[0].leaves_out

    def counted(self, labels: Any, outputs: Any) -> tf.Tensor:
        """Which part of each example's positions counts, `[batch]`, where it `leaves_out` others."""
        ((head, y, z),) = self._matched(labels, outputs)
        return head.counted(y, z)

    def scores(self, labels: Any, outputs: Any) -> tf.Tensor:
        """How right each example is in each head that is trained; the higher the better.

        Returns:
            `[batch, heads]`.
        """
        return tf.stack([head.score(y, z) for head, y, z in self._matched(labels, outputs)], axis=1)

    def score(self, labels: Any, outputs: Any) -> tf.Tensor:
        """How right each example is, all heads together; the higher the better.

        Returns:
            `[batch]`.
        """
        if not self.measure.has_one_unit:
            return -self.loss(labels, outputs)
        return tf.reduce_mean(self.scores(labels, outputs), axis=1)

    def score_of_all(self, labels: Any, outputs: Any) -> tf.Tensor:
        """How right all examples are together, all heads: one number."""
        if not self.measure.has_one_unit:
            return -tf.reduce_mean(self.loss(labels, outputs))
        found = [head.score_of_all(y, z) for head, y, z in self._matched(labels, outputs)]
        return tf.reduce_mean(tf.stack(found))

    def tallies(self, labels: Any, outputs: Any) -> list[tf.Tensor]:
        """The sums over examples of `Head.tally`, for each head that has one."""
        matched = self._matched(labels, outputs)
        tallies = [head.tally(y, z) for head, y, z in matched if head.is_tallied]
        return [tf.reduce_sum(tf.cast(tally, tf.float64), axis=0) for tally in tallies]

    def scores_of(self, means: Sequence[float], tallies: Sequence[np.ndarray]) -> tuple[float, ...]:
        """How right many examples are together in each head that is trained.

        Args:
            means: The means of `scores` over them.
            tallies: The sums of `tallies` over them.
        """
        left = iter(tallies)
        return tuple(
            float(head.score_of_tally(tf.constant(next(left), tf.float64))) if head.is_tallied else mean
            for head, mean in zip(self.trained, means, strict=True)
        )

    def score_of(self, loss: float, scores: Sequence[float]) -> float:
        """How right many examples are together, all heads.

        Args:
            loss: The mean of `loss` over them.
            scores: Of each head, see `scores_of`.
        """
        return sum(scores) / len(scores) if self.measure.has_one_unit else -loss

    def softened(self, outputs: Any, temperature: float) -> list[tf.Tensor]:
        """A model's outputs in a form in which models of any architecture can be compared.

        Returns:
            See `Head.softened`, for each head that is trained.
        """
        pairs = zip(self.heads, keras.tree.flatten(outputs), strict=True)
        return [head.softened(z, temperature) for head, z in pairs if head.loss is not None]

    def answers(self, softened: Sequence[Any]) -> list[tf.Tensor]:
        """Labels that are what models say; see `Head.answers`.

        Args:
            softened: Their softened outputs.
        """
        return [head.answers(said) for head, said in zip(self.trained, softened, strict=True)]

    def drawn(self, softened: Sequence[np.ndarray], seed: int) -> tuple[np.ndarray, ...]:
        """Labels drawn from what a model says; see `Head.drawn`.

        Args:
            softened: Its outputs of all examples, softened by 1.
            seed: The draws follow from it.
        """
        rng = np.random.default_rng(seed)
        return tuple(head.drawn(said, rng) for head, said in zip(self.trained, softened, strict=True))

    def mean_of_softened(self, softened: Sequence[Sequence[tf.Tensor]]) -> list[tf.Tensor]:
        """The mean of several models' distributions or values.

        Args:
            softened: The softened outputs of each of them.

        Returns:
            The same for all of them together.
        """
        columns = zip(*softened, strict=True)
        return [head.mean_of_softened(c) for head, c in zip(self.trained, columns, strict=True)]

    def distance_to(
        self, outputs: Any, wanted: Sequence[tf.Tensor], temperature: float, labels: Any = None
    ) -> tf.Tensor:
        """How far each example's outputs are from the teachers' outputs, each head with its weight.

        Args:
            outputs: The student's outputs.
            wanted: The teachers' outputs, softened by the same temperature.
            temperature: `T`.
            labels: See `loss`; positions that they leave out do not count. All do if None.

        Returns:
            `[batch]`.
        """
        matched = self._matched(wanted, outputs)
        told = [None] * len(matched)
        if labels is not None:
            told = [y for _, y, _ in self._matched(labels, outputs)]
        return tf.add_n(
            [
                head.weight * head.distance_to(z, said, temperature, y)
                for (head, said, z), y in zip(matched, told, strict=True)
            ]
        )

    def _matched(self, labels: Any, outputs: Any) -> list[tuple[Head, Any, Any]]:
        """Each head that is trained with its labels and its output."""
        labels, outputs = self._apart(labels)[0], keras.tree.flatten(outputs)
        scored = [head.loss is not None for head in self.heads]
        places = label_places(scored, len(labels), "the batch", "the model")
        pairs = zip(self.heads, outputs, strict=True)
        trained = [(head, z) for head, z in pairs if head.loss is not None]
        return [(head, labels[n], z) for n, (head, z) in zip(places, trained, strict=True)]

    def _apart(self, labels: Any) -> tuple[list[Any], Any]:
        """The labels of outputs, and the weights of the examples where there are such."""
        arrays = keras.tree.flatten(labels)
        if self.weighted is None or len(arrays) == self.weighted:
            return arrays, None
        *arrays, weights = arrays
        return arrays, weights


def has_class_weights(head: Head) -> bool:
    """Whether the loss of each class is multiplied by a weight of its own."""
    return isinstance(head, ClassHead) and bool(head.class_weights)


def _weights_of(head: Head, labels: Any, outputs: Any, weights: tf.Tensor) -> tf.Tensor:
    """What the loss of each example is multiplied by, `[batch]`."""
    if head.loss is None or head.loss.reduction != WEIGHTED_MEAN:
        return weights
    if head.leaves_out:
        return over_mean(weights, head.counted(labels, outputs))
    mask = mask_of(outputs)
    return over_mean(
        weights, None if mask is None else mean_over_positions(tf.cast(mask, weights.dtype))
    )


def task_of_config(config: Mapping[str, Any]) -> Task:
    """The task that a `Task.config` describes.

    Raises:
        UserError: If the loss of an output is not known here.
    """
    heads = tuple(head_of_config(head) for head in config["heads"])
    return Task(heads, config["description"], config.get("weighted"))


def infer_task(
    model: keras.Model, *labels: Labels | int | None, named: LabelKind | None = None
) -> Task:
    """The task of a model: what it was compiled for, or else what its outputs look like.

    Args:
        model: The model.
        labels: Of each output, or each that has a loss; in short their number of classes, or None where
            they are values. Without any the task is to answer as the model itself does.
        named: What the spec says that labels are; None where they and the model tell.

    Raises:
        UserError: If an output has fewer units than there are classes, or no loss that fits.
    """
    known = [each if isinstance(each, Labels) else Labels(each) for each in labels]
    heads = infer_heads(model, known, named)
    description = _description(heads, is_compiled(model))
    return Task(heads, description) if known else Task(heads, description).with_answers()


def landmark_task(model: keras.Model, points: Points) -> Task:
    """The task of a model that finds points; it has one output.

    Args:
        model: The model.
        points: How they are judged.

    Raises:
        UserError: If the model is a classifier.
    """
    why = ""
    if is_compiled(model):
        losses = [keras_loss(found.loss) for found in compiled_losses(model, model.outputs) if found]
        if any("crossentropy" in (name or "") for name in losses):
            why = "is compiled with a cross-entropy"
    elif ending(model.outputs[0]) == "softmax":
        why = "ends in a softmax"
    if why:
        raise UserError(
            f"task: landmarks are found by a model that gives points, but {model.name} {why}, as "
            "classifiers do; leave task out, or end the model in a Dense layer of 2 units a point."
        )
    by = points.normalize_by
    over = by.replace("_", " ") if isinstance(by, str) else f"distance of points {by[0]} and {by[1]}"
    head = PointHead(output_names(model)[0], points, LandmarkLoss(by))
    return Task((head,), f"smooth L1 of the landmarks' errors over the {over}")


def _of_answers(measure: Measure) -> Measure:
    """The measure where every label counts, for a model's answers leave out none."""
    ignored = {"ignore": None} if any(field.name == "ignore" for field in fields(measure)) else {}
    return replace(measure, to_original=True, **ignored)


def _description(heads: Sequence[Head], compiled: bool) -> str:
    if len(heads) == 1:
        return f"{_described_loss(heads[0])}, {_origin(heads[0], compiled)}"
    described = "; ".join(f"{head.name}: {_described_loss(head)}" for head in heads)
    units = {head.measure.wording for head in heads if head.loss is not None}
    one_unit, no_unit = "the mean of the outputs' scores", "minus the loss, for want of one unit"
    score = one_unit if len(units) == 1 else no_unit
    how = "as the model was compiled" if compiled else "as outputs end and labels are"
    return f"{described}; {how}; the score is {score}"


def _described_loss(head: Head) -> str:
    if head.loss is None:
        return "no loss, so that it is neither trained nor scored"
    described = (keras_loss(head.loss) or head.loss.name).replace("_", " ")
    if isinstance(head, ClassHead) and head.from_logits:
        described += " of logits"
    return described if head.weight == 1 else f"{described}, times {head.weight:g}"


def _origin(head: Head, compiled: bool) -> str:
    if compiled:
        return "as the model was compiled"
    if isinstance(head, ClassHead):
        # Of logits, the loss says so.
        ends = "the model ends in"
        return f"which {ends}" if head.from_logits else f"from the probabilities that {ends}"
    return "as the labels are values"
