"""A latency table of a small network, measured: what it holds, and in which order it ranks."""

from pathlib import Path

import keras
import numpy as np
import pytest

from pocketkube.errors import UserError
from pocketkube.latency_table import of_network
from pocketkube.latency_table.measuring import sum_of_file
from pocketkube.latency_table.prunings import latency_budget, random_prunings
from pocketkube.latency_table.table import read_table
from pocketkube.pruning.pruner import Pruner

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def model() -> keras.Model:
    keras.utils.set_random_seed(0)
    image = x = keras.Input((32, 32, 3))
    for filters, strides in ((16, 1), (32, 2)):
        x = keras.layers.ZeroPadding2D(1)(x)
        x = keras.layers.Conv2D(filters, 3, strides=strides, use_bias=False)(x)
        x = keras.layers.BatchNormalization()(x)
        x = keras.layers.ReLU()(x)
    x = keras.layers.DepthwiseConv2D(3, padding="same")(x)
    x = keras.layers.add([x, keras.layers.Conv2D(32, 1)(x)])
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, keras.layers.Dense(10)(x))


@pytest.fixture(scope="module")
def file(model: keras.Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("table") / "table.json"
    of_network.measure_network(model, file, rounds=2)
    return file


def test_it_holds_each_kind_once_and_what_was_measured(file: Path) -> None:
    table = read_table(file)
    kinds = [each.kind for each in table.kinds]
    # The normalisation and the ReLU became a part of the convolution, the padding of what reads it.
    assert not [kind for kind in kinds if kind.startswith(("MUL", "RELU", "PAD"))]
    assert len([kind for kind in kinds if kind.startswith("CONV_2D float32")]) == 3
    assert len([kind for kind in kinds if kind.startswith("DEPTHWISE_CONV_2D int8")]) == 1
    assert all(each.rounds == 2 and min(each.times_us) > 0 for each in table.kinds)
    assert set(table.calls) == {"float32", "int8"}
    assert len(table.held_out_errors()) >= 4


def test_a_smaller_network_is_foreseen_to_be_faster(model: keras.Model, file: Path) -> None:
    pruner = Pruner(model)
    write = of_network.writer("float32")
    prunings = random_prunings(pruner, "float32", write)
    budget = latency_budget(pruner, prunings, read_table(file))
    counts = [pruner.counts_for_speedup(ratio) for ratio in (1.3, 2, 4)]
    foreseen = [budget.latency_ms(each) for each in ({}, *counts[1:])]
    assert foreseen == sorted(foreseen, reverse=True)
    # A budget says of counts what the table says of the file that they lead to.
    content = write(pruner.to_counts(counts[1]).model)
    call = budget.table.call("float32")
    of_file = call.latency_us(sum_of_file(budget.table, content)) / 1e3
    assert budget.latency_ms(counts[1]) == pytest.approx(float(of_file))
    assert np.isclose(budget.cost({}) / 1e6, foreseen[0])


def test_a_complete_table_is_not_measured_again(model: keras.Model, file: Path) -> None:
    before = read_table(file)
    after = of_network.measure_network(model, file, rounds=2)
    assert [each.times_us for each in after.kinds] == [each.times_us for each in before.kinds]


def test_a_network_that_runs_other_parts_is_refused(tmp_path: Path) -> None:
    steps = keras.Input((5, 4))
    x = keras.layers.Dense(8)(keras.layers.Dense(16, activation="relu")(steps))
    looping = keras.Model(steps, keras.layers.LSTM(6)(x))
    with pytest.raises(UserError, match="WHILE runs other parts"):
        of_network.measure_network(looping, tmp_path / "table.json", formats=("float32",), rounds=1)
