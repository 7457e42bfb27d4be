"""Networks with recurrent layers are pruned by every criterion, and are the same networks after."""

import keras
import numpy as np
import pytest
from keras import layers
from sklearn.datasets import load_digits

from pocketkube.deploy import check_agreement, convert_litert
from pocketkube.graph.dependency import trace_channels
from pocketkube.graph.matrices import consumers, inner_consumers
from pocketkube.graph.surgery import copy_model
from pocketkube.pruning.calibration import Calibration
from pocketkube.pruning.criteria import criterion_named
from pocketkube.pruning.prune import prune
from pocketkube.spec.sections import PruneChannels
from tests.graph.recurrent_nets import RECURRENT_NETS
from tests.graph.test_surgery import random_inputs, random_weights

LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="none")
IMAGES, LABELS = load_digits(return_X_y=True)
ROWS = (IMAGES / 16).reshape(-1, 8, 8).astype("float32")


def calibration(inputs: np.ndarray, labels: np.ndarray) -> Calibration:
    return Calibration((inputs,), (labels,), lambda labels, outputs: LOSS(labels[0], outputs))


@pytest.fixture(scope="module")
def reader() -> keras.Model:
    """Reads digits row by row."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((8, 8)),
            layers.Bidirectional(layers.LSTM(12, return_sequences=True), name="both"),
            layers.GRU(16, name="gru"),
            layers.BatchNormalization(name="norm"),
            layers.Dense(12, activation="relu", name="wide"),
            layers.Dense(10, name="head"),
        ]
    )
    model.compile(
        keras.optimizers.Adam(0.01), keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    model.fit(ROWS[:1200], LABELS[:1200], epochs=6, batch_size=32, verbose=0)
    return model


def accuracy(model: keras.Model) -> float:
    return float((np.argmax(model(ROWS[1200:], training=False), axis=-1) == LABELS[1200:]).mean())


@pytest.mark.parametrize("criterion", ["l1", "l2", "fpgm", "bn_scale", "taylor", "lasso", "dcp"])
def test_every_criterion_leaves_a_network_that_reads_digits(reader, criterion) -> None:
    settings = PruneChannels(criterion=criterion, round_to=1)
    seen = calibration(ROWS[:96], LABELS[:96])
    pruned = prune(reader, settings, speedup=1.4, calibration=seen)
    assert pruned.after.macs <= pruned.before.macs / 1.4
    assert accuracy(reader) > 0.7
    # Guessing gets one in ten right.
    assert accuracy(pruned.model) > 0.5
    said = [note for note in pruned.notes if "step after step" in note]
    assert bool(said) == (criterion in ("lasso", "dcp"))


def test_a_cut_network_in_a_file_does_what_it_does_in_keras(reader) -> None:
    pruned = prune(reader, PruneChannels(criterion="l2"), speedup=2)
    sizes = []
    for model in (reader, pruned.model):
        content = convert_litert(model, "dynamic")
        check_agreement(content, model, (ROWS[1200:],), 0.97)
        sizes.append(len(content))
    assert sizes[1] < sizes[0]


def test_taylor_counts_what_a_unit_gives_to_the_next_step() -> None:
    """Against the loss itself, with what reads a unit a little larger and a little smaller."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((5, 3))
    x = layers.LSTM(4, return_sequences=True, dropout=0.3)(inputs)
    both = layers.Bidirectional(layers.GRU(3, reset_after=False, return_sequences=True))
    x = layers.SimpleRNN(4)(both(x))
    model = keras.Model(inputs, layers.Dense(3)(x))
    rng = np.random.default_rng(1)
    random_weights(model, rng)
    before = model.get_weights()
    examples, labels = rng.normal(size=(9, 5, 3)).astype("float32"), rng.integers(0, 3, 9)
    graph = trace_channels(model)
    found = criterion_named("taylor").scores(model, graph, calibration(examples, labels))
    assert all(map(np.array_equal, before, model.get_weights()))
    assert both.forward_layer.cell.recurrent_dropout == 0
    changed = copy_model(model)
    sides = (*consumers(traced := trace_channels(changed)), *inner_consumers(traced))
    whole = [np.asarray(side.weight) for side in sides]

    def losses(unit: int, factor: float) -> np.ndarray:
        for side, weight in zip(sides, whole, strict=True):
            factors = np.where(side.units == unit, factor, 1.0)
            side.weight.assign(weight * (factors[:, None] if side.axis == 0 else factors))
        return np.asarray(LOSS(labels, changed(examples, training=False)), np.float64)

    assert {side.axis for side in sides} == {0}
    step = 0.01
    for unit in range(graph.units.count):
        slope = (losses(unit, 1 + step) - losses(unit, 1 - step)) / (2 * step)
        assert found[unit] == pytest.approx(np.mean(slope**2), rel=0.01)


@pytest.mark.parametrize("net", RECURRENT_NETS)
def test_recurrent_networks_of_every_kind_go_through(net) -> None:
    model = RECURRENT_NETS[net]()
    examples = np.repeat(random_inputs(model, np.random.default_rng(0)), 16, axis=0)
    # Where states outlast a call, batches are of one size.
    seen = None if net == "stepwise" else calibration(examples, np.arange(48) % 3)
    criterion = "l2" if seen is None else "taylor"
    pruned = prune(model, PruneChannels(criterion=criterion, round_to=1), speedup=1.6, calibration=seen)
    assert 1.6 <= pruned.before.macs / pruned.after.macs < 2.2
    assert not any("stays" in note for note in pruned.notes)
