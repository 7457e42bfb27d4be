import json
import subprocess
import sys
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers

from pocketkube.deploy import convert_litert
from pocketkube.errors import UserError
from pocketkube.graph.budgets import Macs, Parameters
from pocketkube.graph.cost import Profile, profile_model
from pocketkube.graph.cost_model import CostModel
from pocketkube.graph.cost_model_of import cost_model_of
from pocketkube.graph.dependency import ChannelGraph, trace_channels
from pocketkube.graph.file_bytes import FileBytes, FileForm
from pocketkube.graph.ranking import keep_best, rank_units
from pocketkube.graph.surgery import remove_channels
from pocketkube.models import build_model
from tests.graph.nets import NETS


def added_concatenation() -> keras.Model:
    """A group whose units are not alike: some are of one layer, some of another."""
    x = inputs = keras.Input((8, 8, 3))
    one = layers.Conv2D(6, 3, padding="same", name="one")(x)
    two = layers.Conv2D(6, 5, padding="same", name="two")(x)
    x = layers.Concatenate()([one, two])
    x = layers.Add()([x, layers.Conv2D(12, 3, padding="same", name="three")(x)])
    x = layers.Dense(5)(layers.GlobalAveragePooling2D()(x))
    return keras.Model(inputs, x, name="added_concatenation")


def flattened() -> keras.Model:
    x = inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(16, 3, activation="relu", name="conv")(x)
    x = layers.MaxPooling2D(2)(x)
    x = layers.Dense(32, activation="relu", name="hidden")(layers.Flatten()(x))
    return keras.Model(inputs, layers.Dense(5, name="head")(x), name="flattened")


SMALL = NETS | {"added_concatenation": added_concatenation, "flattened": flattened}
KNOWN: dict[str, tuple[keras.Model, ChannelGraph]] = {}


def traced(name: str) -> tuple[keras.Model, ChannelGraph]:
    if name not in KNOWN:
        model = SMALL[name]()
        KNOWN[name] = model, trace_channels(model)
    return KNOWN[name]


def built(model: keras.Model, graph: ChannelGraph, scores: np.ndarray, counts: np.ndarray) -> Profile:
    """What the model costs that surgery builds."""
    return profile_model(remove_channels(model, graph, keep_best(rank_units(graph, scores), counts)))


def half_of_zeros(layer: keras.layers.Layer, inputs: keras.KerasTensor) -> float:
    """Bytes of a layer's weights where half of them are zero and left out."""
    costs = cost_model_of(keras.Model(inputs, layer(inputs)))
    weights = costs.weight_sizes([]).shape[1]
    form = FileForm(leaves_zeros_out=True, container_bytes=0)
    bits, zeros = np.full((1, weights), 32), np.full((1, weights), 0.5)
    return float(FileBytes(costs, form).costs_at(costs.sizes[None], bits, zeros)[0])


@settings(max_examples=40, deadline=None, derandomize=True)
@given(data=st.data())
def test_costs_of_any_assignment_are_those_of_the_model_that_surgery_builds(data: Any) -> None:
    model, graph = traced(data.draw(st.sampled_from(sorted(SMALL))))
    scores = np.random.default_rng(data.draw(st.integers(0, 99))).random(graph.units.count)
    costs = cost_model_of(model, graph, scores=scores, round_to=1, max_ratio=1.0)
    counts = np.array([data.draw(st.integers(g.least, g.size)) for g in costs.groups])
    real = built(model, graph, scores, counts)
    assert (costs.macs(counts), costs.parameters(counts)) == (real.macs, real.parameters)
    calls = costs.sized(costs.assignment(counts))
    assert sum(call.macs for call in calls) == real.macs
    first = {call.layer.name: call for call in reversed(calls)}
    assert {name: call.outputs[0] for name, call in first.items()} == {
        layer.name: layer.output_shape for layer in real.layers
    }


@pytest.mark.parametrize("name", SMALL)
def test_json_gives_the_same_costs(name: str) -> None:
    costs = cost_model_of(*traced(name))
    again = CostModel.from_json(costs.to_json())
    assert again == costs
    counts = np.array([group.least for group in costs.groups])
    assert again.macs(counts) == costs.macs(counts) < costs.macs(costs.sizes)


def test_json_that_is_no_cost_model_is_refused() -> None:
    for text in ("", "[]", "{}"):
        with pytest.raises(UserError, match="This is no cost model"):
            CostModel.from_json(text)
    with pytest.raises(UserError, match="schema_version 99"):
        CostModel.from_json(json.dumps({"schema_version": 99}))


