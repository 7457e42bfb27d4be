"""Names that TensorFlow does not take are refused before it sees them, and no others."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import pocketkube as pk
from pocketkube.traceable import refuse_untraceable

X, Y = np.random.default_rng(0).random((24, 6), dtype=np.float32), np.arange(24) % 3


def network(name: str, layer: str = "first") -> keras.Model:
    net = [keras.Input((6,)), layers.Dense(8, "relu", name=layer), layers.Dense(8), layers.Dense(3)]
    return keras.Sequential(net, name=name)


def test_a_model_s_own_name_matters_where_it_is_saved_too() -> None:
    for saved in (False, True):
        with pytest.raises(pk.UserError, match="my model: TensorFlow cannot compute with 'my model':"):
            refuse_untraceable(network("my model"), saved=saved)


def test_a_model_is_not_blamed_for_another_one_s_name() -> None:
    """From the refused name on, Keras puts it before the paths of all weights of the thread."""

    def after_a_refusal() -> keras.Model:
        with pytest.raises(ValueError, match="'my model' is not a valid root scope name"):
            tf.function(network("my model"), autograph=False)(X)
        return network("fine")

    with ThreadPoolExecutor(1) as thread:
        fine = thread.submit(after_a_refusal).result()
    refuse_untraceable(fine, saved=True)


@pytest.mark.parametrize(
    "call",
    [
        lambda model: pk.prune(model, speedup=1.2, round_to=1, data=X),
        lambda model: pk.prune(model, speedup=1.2, round_to=1, data=(X, Y), criterion="dcp"),
        lambda model: pk.fine_tune(network("student"), (X, Y), teacher=model, epochs=1),
    ],
    ids=["by_its_answers", "by_heads", "as_teacher"],
)
def test_a_layer_s_name_is_told_of_wherever_its_model_is_traced(
    call: Callable[[keras.Model], object],
) -> None:
    with pytest.raises(pk.UserError, match="net: TensorFlow cannot compute with 'first layer': names"):
        call(network("net", "first layer"))
