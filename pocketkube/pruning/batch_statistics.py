"""Estimates BatchNorm's statistics anew after channels went."""

import keras
import tensorflow as tf

from pocketkube.graph.replay import replay
from pocketkube.pruning.calibration import Calibration

Normalization = keras.layers.BatchNormalization


def recalibrate(model: keras.Model, calibration: Calibration) -> None:
    """Sets every BatchNorm's moving statistics to their mean over the calibration batches.

    Args:
        model: The model; changed in place.
        calibration: Examples; the labels are not looked at.
    """
    norms = [layer for layer in model._flatten_layers() if isinstance(layer, Normalization)]
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    try:
        for step, (inputs, _) in enumerate(calibration.batches()):
            for norm in norms:
                # The running mean of all batches so far.
                norm.momentum = step / (step + 1)
            replay(model, [tf.constant(x) for x in inputs], _pass, in_training=Normalization)
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum


def _pass(path: str, op: object, tensors: list[tf.Tensor]) -> list[tf.Tensor]:
    return tensors
