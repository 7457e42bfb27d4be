"""Which of a model's kernels LiteRT can hold as they are, and as which whole numbers."""

from collections.abc import Mapping

import keras
import numpy as np

from pocketkube.deploy.integers import IntegerKernel
from pocketkube.graph.kernels import kernels_of
from pocketkube.packing import Form, Grid


def integer_kernels(model: keras.Model, forms: Mapping[str, Form]) -> list[IntegerKernel]:
    """The kernels on levels about 0 with at most a scale for each output channel.

    LiteRT's kernels multiply by no others; the rest it holds as what they stand for.

    Args:
        model: The model.
        forms: The forms of its weights, by their names.
    """
    found = []
    for kernel in kernels_of(model):
        form = forms.get(kernel.path)
        if not isinstance(form, Grid) or form.zero_points is not None or form.blocks.bucket_size:
            continue
        channels = int(np.prod([kernel.variable.shape[axis] for axis in kernel.axes]))
        scales = np.broadcast_to(form.scales, channels)
        levels = form.levels if form.kept is None else form.levels * form.kept
        found.append(IntegerKernel(levels, scales, kernel.axes, form.bits))
    return found
