"""What labels are beside an output: classes, answers to yes or no, or values."""

from dataclasses import dataclass

from pocketkube.data.dataset import Labels
from pocketkube.measures import Classes, MultiLabel, Values
from pocketkube.shapes import shape_fits
from pocketkube.training.class_heads import TAKE_NUMBERS

# Losses of one class an example or a position, and of units that each say yes or no.
OF_ONE_CLASS = (
    *TAKE_NUMBERS,
    *("categorical_crossentropy", "categorical_focal_crossentropy", "categorical_hinge"),
    "kl_divergence",
)
OF_YES_OR_NO = (
    *("binary_crossentropy", "binary_focal_crossentropy", "dice", "tversky"),
    *("hinge", "squared_hinge"),
)
# Activations whose outputs each lie between 0 and 1.
SIGMOIDS = ("sigmoid", "hard_sigmoid", "hardsigmoid")
# Losses that take the answers of a model of classes for labels.
TAKE_ANSWERS = (*OF_ONE_CLASS, *OF_YES_OR_NO)

# Metrics that tell what a loss of values, or of the user's own, is of.
OF_CLASSES = frozenset(
    (
        *("accuracy", "acc", "binary_accuracy", "auc", "precision", "recall", "f1_score"),
        *("binary_io_u", "mean_io_u"),
    )
)
OF_VALUES = frozenset(
    ("mae", "mse", "mean_absolute_error", "mean_squared_error", "root_mean_squared_error")
)


@dataclass(frozen=True)
class LabelKind:
    """What a spec says of labels, where they do not tell.

    Attributes:
        kind: A measure's kind; empty where the loss and the labels tell.
        ignore: A label that does not count, beside what the loss says.
    """

    kind: str = ""
    ignore: int | None = None


@dataclass(frozen=True)
class LabelledOutput:
    """Labels beside the output that they are for.

    Attributes:
        labels: What is known of them.
        example: Shape of one example's output; None where a length is not fixed.
        named: What the spec says of the labels.
    """

    labels: Labels
    example: tuple[int | None, ...]
    named: LabelKind

    @property
    def units(self) -> int:
        """How many numbers there are for each position."""
        return (self.example[-1] or 1) if self.example else 1

    def kind(self, function: str | None, metrics: frozenset[str], *, ends_in_shares: bool) -> str:
        """What the output learns: the loss says it, else the shape and the type of the labels.

        Args:
            function: The name of Keras's loss; None without one, and of a loss of the user's own.
            metrics: The names of the metrics that the output is compiled with.
            ends_in_shares: Whether the output lies between 0 and 1.

        Returns:
            A measure's kind; that of classes stands for maps, too.
        """
        labels = self.labels
        if function in OF_ONE_CLASS:
            return Classes.kind
        if function in OF_YES_OR_NO:
            return self._kind_of_answers()
        if function is not None and labels.rows and self._meets_rows:
            # A loss of values: of one-hot rows it is a classifier's, as Brier's score is.
            return Classes.kind
        if function is not None and not (labels.binary and metrics & OF_CLASSES):
            return Values.kind
        if metrics & OF_VALUES:
            return Values.kind
        if self.answers_each_unit:
            return MultiLabel.kind
        if labels.num_classes is None:
            return Classes.kind if self._has_classes_in_floats else Values.kind
        if self.meets_units and not labels.rows and not self.meets_numbers:
            return Values.kind
        if self.units == 1 and not self._can_be_two and not ends_in_shares:
            return Values.kind
        return Classes.kind

    @property
    def answers_each_unit(self) -> bool:
        """Whether there is a 0 or 1 for each of several units, and not one of them alone is 1."""
        return self.units > 1 and self.labels.binary and not self.labels.rows and self.meets_units

    @property
    def in_rows(self) -> bool:
        """Whether labels of classes are rows over them."""
        labels = self.labels
        told = labels.rows or labels.num_classes is None
        return labels.shape is not None and told and self._meets_rows

    @property
    def meets_numbers(self) -> bool:
        """Whether there is one label for each row of units."""
        shape = self.labels.shape
        if shape is None:
            return True
        positions = self.example[:-1]
        return shape_fits(shape, positions) or shape_fits(shape, (*positions, 1))

    @property
    def meets_units(self) -> bool:
        """Whether there is a label for each unit."""
        return self.labels.shape is not None and shape_fits(self.labels.shape, self.example)

    def _kind_of_answers(self) -> str:
        """What an output learns whose loss is of units that each say yes or no."""
        labels, ignore = self.labels, self.named.ignore
        if self.units == 1:
            if labels.whole is not None and labels.whole[0] < 0 and ignore is None:
                return Values.kind
            known = labels.num_classes is not None or labels.binary or ignore is not None
            return Classes.kind if known or self.example in ((), (1,)) else Values.kind
        if self.answers_each_unit:
            return MultiLabel.kind
        return Values.kind if labels.num_classes is None else Classes.kind

    @property
    def _has_classes_in_floats(self) -> bool:
        """Whether floats are class numbers: zeros and ones for a unit, or no values of the output."""
        if self.labels.whole is None or self.labels.whole[0] < 0:
            return False
        if self.units == 1:
            return self.labels.binary and self.meets_numbers
        return self.meets_numbers and not self.meets_units

    @property
    def _can_be_two(self) -> bool:
        """Whether there are two classes at most."""
        count, ignore = self.labels.num_classes, self.named.ignore
        return count is None or count <= 2 or (ignore is not None and count == 1 + ignore)

    @property
    def _meets_rows(self) -> bool:
        """Whether there is a row of labels for each row of units."""
        shape = self.labels.shape
        if shape is None:
            return True
        return (
            len(shape) == max(len(self.example), 1)
            and shape[-1] > 1
            and shape_fits(shape[:-1], self.example[:-1])
        )


def kind_of_answers(
    name: str,
    shape: tuple[int | None, ...],
    ending: str,
    function: str | None,
    metrics: frozenset[str],
) -> str:
    """What an output gives, where there are no labels beside it.

    Args:
        name: What it is called; what is called logits is of classes.
        shape: Its shape, with the batch axis.
        ending: The activation or layer that it ends in.
        function: The name of Keras's loss; None without one, and of a loss of the user's own.
        metrics: The names of the metrics that the output is compiled with.

    Returns:
        A measure's kind; that of classes stands for maps, too. Values where nothing tells.
    """
    is_single = len(shape) < 2 or shape[-1] == 1
    if function in OF_ONE_CLASS or ending == "softmax":
        return Classes.kind
    of_answers = function in OF_YES_OR_NO or (ending in SIGMOIDS and function is None)
    if (of_answers and not metrics & OF_VALUES) or (metrics & OF_CLASSES and ending in SIGMOIDS):
        return Classes.kind if is_single else MultiLabel.kind
    called_logits = (
        function is None and not metrics & OF_VALUES and not is_single and "logit" in name.lower()
    )
    return Classes.kind if metrics & OF_CLASSES or called_logits else Values.kind


def labels_of_answers(kind: str, example: tuple[int | None, ...]) -> Labels:
    """What the labels of an output are like that are answers of its kind.

    Args:
        kind: A measure's.
        example: Shape of one example's output.
    """
    shape = None if None in example else tuple(size for size in example if size is not None)
    if kind == Values.kind:
        return Labels(None, shape=shape)
    if kind == MultiLabel.kind:
        return Labels(2, shape=shape, whole=(0, 1))
    count = max((example[-1] or 1) if example else 1, 2)
    return Labels(count, shape=None if shape is None else shape[:-1], whole=(0, count - 1))