def test_a_latency_table_finds_what_a_layer_is_and_which_sizes_it_has() -> None:
    costs = cost_model_of(*traced("squeeze_and_excite"), round_to=1)
    sized = {call.layer.name: call for call in costs.sized({"expand": 5})}
    depthwise, project = sized["depthwise"], sized["project"]
    assert depthwise.inputs == ((8, 8, 5),)
    assert depthwise.outputs == ((8, 8, 10),)
    layer = depthwise.layer
    assert (layer.kind, layer.kernel_size, layer.strides) == ("DepthwiseConv2D", (3, 3), (1, 1))
    assert (layer.padding, layer.depth_multiplier, layer.use_bias) == ("same", 2, True)
    assert layer.reads == ("expand",)
    assert (project.inputs, project.outputs) == (((8, 8, 10),), ((6, 6, 10),))
    assert sized["squeeze"].layer.activation == "relu"


def test_a_grouped_convolution_has_as_many_groups_as_are_left() -> None:
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(16, 3, name="one")(inputs)
    x = layers.Conv2D(24, 3, groups=8, name="grouped")(x)
    model = keras.Model(inputs, layers.Dense(3)(layers.GlobalAveragePooling2D()(x)))
    sized = {call.layer.name: call for call in cost_model_of(model, round_to=1).sized({"one": 5})}
    # Two channels go in and three come out of each group.
    assert (sized["grouped"].groups, sized["grouped"].inputs[0][-1]) == (5, 10)
    assert sized["grouped"].macs == 16 * 9 * 2 * 15


def test_a_layer_at_two_places_has_the_sizes_of_each() -> None:
    inputs = keras.Input((8, 8, 3))
    relu = layers.ReLU(name="relu")
    x = relu(layers.Conv2D(8, 3, name="one")(inputs))
    x = relu(layers.Conv2D(8, 3, name="two")(x))
    model = keras.Model(inputs, layers.Dense(3)(layers.GlobalAveragePooling2D()(x)))
    calls = cost_model_of(model, round_to=1).sized({"one": 5, "two": 3})
    assert [call.outputs for call in calls if call.layer.name == "relu"] == [((6, 6, 5),), ((4, 4, 3),)]


def test_an_assignment_that_is_none_names_what_is_wrong() -> None:
    costs = cost_model_of(*traced("residual"))
    with pytest.raises(UserError, match=r"residual has no group .* named nose; there are: stem, inner"):
        costs.counts({"nose": 3})
    with pytest.raises(UserError, match="inner has 12 units, of which 1 to 12 can be kept; receive"):
        costs.counts({"inner": 13})


@pytest.mark.parametrize("units", [(), (16,), (16, 8)])
def test_an_assignment_that_names_no_group_is_the_whole_network(units: tuple[int, ...]) -> None:
    x = inputs = keras.Input((6,))
    for each in units:
        x = layers.Dense(each)(x)
    net = keras.Model(inputs, layers.Dense(4)(x), name="net")
    model, whole = cost_model_of(net), profile_model(net)
    assert (model.macs([]), model.parameters([])) == (whole.macs, whole.parameters)
    assert model.macs([[], []]).tolist() == [whole.macs] * 2
    assert model.weight_sizes([]).tolist() == [[weight.size for weight in map(np.asarray, net.weights)]]
    assert model.lengths([model.layers[0].weights[0].shape[0]], []).tolist() == [[6]]
    # Of no assignment at all there are no costs.
    none = np.zeros((0, len(units)), int)
    assert model.macs(none).tolist() == model.parameters(none).tolist() == []
    many = len(units) + 1
    with pytest.raises(
        UserError, match=f"each group of channels, {len(units)} in all; received {many}"
    ):
        model.macs([8] * many)
    with pytest.raises(UserError, match="named conv; there are: none" if not units else "named conv"):
        model.counts({"conv": 8})


def test_steps_and_least_counts_are_those_that_pruning_may_use() -> None:
    inputs = keras.Input((6, 32))
    x = layers.MultiHeadAttention(4, 8, name="attention")(inputs, inputs)
    x = layers.Dense(64, name="wide")(x)
    x = layers.Dense(12, name="narrow")(x)
    model = keras.Model(inputs, layers.Dense(3, name="head")(x))
    costs = cost_model_of(model, round_to=8, max_ratio=0.8)
    found = {group.name: (group.size, group.step, group.least) for group in costs.groups}
    assert found["wide"] == (64, 8, 16)
    assert found["narrow"] == (12, 2, 4)
    assert found["attention/heads"] == (4, 1, 1)


