"""Keeps weights at zero while a model is trained: more and more of them, or those that are zero."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from pocketkube.errors import UserError
from pocketkube.keras_private import place_among
from pocketkube.sparsity.distribution import layer_sparsities
from pocketkube.sparsity.patterns import mask_of
from pocketkube.sparsity.schedule import schedule_steps, sparsity_at, updates_masks
from pocketkube.sparsity.selection import sparsifiable
from pocketkube.spec.sections import SparsifyWeights
from pocketkube.training.method import Method


class _Masked(Method):
    """Trains what a mask leaves of each kernel; the rest is zero and stays so."""

    def __init__(self, model: keras.Model) -> None:
        found = list(sparsifiable(model))
        if not found:
            raise UserError(f"{model.name} has no dense layer or convolution that could be sparse.")
        self.paths = [kernel.layer for kernel in found]
        self.kernels = [kernel.variable for kernel in found]
        self.output_axes = [kernel.axes[0] for kernel in found]
        self.masks = [tf.Variable(_nonzero(kernel), trainable=False) for kernel in self.kernels]
        self._mask_of = {id(k): mask for k, mask in zip(self.kernels, self.masks, strict=True)}
        self.variables: Sequence[Any] = self.masks

    def gradients(self, gradients: Sequence[Any], variables: Sequence[Any]) -> Sequence[Any]:
        """None for weights that are zero, so that momentum cannot move them."""
        masks = [self._mask_of.get(id(variable)) for variable in variables]
        return [
            g if mask is None else g * tf.cast(mask, g.dtype)
            for g, mask in zip(gradients, masks, strict=True)
        ]

    def finish(self) -> None:
        """Weights that an average has brought back go again."""
        for kernel, mask in zip(self.kernels, self.masks, strict=True):
            kernel.assign(np.asarray(kernel) * mask.numpy())


class KeptZeros(_Masked):
    """Trains a sparse model on without filling its zeros."""

    fingerprint = "kept_zeros"


class GradualSparsification(_Masked):
    """Gradual magnitude pruning (Zhu & Gupta, 2017).

    The last value of a weight that was removed is remembered. Whenever masks are chosen anew, removed
    weights are ranked by it beside the others, and come back where those have become smaller. Weights
    that are zero before training stay zero, and count as removed ones. Frozen kernels become sparse as
    others do; what is left of them is not trained.

    Args:
        model: The model; its kernels become sparse.
        settings: How sparse, which layers by how much, in what pattern and when.

    Raises:
        UserError: If there is nothing to make sparse, or `settings` names a layer that is not there.
    """

    def __init__(self, model: keras.Model, settings: SparsifyWeights) -> None:
        super().__init__(model)
        self.fingerprint = settings.model_dump_json()
        self._settings = settings
        _refuse_unknown(settings.ratios, self.paths)
        self._trained = {id(variable) for variable in model.trainable_variables}
        self._before = [mask.numpy() for mask in self.masks]
        self._hidden_values = [tf.Variable(np.asarray(k), trainable=False) for k in self.kernels]
        self.variables = [*self.masks, *self._hidden_values]

    def before_step(self, step: int, steps: int, optimizer: Any) -> None:
        """Chooses the masks anew where it is time."""
        settings = self._settings
        begin, end = schedule_steps(steps, settings.begin_fraction, settings.end_fraction)
        if updates_masks(step, begin=begin, end=end, every=settings.refresh_steps):
            part = sparsity_at(step, final=1.0, begin=begin, end=end, power=settings.power)
            self._update_masks(part, optimizer)

    def has_final_form(self, step: int, steps: int) -> bool:
        """Once a step was taken with the last masks."""
        _, end = schedule_steps(steps, self._settings.begin_fraction, self._settings.end_fraction)
        return step > end

    def _update_masks(self, part: float, optimizer: Any) -> None:
        """Makes the model as sparse as it is to be after `part` of the way."""
        whole = [
            np.where(mask.numpy(), np.asarray(kernel), hidden.numpy())
            for kernel, mask, hidden in zip(self.kernels, self.masks, self._hidden_values, strict=True)
        ]
        sparsities = self._sparsities(whole, part)
        for kernel, axis, mask, hidden, before, values, sparsity in zip(
            self.kernels,
            self.output_axes,
            self.masks,
            self._hidden_values,
            self._before,
            whole,
            sparsities,
            strict=True,
        ):
            kept = mask_of(values, sparsity, self._settings.pattern, axis) & before
            hidden.assign(values)
            mask.assign(kept)
            kernel.assign(values * kept)
            if id(kernel) in self._trained:
                for slot in _slots(optimizer, kernel):
                    slot.assign(np.asarray(slot) * kept)

    def _sparsities(self, whole: Sequence[np.ndarray], part: float) -> list[float]:
        if self._settings.ratios:
            return [part * self._settings.ratios.get(path, 0.0) for path in self.paths]
        outputs_last = [
            np.moveaxis(x, axis, -1) for x, axis in zip(whole, self.output_axes, strict=True)
        ]
        sparsity = part * self._settings.sparsity
        return layer_sparsities(outputs_last, sparsity, self._settings.distribution)


def _refuse_unknown(ratios: Mapping[str, float], paths: Sequence[str]) -> None:
    for name in ratios:
        if name not in paths:
            raise UserError(
                f"ratios: {name} is no layer that can be sparse; there are: {', '.join(paths)}."
            )


def _slots(optimizer: Any, kernel: Any) -> list[Any]:
    """Momentum and the like of a kernel.

    They are found by the kernel's place among what is trained: names may be those of another's.
    """
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    place = place_among(optimizer, kernel)
    return [
        kept[place] for kept in (getattr(optimizer, name, None) for name in OPTIMIZER_SLOTS) if kept
    ]


# What AdamW, SGD, LARS and LAMB remember of each variable, and its average.
OPTIMIZER_SLOTS = ("_momentums", "_velocities", "momentums", "_model_variables_moving_average")


def _nonzero(kernel: Any) -> np.ndarray:
    return np.asarray(kernel) != 0
