"""Label-Free Hessian pruning of Sony's model-compression-toolkit.

Its target is bytes of weights, not multiply-adds: several are tried, by halves, until these fit, with
the scores of the first one.
"""

import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import model_compression_toolkit as mct
import numpy as np
import tensorflow as tf
from model_compression_toolkit.core.common.pruning.pruner import Pruner

from tests.benchmarks.peers.in_keras import built, weights_of
from tests.benchmarks.peers.job import PROBES, Cannot, Compressed, Job, Prepared
from tests.benchmarks.peers.plain_network import PlainNetwork, count_macs

HALVINGS, BATCH = 8, 32
NOT_SO_SMALL = "Insufficient memory"


def prepare(job: Job) -> Prepared:
    """Setting: `divisor`: channels go in so many; as its devices are made, 32 would go at once."""
    tf.keras.utils.set_random_seed(job.seed)
    arrays, network = job.arrays(), job.dense_network()
    model = built(network, tf.keras)
    probes = arrays.test.images[:PROBES]
    batches = batches_of(arrays.train.first(job.budget.calibration).images)
    whole = 4 * sum(int(np.prod(w.shape)) for w in model.weights)
    config = mct.pruning.PruningConfig(num_score_approximations=job.budget.hessian_samples)
    device = _device(job.settings["divisor"])

    def pruned(part: float) -> PlainNetwork | None:
        target = mct.core.ResourceUtilization(weights_memory=part * whole)
        try:
            found, _ = mct.pruning.keras_pruning_experimental(model, target, batches, config, device)
        except Exception as error:
            # Its own errors have no class of their own.
            if NOT_SO_SMALL in str(error):
                return None
            raise
        return weights_of(network, found)

    def compress() -> Compressed:
        began = time.perf_counter()
        _score_once()
        low, high = 0.0, 1.0
        best, seconds = None, 0.0
        for _ in range(HALVINGS):
            found = pruned((low + high) / 2)
            seconds = seconds or time.perf_counter() - began
            if found is not None and count_macs(found) * job.target > count_macs(network):
                high = (low + high) / 2
                continue
            low, best = (low + high) / 2, found or best
        if best is None:
            raise Cannot("channels that residual connections join stay, which leaves too many")
        note = f"Of {HALVINGS} targets in bytes the one that fits is taken; the time is that of one."
        outputs = built(best, tf.keras).predict(probes, verbose=0)
        return Compressed(best, outputs, seconds=seconds, notes=(note,))

    packages = ("model-compression-toolkit", "tensorflow-cpu")
    return Prepared(model.predict(probes, verbose=0), compress, packages)


def batches_of(images: np.ndarray) -> Callable[[], Iterator[list[np.ndarray]]]:
    """Images as the toolkit asks for them."""

    def batches() -> Iterator[list[np.ndarray]]:
        for at in range(0, len(images), BATCH):
            yield [images[at : at + BATCH]]

    return batches


def _device(divisor: int) -> Any:
    """What the toolkit knows of a device, whose channels go in so many."""
    known = mct.get_target_platform_capabilities()
    text = re.sub(r'"simd_size":(\d+|null)', f'"simd_size":{divisor}', known.model_dump_json())
    return type(known).model_validate_json(text)


def _score_once() -> None:
    """Makes prunings after the first one take its scores: these are of the whole network."""
    scored: Callable[..., tuple[dict[Any, Any], dict[Any, Any]]] = Pruner.get_score_per_entry_point
    known: list[dict[str, Any]] = []

    def scores(pruner: Any, nodes: list[Any]) -> tuple[dict[Any, Any], ...]:
        if not known:
            known.extend({node.name: v for node, v in part.items()} for part in scored(pruner, nodes))
        return tuple({node: part[node.name] for node in nodes} for part in known)

    Pruner.get_score_per_entry_point = scores
