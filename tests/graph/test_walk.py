"""A walk that is taken one call at a time lets go of what no later call takes."""

import weakref

import keras
import numpy as np
from keras import layers

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
