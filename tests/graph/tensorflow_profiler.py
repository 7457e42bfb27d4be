"""TensorFlow's own count of a model's float operations."""

from typing import Any

import keras
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2
from tensorflow.python.framework.function_def_to_graph import function_def_to_graph


def float_operations(model: keras.Model) -> int:
    """What tf.compat.v1.profiler counts in the frozen graph at batch size 1."""
    inputs = [tf.TensorSpec((1, *x.shape[1:]), x.dtype) for x in model.inputs]
    function = tf.function(lambda *x: model(list(x) if len(x) > 1 else x[0], training=False))
    frozen = convert_variables_to_constants_v2(function.get_concrete_function(*inputs))
    return _count(frozen.graph.as_graph_def())


def _count(definition: Any) -> int:
    with tf.Graph().as_default() as graph:
        tf.graph_util.import_graph_def(definition, name="")
    # Keras compiles grouped convolutions with XLA, and the profiler does not look into such calls.
    library = {function.signature.name: function for function in definition.library.function}
    called = [
        function_def_to_graph(library[op.get_attr("f").name], input_shapes=[x.shape for x in op.inputs])
        for op in graph.get_operations()
        if op.type in ("PartitionedCall", "StatefulPartitionedCall")
    ]
    return sum(_profile(one) for one in [graph, *called])


def _profile(graph: tf.Graph) -> int:
    options = tf.compat.v1.profiler.ProfileOptionBuilder
    counted = tf.compat.v1.profiler.profile(
        graph,
        run_meta=tf.compat.v1.RunMetadata(),
        cmd="op",
        options=options(options.float_operation()).with_empty_output().build(),
    )
    return counted.total_float_ops
