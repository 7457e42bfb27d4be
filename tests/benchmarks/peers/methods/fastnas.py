"""FastNAS of NVIDIA's Model Optimizer: channels found by binary search over measured sensitivities."""

import contextlib

import modelopt.torch.prune as mtp
import torch

from tests.benchmarks.peers.arrays import accuracy
from tests.benchmarks.peers.in_torch import built, images_of, outputs_of, weights_of
from tests.benchmarks.peers.job import PROBES, Cannot, Compressed, Job, Prepared
from tests.benchmarks.peers.plain_network import count_macs

# With fewer batches it leaves BatchNorm's statistics of candidates as they are, and warns of it.
BATCHES, LEAST, MOST = 50, 8, 64
# Its counts and ours agree; it may stop a trifle above.
TOLERATED = 1.02


def prepare(job: Job) -> Prepared:
    """Setting: `divisor`, of which channel counts are multiples; 32 if unset, for large networks."""
    torch.manual_seed(job.seed)
    network, arrays = job.dense_network(), job.arrays()
    module, probes = built(network), arrays.test.images[:PROBES]
    size = max(LEAST, min(MOST, len(arrays.train.images) // BATCHES))
    calibration = [arrays.train.images[size * at : size * (at + 1)] for at in range(BATCHES)]
    judged = arrays.validation.first(job.budget.search_images)
    most = count_macs(network) / job.target
    divisor = job.settings["divisor"]

    def compress() -> Compressed:
        config = {
            "nn.Conv2d": {"*": {"channel_divisor": divisor}},
            "nn.BatchNorm2d": {"*": {"feature_divisor": divisor}},
            "nn.Linear": {"*": {"feature_divisor": divisor}},
        }
        with contextlib.redirect_stdout(None):
            found, _ = mtp.prune(
                model=module,
                mode=[("fastnas", config)],
                # It counts a multiply-add as two.
                constraints={"flops": 2 * most},
                dummy_input=images_of(probes[:1]),
                config={
                    "data_loader": list(map(images_of, calibration)),
                    "collect_func": lambda batch: batch,
                    "score_func": lambda net: accuracy(outputs_of(net, judged.images), judged.labels),
                    "verbose": False,
                },
            )
        left = weights_of(network, found)
        if count_macs(left) > TOLERATED * most:
            raise Cannot(f"stops at {count_macs(network) / count_macs(left):.2f}x")
        return Compressed(left, outputs_of(found, probes))

    return Prepared(outputs_of(module, probes), compress, ("nvidia-modelopt", "torch"))
