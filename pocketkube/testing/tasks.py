"""What holds of every task that a package adds."""

import dataclasses
import json

import keras
import numpy as np
import pytest

from pocketkube.data import Dataset
from pocketkube.data.batches import materialize
from pocketkube.measures import task_measure_of, wording_of
from pocketkube.measures.task_facts import TaskFacts
from pocketkube.models.builder import ModelBuilder
from pocketkube.spec import settings_document
from pocketkube.spec.reading import parse_settings
from pocketkube.spec.sections import TaskSettings
from pocketkube.training.task import Task, task_of_config

EXAMPLES = 32


class TaskTests:
    """Give the fixtures `settings`, of the task, `builder`, of a network for it, and `dataset`."""

    @pytest.fixture
    def settings(self) -> TaskSettings:
        """The section task of a spec, as in `TaskSettings.model_validate("direction")`."""
        raise NotImplementedError

    @pytest.fixture
    def builder(self) -> ModelBuilder:
        """What builds a network for it."""
        raise NotImplementedError

    @pytest.fixture
    def dataset(self) -> Dataset:
        """Data of the task."""
        raise NotImplementedError

    @pytest.fixture
    def model(self, builder: ModelBuilder, dataset: Dataset) -> keras.Model:
        """The network."""
        return builder(dataset, width=1.0, seed=0)

    @pytest.fixture
    def task(self, settings: TaskSettings, model: keras.Model, dataset: Dataset) -> Task:
        """What the network is to learn."""
        assert settings.added is not None
        (added,) = settings.added.values()
        found: Task = added.task(model, dataset)
        return found

    def test_settings_survive_being_written_down(self, settings: TaskSettings) -> None:
        """They travel to other processes and pipelines as JSON."""
        assert parse_settings(TaskSettings, settings_document(settings), "task") == settings

    def test_its_measure_goes_by_its_name(self, settings: TaskSettings) -> None:
        """A bundle tells its task by the measure's kind, a result by the name of its score."""
        assert settings.added is not None
        ((name, added),) = settings.added.items()
        assert added.measure.kind == name
        assert wording_of(added.measure.wording.score_name) == added.measure.wording
        assert dataclasses.is_dataclass(added.measure)

    def test_a_bundle_gives_it_back(self, task: Task, model: keras.Model, dataset: Dataset) -> None:
        """What a bundle holds of it makes a task of the same losses and scores."""
        again = task_of_config(json.loads(json.dumps(task.config)))
        labels, outputs = _some(model, dataset)
        np.testing.assert_allclose(task.loss(labels, outputs), again.loss(labels, outputs), rtol=1e-6)
        np.testing.assert_allclose(task.score(labels, outputs), again.score(labels, outputs), rtol=1e-6)

    def test_each_example_has_a_loss_and_scores(
        self, task: Task, model: keras.Model, dataset: Dataset
    ) -> None:
        """Finite numbers, and a gradient for the network."""
        labels, outputs = _some(model, dataset)
        assert task.loss(labels, outputs).shape == (EXAMPLES,)
        assert task.scores(labels, outputs).shape == (EXAMPLES, len(task.trained))
        assert np.isfinite(task.loss(labels, outputs)).all()
        assert np.isfinite(task.scores(labels, outputs)).all()

    def test_numpy_and_tensorflow_score_alike(
        self, task: Task, model: keras.Model, dataset: Dataset
    ) -> None:
        """Networks are judged by the heads, LiteRT files by the measure."""
        labels, outputs = _some(model, dataset)
        shapes = [tuple(output.shape) for output in model.outputs]
        measure = task_measure_of(TaskFacts.model_validate_json(json.dumps(task.config)))
        measure.refuse_unfit(labels, shapes, "the data", "the network")
        kept = [measure.kept([output[i : i + 1] for output in outputs]) for i in range(EXAMPLES)]
        rows = [np.concatenate(column) for column in zip(*kept, strict=True)]
        judged = [head.score for head in measure.judge(labels, rows, shapes).heads]
        tallies = [tally.numpy() for tally in task.tallies(labels, outputs)]
        wanted = task.scores_of(np.mean(task.scores(labels, outputs), axis=0), tallies)
        np.testing.assert_allclose(judged, wanted, rtol=1e-4)


def _some(model: keras.Model, dataset: Dataset) -> tuple[list[np.ndarray], list[np.ndarray]]:
    inputs, labels = materialize(dataset.train, EXAMPLES, 0)
    outputs = keras.Model(model.inputs, model.outputs)(list(inputs))
    return list(labels), [np.asarray(output) for output in keras.tree.flatten(outputs)]
