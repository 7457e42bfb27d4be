"""What `pk.register_layer` takes, and what it refuses in one line."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import pytest
from keras import layers

import pocketkube as pk
from pocketkube.extension import layers as registry


class Mine(layers.Layer):
    def call(self, inputs: Any) -> Any:
        return 2.0 * inputs


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    """What a test registers is for that test."""
    found, decorated = dict(registry._found), dict(registry._decorated)
    known = dict(keras.saving.get_custom_objects())
    yield
    registry._found, registry._decorated = found, decorated
    keras.saving.get_custom_objects().clear()
    keras.saving.get_custom_objects().update(known)


def rule(call: Any) -> Any:
    return call.channels[0]


@pytest.mark.parametrize(
    ("layer", "how", "said"),
    [
        ("Mine", {"like": layers.ReLU}, "takes a class of layers, as MyConv; received 'Mine'"),
        (Mine(), {"like": layers.ReLU}, "takes a class of layers, as MyConv; received <Mine"),
        (layers.Conv2D, {"like": layers.ReLU}, "Conv2D is Keras's own; register a class of yours"),
        (Mine, {}, "Mine needs either like=, a class of Keras's, or channels=, a rule of its own; rec"),
        (Mine, {"like": layers.ReLU, "channels": rule}, "of its own; received both."),
        (Mine, {"like": "Conv2D"}, "Mine cannot be like 'Conv2D', for which there are no rules; give"),
        (Mine, {"like": Mine}, "Mine cannot be like Mine, for which there are no rules"),
        (Mine, {"like": layers.ReLU, "macs": rule}, "macs goes with channels=, not with like="),
        (Mine, {"channels": "same"}, "channels has to be a function; received 'same'"),
        (Mine, {"channels": rule, "matrix": ("kernel", -1)}, "as in ('kernel', -2, -1); received"),
    ],
)
def test_a_wrong_registration_is_refused_in_one_line(layer: Any, how: Any, said: str) -> None:
    with pytest.raises(pk.UserError) as refused:
        pk.register_layer(layer, **how)
    assert str(refused.value).startswith("register_layer: ")
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_what_lacks_what_its_likeness_has_is_told_so() -> None:
    pk.register_layer(Mine, like=layers.Conv2D)
    inputs = keras.Input((8, 8, 3))
    x = Mine()(layers.Conv2D(8, 3)(inputs))
    with pytest.raises(pk.UserError, match=r"Mine is registered like Conv2D, but has not all that one"):
        pk.prune(keras.Model(inputs, layers.Dense(2)(layers.Flatten()(x))), speedup=2)


def test_a_cell_that_runs_again_replaces_what_it_said() -> None:
    pk.register_layer(Mine, channels=rule)
    assert pk.register_layer(Mine, like=layers.ReLU) is Mine
    assert registry.get("Mine").like is layers.ReLU


def test_a_model_with_one_is_pruned_saved_and_read(tmp_path: Path) -> None:
    pk.register_layer(Mine, channels=rule)
    inputs = keras.Input((8,))
    x = Mine()(layers.Dense(32)(inputs))
    small = pk.prune(keras.Model(inputs, layers.Dense(4)(x)), speedup=2)
    again = pk.import_model(small.save(tmp_path / "small.keras"))
    assert again.model.layers[1].units == 16
    assert again.profile.macs == small.profile.macs
