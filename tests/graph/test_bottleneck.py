import keras
from keras import layers

from pocketkube.graph.bottleneck import find_bottlenecks, mixing_calls
from pocketkube.graph.replay import replay
from pocketkube.models import build_model
from tests.graph.nets import NETS


def narrow_names(model: keras.Model) -> list[tuple[str, int]]:
    """The operation that takes each narrow tensor, and its depth."""
    paths: list[str] = []

    def tap(path, op, tensors):
        paths.append(path)
        return tensors

    replay(model, [keras.ops.zeros((1, *x.shape[1:]), x.dtype) for x in model.inputs], tap)
    return [(paths[bottleneck.call], bottleneck.depth) for bottleneck in find_bottlenecks(model)]


def test_a_residual_network_is_narrow_after_its_blocks() -> None:
    model = build_model("resnet20", (8, 8, 1), 5)
    names = narrow_names(model)
    assert [name for name, depth in names if depth > 1] == [
        f"stage{stage}_block{block}_relu" for stage in (1, 2, 3) for block in (1, 2, 3)
    ]
    assert [depth for _, depth in names][-1] == 21


def test_a_plain_network_is_narrow_after_each_layer() -> None:
    model = build_model("lenet", (24, 24, 1), 5)
    assert [depth for _, depth in narrow_names(model) if depth] == [1, 2, 3, 4]


def test_nested_models_and_shared_layers_are_followed() -> None:
    names = narrow_names(NETS["nested_and_shared"]())
    # Inside the block the shortcut waits as well, and so does one of the shared layer's results.
    assert [depth for _, depth in names if depth] == [1, 3, 5, 7]


def test_two_inputs_are_narrow_only_where_they_have_met() -> None:
    one, two = keras.Input((3,)), keras.Input((3,))
    x = layers.Add(name="add")([layers.Dense(4)(one), layers.Dense(4)(two)])
    x = layers.Dense(4, name="after")(layers.ReLU(name="relu")(x))
    model = keras.Model([one, two], layers.Dense(2, name="head")(x))
    assert narrow_names(model) == [("relu", 2), ("head", 3)]


def test_the_last_call_of_a_shared_layer_counts() -> None:
    places = mixing_calls(NETS["nested_and_shared"]())
    assert places["stem"] < places["block/wide"] < places["shared"] < places["head"]
