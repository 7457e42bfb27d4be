"""A walk that is taken one call at a time lets go of what no later call takes."""

import weakref

import keras
import numpy as np
from keras import layers

import pocketkube as pk
from pocketkube.graph.replay import replay
from pocketkube.graph.walk import calls_of, functional_graph


def nested_residual() -> keras.Model:
    """Names tell the order: `second` is read by the addition alone, `first` by both."""
    inner_input = keras.Input((4,))
    inner = keras.Model(inner_input, layers.Dense(4, name="inside")(inner_input), name="inner")
    inputs = keras.Input((4,))
    first = layers.Dense(4, name="first")(inputs)
    second = layers.Dense(4, name="second")(first)
    x = layers.Add(name="add")([first, second])
    x = inner(x)
    return keras.Model(inputs, layers.Dense(2, name="last")(x))


def test_values_are_let_go_after_the_last_call_that_takes_them() -> None:
    """Each value is an array of its own, of which the walk alone holds a reference."""
    given: dict[str, weakref.ref[np.ndarray]] = {}
    alive: dict[str, set[str]] = {}
    steps = calls_of(functional_graph(nested_residual()), [np.zeros(1)])
    path, node, values = next(steps)
    while True:
        del node, values
        alive[path] = {name for name, value in given.items() if value() is not None}
        value = np.zeros(1)
        given[path] = weakref.ref(value)
        sent, value = [value], None
        try:
            path, node, values = steps.send(sent)
        except StopIteration as end:
            (reached,) = end.value
            break
        finally:
            del sent
    assert alive == {
        "first": set(),
        "second": {"first"},
        "add": {"first", "second"},
        "inner/inside": {"add"},
        "last": {"inner/inside"},
    }
    assert given["last"]() is reached


def test_a_mask_reaches_into_a_nested_model() -> None:
    keras.utils.set_random_seed(0)
    steps = keras.Input((None, 8))
    within = keras.Model(steps, layers.Dense(8)(layers.LSTM(12)(layers.Dense(16)(steps))))
    words = keras.Input((6,), dtype="int32")
    embedded = layers.Embedding(20, 8, mask_zero=True)(words)
    model = keras.Model(words, layers.Dense(3)(within(embedded)))
    x = np.random.default_rng(0).integers(1, 20, (32, 6))
    x[:, 4:] = 0
    wanted = np.asarray(model(x))
    np.testing.assert_array_equal(np.asarray(replay(model, [x], lambda path, op, given: given)), wanted)
    # Rebuilt, its padding does not count either: the same as of the words alone, before nothing.
    found = pk.cluster(model, bits=8).model
    np.testing.assert_allclose(np.asarray(found(x)), wanted, atol=1e-6)
    np.testing.assert_allclose(np.asarray(found(np.roll(x, 2, axis=1))), wanted, atol=1e-6)
    assert pk.profile(model).macs > 0
    assert pk.prune(model, speedup=1.5, data=(x, np.arange(32) % 3)).speedup >= 1.5
