"""Units of recurrent layers are cut with all their gates, whatever the layers are a part of."""

import keras
import numpy as np
import pytest
from keras import layers

from pocketkube.graph.cost import profile_model
from pocketkube.graph.cost_model_of import cost_model_of
from pocketkube.graph.dependency import trace_channels
from pocketkube.graph.ranking import keep_best, rank_units
from pocketkube.graph.surgery import remove_channels
from tests.graph.own_nets import DoubledLSTM
from tests.graph.recurrent_nets import RECURRENT_NETS
from tests.graph.silence import silence_every_other_unit
from tests.graph.test_surgery import random_inputs, random_weights, with_random_weights


@pytest.fixture(params=RECURRENT_NETS)
def model(request: pytest.FixtureRequest) -> keras.Model:
    return with_random_weights(RECURRENT_NETS[request.param])


def outputs(model: keras.Model, inputs: np.ndarray) -> np.ndarray:
    """From the beginning, where states outlast a call."""
    for layer in model.layers:
        if getattr(layer, "stateful", False):
            layer.reset_state()
    return np.asarray(model(inputs, training=False))


def test_units_that_nothing_reads_leave_the_outputs_and_the_file_loads(model, tmp_path) -> None:
    graph = trace_channels(model)
    inputs = random_inputs(model, np.random.default_rng(1))
    same = remove_channels(model, graph, np.ones(graph.units.count, bool))
    np.testing.assert_array_equal(outputs(same, inputs), outputs(model, inputs))
    keep = silence_every_other_unit(graph)
    smaller = remove_channels(model, graph, keep)
    np.testing.assert_allclose(outputs(smaller, inputs), outputs(model, inputs), rtol=1e-4, atol=1e-4)
    assert np.std(outputs(model, inputs)[:, 0]) > 1e-3
    assert smaller.count_params() < 0.75 * model.count_params()
    smaller.save(tmp_path / "small.keras")
    again = keras.saving.load_model(tmp_path / "small.keras")
    np.testing.assert_array_equal(outputs(again, inputs), outputs(smaller, inputs))


def test_costs_of_an_assignment_are_those_of_the_model_that_surgery_builds(model) -> None:
    graph = trace_channels(model)
    rng = np.random.default_rng(2)
    scores = rng.random(graph.units.count)
    costs = cost_model_of(model, graph, scores=scores, round_to=1, max_ratio=1.0)
    counts = np.array([rng.integers(group.least, group.size + 1) for group in costs.groups])
    smaller = remove_channels(model, graph, keep_best(rank_units(graph, scores), counts))
    real = profile_model(smaller)
    assert (costs.macs(counts), costs.parameters(counts)) == (real.macs, real.parameters)
    assert real.parameters == smaller.count_params()
    assert costs.is_exact
    assert costs.unknown == real.unknown == ()


def hold_at_zero(kernel, recurrent_kernel, bias, units) -> tuple[np.ndarray, ...]:
    """A cell's weights with which the state of some units never leaves zero.

    tanh(0) = 0 is all that comes into it; what the gates make of that does not count.
    """
    size = recurrent_kernel.shape[0]
    columns = [gate * size + unit for gate in range(kernel.shape[1] // size) for unit in units]
    for weight in (kernel, recurrent_kernel, bias):
        weight[..., columns] = 0
    return kernel, recurrent_kernel, bias


@pytest.mark.parametrize(
    "recurrent",
    [
        layers.LSTM(8, return_sequences=True),
        layers.GRU(8, return_sequences=True),
        layers.GRU(8, reset_after=False, return_sequences=True),
        layers.SimpleRNN(8, return_sequences=True),
    ],
    ids=["lstm", "gru", "gru_before", "rnn"],
)
def test_a_cut_network_computes_what_one_does_whose_states_are_held_at_zero(recurrent) -> None:
    first, second = recurrent, type(recurrent).from_config(recurrent.get_config() | {"name": "second"})
    x = layers.GlobalAveragePooling1D()(second(first(inputs := keras.Input((7, 3)))))
    model = keras.Model(inputs, layers.Dense(4)(x))
    random_weights(model, np.random.default_rng(0))
    graph = trace_channels(model)
    gone = {first: [1, 2, 6], second: [0, 5]}
    keep = np.ones(graph.units.count, bool)
    for group, (layer, units) in zip(graph.groups, gone.items(), strict=True):
        layer.set_weights(hold_at_zero(*layer.get_weights(), units))
        keep[group.units[units]] = False
    smaller = remove_channels(model, graph, keep)
    inputs = np.random.default_rng(1).normal(size=(5, 7, 3)).astype("float32")
    np.testing.assert_allclose(smaller(inputs), model(inputs), atol=1e-6)
    assert [layer.units for layer in smaller.layers if hasattr(layer, "units")][:2] == [5, 6]


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        (layers.RNN([layers.LSTMCell(4), layers.GRUCell(4)]), "has several cells"),
        (
            layers.Bidirectional(
                layers.LSTM(4), backward_layer=layers.GRU(4, go_backwards=True), merge_mode="sum"
            ),
            "has directions that differ",
        ),
        (layers.Bidirectional(DoubledLSTM(4)), "steps a DoubledLSTM, which is not known"),
        (layers.TimeDistributed(layers.LayerNormalization()), "gives each step to a LayerNormali"),
    ],
    ids=["several_cells", "directions", "own_direction", "steps"],
)
def test_what_stays_whole_is_named_with_the_reason(layer, reason) -> None:
    inputs = keras.Input((6, 3))
    x = layers.Conv1D(8, 3, name="conv")(inputs)
    model = keras.Model(inputs, layers.Dense(3, name="head")(layer(x)))
    graph = trace_channels(model)
    (sentence,) = graph.left_whole
    assert sentence.startswith(f"{layer.name} ({type(layer).__name__}): it {reason}")
    assert graph.groups == ()


def test_states_that_are_written_into_the_network_keep_their_units() -> None:
    inputs = keras.Input((6, 3))
    x = layers.GRU(4, name="begins")(inputs, initial_state=keras.ops.ones((1, 4)))
    graph = trace_channels(keras.Model(inputs, layers.Dense(3, name="head")(x)))
    assert graph.groups == ()
