"""Torch-Pruning (Fang et al., 2023): coupled channels ranked by norm or Taylor, cut in small steps.

As its own benchmarks do: many small steps towards all channels, until the multiply-adds are few enough.
"""

import torch
import torch_pruning as tp

from tests.benchmarks.peers.arrays import Part
from tests.benchmarks.peers.in_torch import TorchNetwork, built, images_of, outputs_of, weights_of
from tests.benchmarks.peers.job import PROBES, Cannot, Compressed, Job, Prepared
from tests.benchmarks.peers.plain_network import count_macs

STEPS = 200
IMPORTANCES = {
    "norm": tp.importance.GroupMagnitudeImportance,
    "taylor": tp.importance.GroupTaylorImportance,
}


def prepare(job: Job) -> Prepared:
    """Settings: `importance` ("norm" or "taylor") and `scope` ("global", "local", "isomorphic")."""
    torch.manual_seed(job.seed)
    network, arrays = job.dense_network(), job.arrays()
    module, probes = built(network), arrays.test.images[:PROBES]
    most = count_macs(network) / job.target
    examples = arrays.train.first(job.budget.calibration)

    def compress() -> Compressed:
        pruner = _pruner(module, job, images_of(probes[:1]))
        left = network
        for _ in range(STEPS):
            if job.settings["importance"] == "taylor":
                _differentiate(module, examples)
            pruner.step()
            left = weights_of(network, module)
            if count_macs(left) <= most:
                return Compressed(left, outputs_of(module, probes))
        raise Cannot(f"stops at {count_macs(network) / count_macs(left):.2f}x")

    return Prepared(outputs_of(module, probes), compress, ("torch", "torch-pruning"))


def _pruner(module: TorchNetwork, job: Job, example: torch.Tensor) -> tp.pruner.BasePruner:
    scope = job.settings["scope"]
    last = getattr(module, module.steps[-1].name)
    return tp.pruner.BasePruner(
        module,
        example,
        importance=IMPORTANCES[job.settings["importance"]](),
        global_pruning=scope != "local",
        isomorphic=scope == "isomorphic",
        pruning_ratio=1.0,
        iterative_steps=STEPS,
        ignored_layers=[last],
    )


def _differentiate(module: TorchNetwork, examples: Part) -> None:
    module.zero_grad()
    labels = torch.from_numpy(examples.labels).long()
    torch.nn.functional.cross_entropy(module(images_of(examples.images)), labels).backward()
