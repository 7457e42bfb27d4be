"""What runs one trial: a Job for a fast evaluation, an MPIJob where processes share its fine-tuning."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pocketkube.kube.mpijob import CONTAINER, mpijob
from pocketkube.kube.pod_parts import (
    CONTAINER_SECURITY,
    MANAGED,
    NO_SIDECAR,
    POD_SECURITY,
    STAGE_LABEL,
    pull_secrets,
    store_environment,
    without_token,
)
from pocketkube.kube.workers import (
    SharedWork,
    mounts,
    placement,
    queue_label,
    resources,
    secrets,
    volumes,
)
from pocketkube.spec.sections import Cluster

# The container that Katib watches, of a Job's pod and of an MPIJob's.
PRIMARY = CONTAINER
# In a folder that is nobody else's: Katib lays an empty volume over it.
METRICS = "/var/log/katib/metrics.log"
# By which Katib knows an MPIJob's pod whose end is the trial's.
LAUNCHER = {"training.kubeflow.org/job-role": "launcher"}


@dataclass(frozen=True)
class TrialWork:
    """What a trial does.

    Attributes:
        stage: The stage that it is a part of.
        prepared: Where the bundle is that it opens.
        given: NAME=VALUE of each parameter, whose value Katib fills in.
        as_given: Whether values within the budget are taken as they are; see `applied_choice`.
        image: Of its pods.
        environment: Variables, beside what Secrets hold.
        imports: Modules that it imports, each as `--import` takes it.
    """

    stage: str
    prepared: str
    given: Sequence[str]
    as_given: bool
    image: str
    environment: Mapping[str, str] = field(default_factory=dict)
    imports: Sequence[str] = ()


@dataclass(frozen=True)
class TrialJob:
    """An object without a name, which Katib gives it.

    Attributes:
        document: The object.
        succeeded: The condition that it has when it is done.
        primary_labels: Labels of the pod whose end is the trial's; empty where it has only one.
    """

    document: dict[str, Any]
    succeeded: str
    primary_labels: Mapping[str, str]


def trial_job(work: TrialWork, cluster: Cluster) -> TrialJob:
    """Builds what runs a trial.

    Args:
        work: What it does.
        cluster: Its pods are as workers' are; `trials.workers` says how many share it.
    """
    if cluster.trials.workers > 1:
        return TrialJob(_mpijob(work, cluster), "Succeeded", LAUNCHER)
    return TrialJob(_job(work, cluster), "Complete", {})


def condition(job: TrialJob) -> tuple[str, str]:
    """How Katib finds that an object has succeeded, and that it has failed."""
    found = [
        f'status.conditions.#(type=="{name}")#|#(status=="True")#' for name in (job.succeeded, "Failed")
    ]
    return found[0], found[1]


def _job(work: TrialWork, cluster: Cluster) -> dict[str, Any]:
    workers = cluster.workers
    deadline = (
        {"activeDeadlineSeconds": 60 * workers.deadline_minutes} if workers.deadline_minutes else {}
    )
    labels = {**MANAGED, STAGE_LABEL: work.stage}
    named = secrets(workers)
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"labels": {**labels, **queue_label(workers)}},
        "spec": {
            # A trial that failed is the search's to know of, not to be tried again.
            "backoffLimit": 0,
            **deadline,
            "ttlSecondsAfterFinished": workers.ttl_seconds,
            "template": {
                "metadata": {"labels": {**labels, **NO_SIDECAR}},
                "spec": {
                    "restartPolicy": "Never",
                    **without_token(cluster),
                    **pull_secrets(workers.image_pull_secrets),
                    **placement(workers),
                    "securityContext": POD_SECURITY,
                    "containers": [
                        {
                            "name": PRIMARY,
                            "image": work.image,
                            "command": ["python", "-m", "pocketkube", *_words(work, METRICS)],
                            "env": store_environment(work.environment, cluster),
                            **({"envFrom": named} if named else {}),
                            "resources": resources(workers),
                            "securityContext": CONTAINER_SECURITY,
                            "volumeMounts": mounts(workers),
                        }
                    ],
                    "volumes": volumes(workers),
                },
            },
        },
    }


def _mpijob(work: TrialWork, cluster: Cluster) -> dict[str, Any]:
    """The workers' own MPIJob: what its first rank prints becomes the launcher's file of metrics."""
    workers = cluster.workers.model_copy(
        # What is tried again, or waits for others to resume it, is the search's to say.
        update={"backoff_limit": 0, "suspend": False, "elastic": None}
    )
    shared = SharedWork(
        name="",
        stage=work.stage,
        argv=_words(work, "/dev/stdout"),
        processes=cluster.trials.workers,
        image=work.image,
        environment=work.environment,
        metrics=METRICS,
    )
    document = mpijob(shared, cluster.model_copy(update={"workers": workers}))
    return {**document, "metadata": {"labels": document["metadata"]["labels"]}}


def _words(work: TrialWork, metrics: str) -> list[str]:
    as_given = ["--as-given"] if work.as_given else []
    imports = [f"--import={word}" for word in work.imports]
    return [
        "trial",
        "--prepared",
        work.prepared,
        "--metrics",
        metrics,
        *imports,
        *as_given,
        *work.given,
    ]
