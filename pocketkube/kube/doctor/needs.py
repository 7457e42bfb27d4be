"""What a job needs of a cluster."""

from collections.abc import Iterator
from dataclasses import dataclass

from pocketkube.spec import Spec
from pocketkube.spec.sections.cluster import BenchmarkPods, Cluster, Pods


@dataclass(frozen=True)
class Needs:
    """What is needed; what is not may be missing.

    Attributes:
        mpijobs: Training is shared as an MPIJob.
        trainjobs: Training is shared as a TrainJob.
        jobs: Nodes measure by Jobs of their own.
        experiments: A search's trials are pods of a Katib Experiment.
        workers: How many processes train together.
        cluster: The section of the spec.
    """

    mpijobs: bool
    trainjobs: bool
    jobs: bool
    experiments: bool
    workers: int
    cluster: Cluster

    @property
    def pods(self) -> Iterator[tuple[str, Pods]]:
        """The kinds of pods, by the spec's name of their settings."""
        yield "cluster.task", self.cluster.task
        for name, pods in self.cluster.tasks.items():
            yield f"cluster.tasks.{name}", pods
        if self.mpijobs or self.trainjobs or self.experiments:
            yield "cluster.workers", self.cluster.workers
        if self.jobs:
            yield "cluster.benchmark", self.cluster.benchmark


def needs_of(spec: Spec) -> Needs:
    """What a spec's job needs."""
    cluster = spec.cluster
    return Needs(
        mpijobs=cluster.launcher == "mpijob",
        trainjobs=cluster.launcher == "trainjob",
        jobs=cluster.benchmark != BenchmarkPods(),
        experiments=spec.search is not None and cluster.trials.launcher == "katib",
        workers=spec.training.workers,
        cluster=cluster,
    )


def usual_needs() -> Needs:
    """Of no job in particular: Jobs, which any cluster has, and no operator."""
    return Needs(
        mpijobs=False, trainjobs=False, jobs=True, experiments=False, workers=1, cluster=Cluster()
    )
