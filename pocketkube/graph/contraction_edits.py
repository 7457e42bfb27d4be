"""What EinsumDense and attention without kernels become when some of their channels go."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from pocketkube.graph.contractions import contractions_of
from pocketkube.graph.dependency import Use
from pocketkube.graph.edit import Kept, LayerEdit
from pocketkube.graph.moves import argument


def einsum_dense_edit(use: Use, kept: Kept) -> LayerEdit:
    """What an EinsumDense becomes."""
    (contraction,) = contractions_of(use.op, [(None,) * use.rank])
    into, out = use.inputs[0], use.outputs[0]
    left: dict[str, np.ndarray] = {}
    if into is not None:
        left[contraction.terms[0][into.axis]] = kept.inputs[0]
    if out is not None:
        left[contraction.out[out.axis]] = kept.outputs[0]
    kernel = tuple((place, left[x]) for place, x in enumerate(contraction.kernel) if x in left)
    weights: dict[str, tuple[tuple[int, np.ndarray], ...]] = {"kernel": kernel}
    config: dict[str, Any] = {}
    if out is not None:
        config["output_shape"] = _output_shape(use.op, contraction.out[out.axis], len(kept.outputs[0]))
        bias = use.op.bias
        if bias is not None and len(bias.shape) >= -out.axis and bias.shape[out.axis] > 1:
            weights["bias"] = ((out.axis, kept.outputs[0]),)
    return LayerEdit(config, weights)


def _output_shape(op: Any, letter: str, size: int) -> Sequence[int | None]:
    """The written-down shape of what it gives, which leaves out the batch and what is elided."""
    shape = op.partial_output_shape
    shape = [shape] if isinstance(shape, int) else list(shape)
    spec = op.equation.replace(" ", "").split("->")[1]
    letters = spec[3:] if spec.startswith("...") else spec.replace("...", "")[1:]
    if letter in letters and shape[letters.index(letter)] is not None:
        shape[letters.index(letter)] = size
    return tuple(shape)


def additive_attention_edit(use: Use, kept: Kept) -> LayerEdit:
    """What an AdditiveAttention becomes: it has a number for each channel of its queries."""
    return LayerEdit({}, {"scale": ((0, kept.inputs[0]),)} if use.inputs[0] is not None else {})


def dot_product_attention_edit(use: Use, kept: Kept) -> LayerEdit:
    """What keras.ops.dot_product_attention becomes: its scale is that of all channels."""
    if use.inputs[0] is None or argument(use.arguments, "scale", 5) is not None:
        return LayerEdit()
    return LayerEdit(arguments={"scale": float(kept.sizes[0] ** -0.5)})
