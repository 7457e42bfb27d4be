"""Trains clustered kernels: their centroids, which weight has which centroid, or both."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from pocketkube.clustering.lloyd import kmeans, nearest, quantiles
from pocketkube.errors import UserError
from pocketkube.graph.kernels import Kernel, frozen_kernels, kernels_of
from pocketkube.packing import Blocks, Codebook, Form, decode
from pocketkube.spec.sections import ClusterWeights
from pocketkube.training.method import Method


class Clustering(Method):
    """Weights from codebooks (Deep Compression, Han et al., 2016; PocketFlow's non-uniform, 2018).

    The model computes with the centroids. A centroid's gradient is the sum of those of its members.
    Where weights are trained, a weight's gradient goes to a float weight behind it, as if there were
    no centroid between (Bengio et al., 2013), and before each step it is given the centroid that is
    then nearest: with steps between, float weights run away from what the model computes with. Weights
    that are zero stay zero, beside the centroids. Of frozen kernels neither is trained: they keep the
    values that they begin with.

    Args:
        model: The model.
        settings: How many values, for which weights together, and what is trained.

    Raises:
        UserError: If there is nothing to cluster, or `settings` names a layer that is not there.
    """

    def __init__(self, model: keras.Model, settings: ClusterWeights) -> None:
        found = list(kernels_of(model))
        _refuse(model, found, settings)
        self.fingerprint = settings.model_dump_json()
        self._settings = settings
        bits = [settings.layers.get(kernel.layer, settings.bits) for kernel in found]
        self._codebooks = [
            _KernelCodebooks(k, b, settings) for k, b in zip(found, bits, strict=True) if b
        ]
        self._sparse = [
            (k.variable, nonzero)
            for k, b in zip(found, bits, strict=True)
            if not b and (nonzero := _nonzero(np.asarray(k.variable))) is not None
        ]
        frozen = {kernel.path for kernel in frozen_kernels(model)}
        self._changing = [each for each in self._codebooks if each.name not in frozen]
        centroids = [codebooks.centroids for codebooks in self._changing]
        self.trained = [] if settings.train == "weights" else centroids
        self.variables = [codebooks.indices for codebooks in self._changing]
        if settings.train == "weights":
            self.variables += centroids

    def before_step(self, step: int, steps: int, optimizer: Any) -> None:
        """Gives each weight its nearest centroid, unless only centroids are trained."""
        if self._settings.train != "centroids":
            for codebooks in self._changing:
                codebooks.reassign(with_means=self._settings.train == "weights")

    def replaced(self) -> Sequence[tuple[Any, Any]]:
        """The kernels' values from their codebooks."""
        train = self._settings.train
        return [
            *((codebooks.variable, codebooks.values(train)) for codebooks in self._codebooks),
            *((k, k.value * tf.constant(kept, k.dtype)) for k, kept in self._sparse),
        ]

    def finish(self) -> None:
        """The kernels become what the model computed with."""
        for codebooks in self._codebooks:
            codebooks.variable.assign(decode(codebooks.codebook()))
        for kernel, kept in self._sparse:
            kernel.assign(np.asarray(kernel) * kept)

    @property
    def forms(self) -> Mapping[str, Form]:
        """The codebook of each kernel, by its name."""
        return {codebooks.name: codebooks.codebook() for codebooks in self._codebooks}


class _KernelCodebooks:
    """The codebooks of one kernel.

    Centroids are kept in tens of the kernel's root mean square. An optimizer such as AdamW moves
    whatever it trains by about its learning rate, which is far for the centroids of small weights and
    next to nothing for those of large ones.
    """

    def __init__(self, kernel: Kernel, bits: int, settings: ClusterWeights) -> None:
        weights = np.asarray(kernel.variable)
        self.name, self.variable = kernel.path, kernel.variable
        self._bits = bits
        self._blocks = _blocks(kernel, settings)
        self._nonzero = _nonzero(weights)
        self._owners = self._blocks.owners(weights.shape)
        root = np.sqrt(np.mean(np.square(self._nonzero_of(weights)))) if weights.any() else 1.0
        self._scale = np.float32(CENTROID_UNIT * root)
        centroids = INITIALIZATIONS[settings.initialization](
            self._nonzero_of(weights),
            self._nonzero_of(self._owners),
            self._blocks.count(weights.shape),
            2**bits,
        )
        self.centroids = keras.Variable(centroids / self._scale, name="centroids")
        self.indices = tf.Variable(tf.zeros(weights.shape, tf.uint8), trainable=False)
        self.reassign(with_means=False)

    def reassign(self, *, with_means: bool) -> None:
        """Gives each weight its nearest centroid; with means, centroids then go amid their members."""
        weights, owners = self._nonzero_of(np.asarray(self.variable)), self._nonzero_of(self._owners)
        centroids = self._decoded()
        found = nearest(weights, owners, centroids)
        indices = np.zeros(self.variable.shape, np.uint8)
        np.place(indices, self._owners >= 0 if self._nonzero is None else self._nonzero, found)
        self.indices.assign(indices)
        if with_means:
            place = owners.astype(np.int64) * centroids.shape[1] + found
            counts = np.bincount(place, minlength=centroids.size)
            sums = np.bincount(place, weights, minlength=centroids.size)
            # One without members stays where it is, and may find some.
            means = np.where(counts, sums / np.maximum(counts, 1), centroids.ravel())
            self.centroids.assign(means.reshape(centroids.shape) / self._scale)

    def values(self, train: str) -> tf.Tensor:
        """What the model computes with, such that gradients go to what is trained."""
        size = self.centroids.shape[1]
        places = tf.constant(self._owners * np.int32(size)) + tf.cast(self.indices, tf.int32)
        values = tf.gather(tf.reshape(self.centroids.value * self._scale, [-1]), places)
        if train == "weights":
            values = tf.stop_gradient(values)
        if train != "centroids":
            weights = tf.convert_to_tensor(self.variable.value)
            # Adds zero, and the gradient.
            values += weights - tf.stop_gradient(weights)
        return values if self._nonzero is None else values * tf.constant(self._nonzero, values.dtype)

    def codebook(self) -> Codebook:
        """The kernel's form as it stands."""
        indices = self.indices.numpy()
        return Codebook(self._bits, self._decoded(), indices, self._blocks, self._nonzero)

    def _decoded(self) -> np.ndarray:
        return np.asarray(self.centroids) * self._scale

    def _nonzero_of(self, array: np.ndarray) -> np.ndarray:
        """What belongs to weights that are not zero, in one row."""
        return array.ravel() if self._nonzero is None else array[self._nonzero]


# LeNet on digits at 2 bits: 93.6 % with 1, 95.0 % with 10 where centroids alone are trained; where
# weights are, too, 98.9 % with both, and 97.5 % with 30.
CENTROID_UNIT = 10.0
INITIALIZATIONS = {"kmeans": kmeans, "quantile": quantiles}


def _refuse(model: keras.Model, found: Sequence[Kernel], settings: ClusterWeights) -> None:
    names = list(dict.fromkeys(kernel.layer for kernel in found))
    for name in settings.layers:
        if name not in names:
            raise UserError(
                f"layers: {name} is no layer that can be clustered; there are: {', '.join(names)}."
            )
    if not any(settings.layers.get(name, settings.bits) for name in names):
        raise UserError(
            f"{model.name} has no dense layer or convolution that could be clustered"
            + (", where layers gives all of them 0 bits." if names else ".")
        )


def _blocks(kernel: Kernel, settings: ClusterWeights) -> Blocks:
    if settings.granularity == "tensor":
        return Blocks()
    bucket = settings.bucket_size if settings.granularity == "bucket" else None
    return Blocks(kernel.axes, bucket)


def _nonzero(weights: np.ndarray) -> np.ndarray | None:
    """Where weights are not zero; None where none is."""
    kept = weights != 0
    return None if kept.all() else kept
