"""What holds of every data set."""

import numpy as np
import pytest

from pocketkube.data import Dataset, load_dataset
from pocketkube.data.batches import materialize
from pocketkube.data.dataset import Examples
from pocketkube.spec import settings_document
from pocketkube.spec.reading import parse_settings
from pocketkube.spec.sections import DatasetSettings


class DatasetTests:
    """Give the fixture `settings`, which name the data set, as few of its examples as there can be."""

    @pytest.fixture
    def settings(self) -> DatasetSettings:
        """The section dataset of a spec, as in `DatasetSettings.model_validate({"bars": {}})`."""
        raise NotImplementedError

    @pytest.fixture
    def dataset(self, settings: DatasetSettings) -> Dataset:
        """The same, loaded."""
        return load_dataset(settings)

    def test_settings_survive_being_written_down(self, settings: DatasetSettings) -> None:
        """They travel to other processes and pipelines as JSON."""
        assert parse_settings(DatasetSettings, settings_document(settings), "dataset") == settings

    def test_splits_hold_what_they_say(self, dataset: Dataset) -> None:
        """As many examples as their size, of the shapes that the data set tells, all numbers finite."""
        for split in _splits(dataset):
            inputs, labels = materialize(split, None, 0)
            assert split.size == len(inputs[0]) > 0
            assert [array.shape[1:] for array in inputs] == list(dataset.input_shapes)
            weights = 1 if split is dataset.train and dataset.is_weighted else 0
            assert len(labels) == len(dataset.labels) + weights
            for array, kind in zip(labels, dataset.labels, strict=False):
                assert kind.shape is None or array.shape[1:] == kind.shape
                if kind.num_classes is not None and not kind.rows:
                    assert np.issubdtype(array.dtype, np.integer)
                    assert 0 <= array.min() <= array.max() < kind.num_classes
            assert all(np.isfinite(array).all() for array in (*inputs, *labels))

    def test_splits_are_the_same_again(self, settings: DatasetSettings, dataset: Dataset) -> None:
        """Stages run in processes of their own, and have to see the same splits."""
        for one, other in zip(_splits(dataset), _splits(load_dataset(settings)), strict=True):
            for first, second in zip(_flat(one), _flat(other), strict=True):
                np.testing.assert_array_equal(first, second)

    def test_no_example_is_in_two_splits(self, dataset: Dataset) -> None:
        """Else what is reported was trained on; data with the same example twice are no good either."""
        rows = [[row.tobytes() for row in _flat(split)[0]] for split in _splits(dataset)]
        for number, those in enumerate(rows):
            assert not set(those) & {row for others in rows[number + 1 :] for row in others}


def _splits(dataset: Dataset) -> tuple[Examples, ...]:
    return dataset.train, dataset.validation, dataset.test


def _flat(split: Examples) -> list[np.ndarray]:
    inputs, labels = materialize(split, None, 0)
    return [*inputs, *labels]
