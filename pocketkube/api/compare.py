"""Holds two models against each other."""

from collections.abc import Sequence
from dataclasses import dataclass

import keras
import numpy as np
from rich.table import Table

from pocketkube.api.data import Data, dataset_of, examples_of
from pocketkube.api.export import measure_of
from pocketkube.api.network import ModelLike, Network, cost_rows, network_of
from pocketkube.api.shown import Shown
from pocketkube.data.batches import materialize
from pocketkube.data.dataset import Arrays
from pocketkube.deploy.agreement import share_of
from pocketkube.figures import SIZE, ratio, size
from pocketkube.files import temporary_folder
from pocketkube.graph.cost import Profile
from pocketkube.measures import TaskMeasure, Wording
from pocketkube.measures.wording import percent, score_change
from pocketkube.packing import write_packed
from pocketkube.report.summary import capitalized
from pocketkube.stages.comparison import warning
from pocketkube.stages.configs import Learning
from pocketkube.stages.tasks import settled_task
from pocketkube.structure import arranged
from pocketkube.traceable import refuse_untraceable
from pocketkube.training.evaluation import evaluate

# Examples that agreement is counted on at most, where there are no labels.
EXAMPLES = 1000


@dataclass(frozen=True)
class ModelFigures:
    """The figures of one model.

    Attributes:
        profile: What it costs.
        size_bytes: Its size as a packed file.
        score: On test examples, the higher the better; None without labels.
    """

    profile: Profile
    size_bytes: int
    score: float | None


@dataclass(frozen=True)
class Comparison(Shown):
    """Two models side by side.

    Attributes:
        before: The figures of the first.
        after: The figures of the second.
        agreement: How far the second does what the first does: the part of the examples that they give
            the same class, or the part of the outputs' variance that is kept, in the output where it is
            least. None without data.
        examples: How many examples there were.
        wording: How the scores are read.
        remarks: Sentences for the user: whether the second is worse by more than chance explains.
    """

    before: ModelFigures
    after: ModelFigures
    agreement: float | None
    examples: int
    wording: Wording | None
    warnings: tuple[str, ...] = ()

    @property
    def speedup(self) -> float:
        """Multiply-adds of the first over those of the second."""
        return self.before.profile.speedup_to(self.after.profile).value

    @property
    def remarks(self) -> Sequence[str]:
        """The warnings."""
        return self.warnings

    def table(self) -> Table:
        """A row for each figure."""
        before, after = self.before, self.after
        shown = Table(title="Before and after", title_justify="left")
        for name in ("", "before", "after", "change"):
            shown.add_column(name, justify="right" if name else "left")
        if self.wording and before.score is not None and after.score is not None:
            scores = [self.wording.shown(each) for each in (before.score, after.score)]
            change = score_change(self.wording, before.score, after.score)
            shown.add_row(capitalized(self.wording.name), *scores, change)
        for row in cost_rows(before.profile, after.profile):
            shown.add_row(*row)
        sizes = before.size_bytes, after.size_bytes
        shown.add_row("Size, packed", *map(size, sizes), ratio(*sizes, SIZE))
        if self.agreement is not None:
            shown.add_row("Agreement", "", percent(self.agreement), "")
            shown.caption = f"on {self.examples} examples"
        return shown


def compare(before: ModelLike, after: ModelLike, data: Data = None) -> Comparison:
    """Compares two models: multiply-adds, parameters, size, score and agreement.

    Args:
        before: A Keras model, or what another function gave; as a rule the uncompressed one.
        after: The other one.
        data: Examples, as for `fine_tune`: of the same data the part that was not trained
            on is judged. Without labels agreement is counted, without data costs alone.

    Returns:
        The figures, which a notebook shows as a table.

    Raises:
        UserError: If data do not fit the models.

    Example:
        >>> import numpy as np, pocketkube as pk
        >>> from pocketkube.models import build_model
        >>> model = build_model("lenet", (28, 28, 1), 10, width=0.25)
        >>> found = pk.compare(model, model, np.zeros((8, 28, 28, 1)))
        >>> found.agreement, found.speedup, found.before.score
        (1.0, 1.0, None)
    """
    first, second = network_of("compare", before), network_of("compare", after)
    if data is None:
        return Comparison(_figures(first), _figures(second), None, 0, None)
    read = dataset_of if first.is_trained or second.is_trained else examples_of
    dataset = read(data, first.model, "compare")
    if not dataset.labels:
        inputs, _ = materialize(dataset.test, EXAMPLES, 0)
        agreement = _agreement(first, second, inputs, measure_of(first))
        return Comparison(_figures(first), _figures(second), agreement, len(inputs[0]), None)
    task, own = (
        settled_task(Learning(), each.model, dataset, known=each.task or other.task)
        for each, other in ((first, second), (second, first))
    )
    inputs, _ = materialize(dataset.test, None, 0)
    was, now = evaluate(first.model, dataset.test, task), evaluate(second.model, dataset.test, own)
    worse = warning(was.each, now.each, task.wording, (), "in the first model")
    return Comparison(
        _figures(first, was.score),
        _figures(second, now.score),
        _agreement(first, second, inputs, task.measure),
        dataset.test.size,
        task.wording,
        tuple(sentence.replace("validation", "test", 1) for sentence in worse),
    )


def _figures(network: Network, score: float | None = None) -> ModelFigures:
    with temporary_folder() as folder:
        packed = write_packed(folder / "net.packed", network.model, network.forms)
    return ModelFigures(network.profile, packed.file_bytes, score)


def _agreement(first: Network, second: Network, inputs: Arrays, measure: TaskMeasure) -> float:
    ours, theirs = (_outputs(network.model, inputs) for network in (second, first))
    pairs = zip(ours, theirs, measure.heads, strict=True)
    return min(share_of(given, wanted, head.measure) for given, wanted, head in pairs)


def _outputs(model: keras.Model, inputs: Arrays) -> list[np.ndarray]:
    refuse_untraceable(model)
    outputs = model.predict(arranged(model, inputs), batch_size=256, verbose=0)
    return [np.asarray(output) for output in keras.tree.flatten(outputs)]
