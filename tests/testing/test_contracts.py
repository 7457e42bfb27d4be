"""What is built in keeps the contracts, too: an author may look here for how they are used."""

import keras
import pytest

from pocketkube.data import Dataset, load_dataset
from pocketkube.extension import layers
from pocketkube.graph.layer_rules import LayerRules
from pocketkube.graph.macs import MACS
from pocketkube.graph.propagation import RULES
from pocketkube.models import build_model
from pocketkube.models.builder import ModelBuilder
from pocketkube.pruning.criteria import BUILT_IN, criterion_named
from pocketkube.pruning.criteria.base import Criterion
from pocketkube.spec import Spec, parse_spec
from pocketkube.spec.sections import DatasetSettings
from pocketkube.testing import CriterionTests, DatasetTests, LayerTests, ModelTests, StageTests

DIGITS = {"builtin": "digits", "image_size": (12, 12), "max_train": 200}


class TestCriteria(CriterionTests):
    @pytest.fixture(params=BUILT_IN)
    def criterion(self, request: pytest.FixtureRequest) -> Criterion:
        return criterion_named(request.param)


@pytest.fixture
def digits() -> Dataset:
    return load_dataset(DatasetSettings.model_validate(DIGITS))


class TestDigits(DatasetTests):
    @pytest.fixture
    def settings(self) -> DatasetSettings:
        return DatasetSettings.model_validate(DIGITS)


class TestLenet(ModelTests):
    @pytest.fixture
    def builder(self) -> ModelBuilder:
        def build(dataset: Dataset, *, width: float, seed: int) -> keras.Model:
            classes = dataset.labels[0].num_classes
            assert classes is not None
            return build_model("lenet", dataset.input_shapes[0], classes, width=width, seed=seed)

        return build

    @pytest.fixture
    def dataset(self, digits: Dataset) -> Dataset:
        return digits


@keras.saving.register_keras_serializable("tests")
class OwnDense(keras.layers.Dense):
    """Dense by another name: what a rule of a package says of it is all that is known."""


class TestDenseByAnotherName(LayerTests):
    @pytest.fixture
    def rules(self) -> LayerRules:
        from pocketkube.graph.layer_edits import EDITS

        dense = keras.layers.Dense
        name = keras.saving.get_registered_name(OwnDense)
        if name not in layers.names():
            rules = LayerRules(OwnDense, RULES[dense], MACS[dense], EDITS[dense], ("kernel", 0, 1))
            layers.register(name)(rules)
        found: LayerRules = layers.get(name)
        return found

    @pytest.fixture
    def network(self, rules: LayerRules) -> keras.Model:
        values = keras.Input((6,))
        x = OwnDense(8, "relu")(keras.layers.Dense(10, "relu")(values))
        return keras.Model(values, keras.layers.Dense(3)(x))


class TestFineTune(StageTests):
    @pytest.fixture
    def spec(self) -> Spec:
        return parse_spec(
            {
                "model": "lenet",
                "width": 0.5,
                "dataset": DIGITS,
                "stages": [{"fine_tune": {"epochs": 1}}],
                "training": {"epochs": 1},
            }
        )
