"""The sections of a spec, one file each: names, defaults, allowed values and what each one means."""

from pocketkube.spec.sections.benchmark import MOST_THREADS, Benchmark, Threads
from pocketkube.spec.sections.cluster import (
    USUAL_WORK,
    BenchmarkPods,
    Cluster,
    ObjectStore,
    Pods,
    TaskPods,
    Trials,
    WorkerPods,
)
from pocketkube.spec.sections.cluster_weights import ClusterWeights
from pocketkube.spec.sections.dataset import SOURCES, AddedDataset, DatasetSettings, source_of
from pocketkube.spec.sections.distill_model import DistillModel
from pocketkube.spec.sections.distillation import UNCOMPRESSED, Distillation
from pocketkube.spec.sections.fine_tune import FineTune
from pocketkube.spec.sections.imports import Import
from pocketkube.spec.sections.prune_channels import PruneChannels
from pocketkube.spec.sections.quantize import Quantize
from pocketkube.spec.sections.quantize_weights import FLOAT, QuantizeWeights
from pocketkube.spec.sections.search import Evaluate, Search
from pocketkube.spec.sections.sparsify_weights import SparsifyWeights
from pocketkube.spec.sections.stage import StageBase, Trait
from pocketkube.spec.sections.target import Target
from pocketkube.spec.sections.task import AddedTask, Landmarks, TaskSettings
from pocketkube.spec.sections.training import Augmentation, Training

__all__ = [
    "FLOAT",
    "MOST_THREADS",
    "SOURCES",
    "UNCOMPRESSED",
    "USUAL_WORK",
    "AddedDataset",
    "AddedTask",
    "Augmentation",
    "Benchmark",
    "BenchmarkPods",
    "Cluster",
    "ClusterWeights",
    "DatasetSettings",
    "DistillModel",
    "Distillation",
    "Evaluate",
    "FineTune",
    "Import",
    "Landmarks",
    "ObjectStore",
    "Pods",
    "PruneChannels",
    "Quantize",
    "QuantizeWeights",
    "Search",
    "SparsifyWeights",
    "StageBase",
    "Target",
    "TaskPods",
    "TaskSettings",
    "Threads",
    "Training",
    "Trait",
    "Trials",
    "WorkerPods",
    "source_of",
]
