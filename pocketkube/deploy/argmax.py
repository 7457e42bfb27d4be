"""Lets argmax and argmin be TensorFlow's own while a model is converted.

Keras's tell -0 from 0 by the bits of floats, for which LiteRT has no operation.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import keras
import tensorflow as tf

from pocketkube.graph.kinds import name_of
from pocketkube.graph.rebuild import static_calls
from pocketkube.graph.walk import functional_graph, is_model
from pocketkube.keras_private import overridden

PLAIN = {"Argmax": tf.argmax, "Argmin": tf.argmin}


@contextmanager
def plain_argmax(model: keras.Model) -> Iterator[None]:
    """Within the block the model's argmax and argmin compare numbers as they are.

    Args:
        model: The model; it is as before when the block ends.
    """
    calls = static_calls(functional_graph(model)) if is_model(model) else ()
    ops = {id(node.operation): node.operation for _, node in calls}
    with ExitStack() as stack:
        for op in ops.values():
            if name_of(op) in PLAIN:
                stack.enter_context(overridden(op, "call", partial(_place, op)))
        yield


def _place(op: Any, x: Any) -> tf.Tensor:
    """Where the largest or smallest number is, along an axis or in all of them."""
    flat = tf.reshape(x, [-1]) if op.axis is None else x
    found = PLAIN[name_of(op)](flat, axis=op.axis or 0, output_type=tf.int32)
    if not op.keepdims:
        return found
    return tf.reshape(found, [1] * len(x.shape)) if op.axis is None else tf.expand_dims(found, op.axis)
