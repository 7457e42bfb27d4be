"""Networks with recurrent layers are pruned by every criterion, and go on learning what they did."""

import keras
import numpy as np
import pytest
from keras import layers
from sklearn.datasets import load_digits

from pocketkube.deploy import check_agreement, convert_litert
from pocketkube.graph.dependency import ChannelGraph, trace_channels
from pocketkube.graph.matrices import consumers, inner_consumers
from pocketkube.graph.surgery import copy_model
from pocketkube.pruning.calibration import Calibration
from pocketkube.pruning.criteria import criterion_named, criterion_names
from pocketkube.pruning.prune import prune
from pocketkube.spec.sections import PruneChannels

LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="none")
IMAGES, LABELS = load_digits(return_X_y=True)
ROWS = (IMAGES / 16).reshape(-1, 8, 8).astype("float32")
TRAIN, TEST = slice(0, 1200), slice(1200, None)


def calibration(inputs: np.ndarray, labels: np.ndarray) -> Calibration:
    return Calibration((inputs,), (labels,), lambda labels, outputs: LOSS(labels[0], outputs))


@pytest.fixture(scope="module")
def reader() -> keras.Model:
    """Reads digits row by row."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((8, 8)),
            layers.Bidirectional(layers.LSTM(16, return_sequences=True), name="both"),
            layers.GRU(24, name="gru"),
            layers.Dense(16, activation="relu", name="wide"),
            layers.Dense(10, name="head"),
        ]
    )
    model.compile(
        keras.optimizers.Adam(0.005), keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    model.fit(ROWS[TRAIN], LABELS[TRAIN], epochs=8, batch_size=32, verbose=0)
    return model


def accuracy(model: keras.Model) -> float:
    return float((np.argmax(model(ROWS[TEST]), axis=-1) == LABELS[TEST]).mean())


@pytest.mark.parametrize("criterion", [name for name in criterion_names() if name != "bn_scale"])
def test_every_criterion_keeps_better_units_than_chance(reader, criterion) -> None:
    seen = calibration(ROWS[:256], LABELS[:256])
    settings = PruneChannels(criterion=criterion, round_to=1, reconstruct=True)
    pruned = prune(reader, settings, speedup=1.5, calibration=seen)
    assert pruned.after.macs <= pruned.before.macs / 1.5
    assert {"both", "gru"} <= {name for name, (kept, size) in pruned.kept.items() if kept < size}
    assert accuracy(reader) > 0.85
    assert accuracy(pruned.model) > 0.3
    print(criterion, accuracy(reader), accuracy(pruned.model), pruned.kept, pruned.notes)