class Doubled(layers.Layer):
    """A user's own layer: what it multiplies is traced."""

    def build(self, shape: Any) -> None:
        self.kernel = self.add_weight(shape=(shape[-1], 4), name="kernel")

    def call(self, inputs: Any) -> Any:
        return keras.ops.matmul(inputs, self.kernel)


def test_what_no_rule_knows_stays_whole_and_what_nobody_knows_is_a_bound() -> None:
    inputs = keras.Input((8,))
    x = layers.Dense(16, name="first")(inputs)
    x = Doubled(name="mine")(layers.Dense(12, name="second")(x))
    x = layers.Dense(8, activation=lambda x: keras.ops.fft((x, x))[0], name="odd")(x)
    model = keras.Model(inputs, layers.Dense(3, name="head")(x))
    costs = cost_model_of(model, round_to=1)
    assert [group.name for group in costs.groups][:1] == ["first"]
    assert any("mine (Doubled)" in sentence for sentence in costs.left_whole)
    assert costs.unknown == profile_model(model).unknown == ("odd (Dense)",)
    assert Macs(costs).unknown == costs.unknown
    assert Parameters(costs).unknown == ()
    assert costs.macs(costs.sizes) == profile_model(model).macs


@pytest.mark.parametrize("budget", [Macs, Parameters, FileBytes])
def test_a_budget_says_the_same_of_one_assignment_and_of_many(budget: Any) -> None:
    costs = cost_model_of(*traced("dense_blocks"), round_to=1)
    spent = budget(costs)
    counts = np.array([costs.counts({"one": n}) for n in range(1, 7)] * 60)
    many = spent.costs(counts)
    assert many.shape == (360,)
    assert [spent.cost({"one": n}) for n in range(1, 7)] == many[:6].tolist() == many[-6:].tolist()
    assert (np.diff(many[:6]) > 0).all()


@pytest.mark.parametrize("number_format", ["float32", "int8"])
def test_the_estimate_of_a_file_is_near_its_size(number_format: Any) -> None:
    model = build_model("resnet20", (16, 16, 1), 5)
    # Weights that are all different: of equal ones a file keeps a single copy.
    rng = np.random.default_rng(0)
    for weight in model.weights:
        # Sums keep their size from layer to layer.
        inputs = np.prod(weight.shape[:-1])
        weight.assign(rng.uniform(0.5, 1.0, weight.shape) / inputs)
    examples = (rng.normal(size=(4, 16, 16, 1)).astype(np.float32),)
    file = convert_litert(model, number_format, calibration=examples)
    found = FileBytes(cost_model_of(model), FileForm(number_format)).cost({})
    assert found == pytest.approx(len(file), rel=0.03)


@pytest.mark.parametrize(
    ("layer", "shape", "like"),
    [
        (layers.EinsumDense("abc,cde->abde", (None, 5, 6)), (7, 24), layers.Dense),
        (layers.EinsumDense("abcd,cde->abe", (None, 30)), (7, 4, 6), layers.Dense),
        (layers.Conv1DTranspose(30, 1, use_bias=False), (7, 24), layers.Conv1D),
    ],
    ids=["two axes of outputs", "two axes of inputs", "transposed"],
)
def test_of_equal_matrices_zeros_are_left_out_alike_whatever_the_order_of_axes(
    layer: keras.layers.Layer, shape: tuple[int, ...], like: type
) -> None:
    options = {"kernel_size": 1} if like is layers.Conv1D else {}
    plain = half_of_zeros(like(30, use_bias=False, **options), keras.Input((7, 24)))
    assert half_of_zeros(layer, keras.Input(shape)) == plain


def test_heads_add_up_the_axes_that_their_equations_do() -> None:
    x = keras.Input((7, 24))
    attention = layers.MultiHeadAttention(4, 8, use_bias=False)
    (layer,) = (each for each in cost_model_of(keras.Model(x, attention(x, x))).layers if each.weights)
    assert {weight.name: weight.inputs for weight in layer.weights} == {
        "query/kernel": (0,),
        "key/kernel": (0,),
        "value/kernel": (0,),
        "attention_output/kernel": (0, 1),
    }


def test_costs_without_keras_take_little_memory() -> None:
    """A service imports this, with 100 Mi in all."""
    program = """
import json, sys
from pathlib import Path
import pocketkube.graph.cost_model, pocketkube.graph.file_bytes
status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
heavy = [m for m in ("keras", "tensorflow", "pydantic", "scipy") if m in sys.modules]
kilobytes = int(status["VmHWM"].split()[0])
print(json.dumps({"kilobytes": kilobytes, "heavy": heavy}))
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    found = json.loads(run.stdout)
    assert found["heavy"] == []
    assert found["kilobytes"] < 60 * 1024
