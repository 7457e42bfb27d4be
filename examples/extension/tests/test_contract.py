"""What PocketKube asks of each kind, asked of what this package adds."""

import keras
import pytest
from keras import layers

from pocketkube.data import Dataset, load_dataset
from pocketkube.spec import Spec, parse_spec
from pocketkube.spec.sections import DatasetSettings, TaskSettings
from pocketkube.testing import (
    CriterionTests,
    DatasetTests,
    LayerTests,
    ModelTests,
    StageTests,
    TaskTests,
)
from pocketkube_bars.criterion import LargestWeight
from pocketkube_bars.layer import CHANNEL_SCALE, ChannelScale
from pocketkube_bars.model import bar_net

BARS = {"bars": {"examples": 80}}


class TestLargestWeight(CriterionTests):
    @pytest.fixture
    def criterion(self) -> LargestWeight:
        return LargestWeight()


class TestBars(DatasetTests):
    @pytest.fixture
    def settings(self) -> DatasetSettings:
        return DatasetSettings.model_validate(BARS)


class TestChannelScale(LayerTests):
    @pytest.fixture
    def rules(self):
        return CHANNEL_SCALE

    @pytest.fixture
    def network(self) -> keras.Model:
        image = keras.Input((8, 8, 3))
        x = layers.Conv2D(8, 3)(image)
        scale = ChannelScale()
        x = layers.ReLU()(scale(x))
        scale.set_weights([keras.random.uniform((8,), 0.5, 2.0, seed=0)])
        return keras.Model(image, layers.Dense(2)(layers.Flatten()(x)))


@pytest.fixture
def bars() -> Dataset:
    return load_dataset(DatasetSettings.model_validate(BARS))


class TestBarNet(ModelTests):
    @pytest.fixture
    def builder(self):
        return bar_net

    @pytest.fixture
    def dataset(self, bars: Dataset) -> Dataset:
        return bars


class TestDirection(TaskTests):
    @pytest.fixture
    def settings(self) -> TaskSettings:
        return TaskSettings.model_validate("direction")

    @pytest.fixture
    def builder(self):
        return bar_net

    @pytest.fixture
    def dataset(self, bars: Dataset) -> Dataset:
        return bars


class TestClipWeights(StageTests):
    @pytest.fixture
    def spec(self) -> Spec:
        return parse_spec(
            {
                "model": "bar_net",
                "dataset": BARS,
                "task": "direction",
                "stages": [{"clip_weights": {"deviations": 2}}],
                "training": {"epochs": 1, "batch_size": 32},
            }
        )
