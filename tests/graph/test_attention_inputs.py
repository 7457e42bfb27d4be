import keras
import pytest

from pocketkube.graph.attention_inputs import attention_inputs
from pocketkube.graph.dependency import trace_channels
from pocketkube.keras_private import calls_of

layers = keras.layers


@pytest.mark.parametrize(
    ("unnamed", "named"),
    [
        (("query", "value"), ()),
        (("query", "value"), ("key", "attention_mask")),
        (("query", "value", "key"), ("attention_mask",)),
        ((), ("value", "query", "attention_mask", "key")),
    ],
)
def test_each_tensor_is_found_however_it_was_given(unnamed, named) -> None:
    shapes = {"query": (4, 8), "value": (5, 8), "key": (5, 8), "attention_mask": (4, 5)}
    tensors = {name: keras.Input(shape) for name, shape in shapes.items()}
    attention = layers.MultiHeadAttention(2, 4)
    attention(*(tensors[n] for n in unnamed), **{n: tensors[n] for n in named})
    node = calls_of(attention)[0]
    places = attention_inputs(node.arguments)
    for name in (*unnamed, *named):
        assert node.input_tensors[places[name]] is tensors[name]
    assert (
        node.input_tensors[places["key"]] is tensors["key" if "key" in (*unnamed, *named) else "value"]
    )


def test_heads_stay_where_a_mask_tells_them_apart() -> None:
    x, mask = keras.Input((4, 8)), keras.Input((2, 4, 4))
    y = layers.Dense(8)(x)
    y = layers.MultiHeadAttention(2, 4, name="attention")(y, y, attention_mask=mask)
    graph = trace_channels(keras.Model([x, mask], layers.Dense(3)(y)))
    assert not graph.groups
    assert any("a mask that is not the same for all heads" in why for why in graph.left_whole)
