"""Holds two models against each other."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.table import Table

from pocketkube.api.data import Data, dataset_of, examples_of
from pocketkube.api.export import measure_of
from pocketkube.api.network import ModelLike, Network, cost_rows, in_order_of, network_of
from pocketkube.api.shown import Shown
from pocketkube.api.value_range import asked, at_chance, refuse_unknown_range, unvarying
from pocketkube.data.batches import materialize
from pocketkube.data.dataset import Arrays
from pocketkube.deploy.two_models import OutputDifference, Runnable, differences, outputs_of_both
from pocketkube.figures import SIZE, ratio, size
from pocketkube.files.whole import temporary_folder
from pocketkube.graph.cost import Profile
from pocketkube.measures import HeadScore, TaskMeasure, Wording
from pocketkube.packing import write_packed
from pocketkube.report.output_rows import difference_rows, score_rows
from pocketkube.stages.comparison import warning
from pocketkube.stages.configs import Learning
from pocketkube.stages.tasks import settled_task
from pocketkube.structure import output_names
from pocketkube.training.evaluation import Scores, evaluate
from pocketkube.training.task import Task

# Examples that agreement is counted on at most, where there are no labels.
EXAMPLES = 1000


@dataclass(frozen=True)
class ModelFigures:
    """The figures of one model.

    Attributes:
        profile: What it costs.
        size_bytes: Its size as a packed file.
        score: On test examples, the higher the better; None without labels.
        outputs: The `name`, `score_name` and `score` of each output that has labels; none without.
    """

    profile: Profile
    size_bytes: int
    score: float | None
    outputs: tuple[HeadScore, ...] = ()


@dataclass(frozen=True, repr=False)
class Comparison(Shown):
    """Two models side by side.

    Attributes:
        before: The figures of the first.
        after: The figures of the second.
        outputs: How far each output of the second is that of the first, as `same_class` (None of
            values), `relative_error` and `largest_difference`; none without data.
        examples: How many examples there were.
        wording: How `score` is read: where outputs have no common unit, it is the loss.
        warnings: Sentences for the user: whether the first tells anything of the data, and whether the
            second is worse by more than chance explains.
    """

    before: ModelFigures
    after: ModelFigures
    outputs: tuple[OutputDifference, ...]
    examples: int
    wording: Wording | None
    warnings: tuple[str, ...] = ()

    @property
    def agreement(self) -> float | None:
        """The part of the examples that both give the same class, in the output where it is least.

        None without data, and where no output is classes: `outputs` say how far values differ.
        """
        return min((o.same_class for o in self.outputs if o.same_class is not None), default=None)

    @property
    def speedup(self) -> float:
        """Multiply-adds of the first over those of the second."""
        return self.before.profile.speedup_to(self.after.profile).value

    @property
    def remarks(self) -> Sequence[str]:
        """The warnings."""
        return self.warnings

    @property
    def in_brief(self) -> str:
        """The costs and the scores before and after."""
        fewer = f"{self.before.profile.speedup_to(self.after.profile).change} MACs"
        scores = [f"{name} {was} → {now}" for name, was, now, _ in self._score_rows]
        return "; ".join([fewer, *scores])

    def table(self) -> Table:
        """A row for each figure, and for each output."""
        before, after = self.before, self.after
        shown = Table(title="Before and after", title_justify="left")
        for name in ("", "before", "after", "change"):
            shown.add_column(name, justify="right" if name else "left")
        for row in (*self._score_rows, *cost_rows(before.profile, after.profile)):
            shown.add_row(*row)
        sizes = before.size_bytes, after.size_bytes
        shown.add_row("Size, packed", *map(size, sizes), ratio(*sizes, SIZE))
        for (name, figure), *_ in difference_rows(self.outputs):
            shown.add_row(name, "", figure, "")
        if self.outputs:
            shown.caption = f"on {self.examples} examples"
        return shown

    @property
    def _score_rows(self) -> list[tuple[str, str, str, str]]:
        before, after = self.before.outputs, self.after.outputs
        return score_rows([score.name for score in before], before, after)


def compare(before: ModelLike, after: ModelLike, data: Data = None) -> Comparison:
    """Compares two models: multiply-adds, parameters, size, score and agreement.

    Args:
        before: A Keras model, or what another function gave; as a rule the uncompressed one.
        after: The other one.
        data: Examples, as for `fine_tune`: of the same data the part that was not trained
            on is judged, each output by its labels. Without labels agreement is counted, without data
            costs alone.

    Returns:
        The figures, which a notebook shows as a table.

    Raises:
        UserError: If data do not fit the models.

    Example:
        >>> import numpy as np, pocketkube as pk
        >>> from pocketkube.models import build_model
        >>> model = build_model("lenet", (28, 28, 1), 10, width=0.25)
        >>> found = pk.compare(model, model, np.zeros((8, 28, 28, 1)))
        >>> found.outputs[0].relative_error, found.speedup, found.before.score
        (0.0, 1.0, None)
    """
    first, given = network_of("compare", before), network_of("compare", after)
    # Data are in the order of the first one's inputs and outputs.
    second = in_order_of(given, first.model)
    if data is None:
        return Comparison(_figures(first), _figures(given), (), 0, None)
    read = dataset_of if first.is_trained or second.is_trained else examples_of
    dataset = read(data, first.model, "compare")
    if not dataset.labels:
        inputs, _ = materialize(dataset.test, EXAMPLES, 0)
        measure = measure_of(first)
        found = _differences(first, second, inputs, measure)
        doubts = asked(unvarying(first.model, inputs, measure))
        return Comparison(_figures(first), _figures(given), found, len(inputs[0]), None, doubts)
    refuse_unknown_range("compare", first, dataset)
    task, own = (
        settled_task(Learning(), each.model, dataset, known=each.task or other.task)
        for each, other in ((first, second), (second, first))
    )
    inputs, _ = materialize(dataset.test, None, 0)
    found = _differences(first, second, inputs, task.measure)
    was, now = evaluate(first.model, dataset.test, task), evaluate(second.model, dataset.test, own)
    worse = warning(was.each, now.each, task.wording, (), "in the first model")
    return Comparison(
        _figures(first, was, task),
        _figures(given, now, own),
        found,
        dataset.test.size,
        task.wording,
        (
            *asked(at_chance(first, dataset)),
            *(sentence.replace("validation", "test", 1) for sentence in worse),
        ),
    )


def _figures(network: Network, scores: Scores | None = None, task: Task | None = None) -> ModelFigures:
    with temporary_folder() as folder:
        packed = write_packed(folder / "net.packed", network.model, network.forms)
    if scores is None or task is None:
        return ModelFigures(network.profile, packed.file_bytes, None)
    outputs = tuple(
        HeadScore(head.name, head.measure.read_as.score_name, score)
        for head, score in zip(task.trained, scores.heads, strict=True)
    )
    return ModelFigures(network.profile, packed.file_bytes, scores.score, outputs)


def _differences(
    first: Network, second: Network, inputs: Arrays, measure: TaskMeasure
) -> tuple[OutputDifference, ...]:
    before, after = (Runnable(each.model.name, each.model) for each in (first, second))
    outputs = outputs_of_both(before, after, inputs, "compare: data")
    return differences(output_names(first.model), *outputs, measure)
