"""Whether Kubeflow Pipelines answers, and where it keeps its pipelines."""

from collections.abc import Iterator

from pocketkube.errors import UserError
from pocketkube.kube.doctor.finding import Finding, missing, note, right, wrong
from pocketkube.kube.doctor.kinds import has_kind
from pocketkube.kube.kfp.backend import Backend
from pocketkube.kube.session import Session

OBJECTS = ("pipelines.kubeflow.org/v2beta1", "pipelineversions")


def check_backend(backend: Backend | UserError, home: str) -> Iterator[Finding]:
    """Whether the back end answers, and how it works.

    Args:
        backend: The back end, or why there is none.
        home: The namespace that it should be in.
    """
    if isinstance(backend, UserError):
        yield wrong(
            "Kubeflow Pipelines",
            str(backend),
            f"kubectl -n {home} port-forward service/ml-pipeline 8888:8888, and then doctor with "
            "--endpoint http://localhost:8888",
        )
        return
    users = (
        f"a namespace for each user, {backend.namespace} here"
        if backend.is_multi_user
        else "for one user"
    )
    release = "" if backend.release == "unknown" else f" {backend.release}"
    yield right("Kubeflow Pipelines", f"{backend.endpoint} answers{release}, {users}")


def check_pipeline_objects(session: Session, backend: Backend) -> Iterator[Finding]:
    """Whether pipelines can be brought by kubectl."""
    are_there = has_kind(session, *OBJECTS)
    if not backend.keeps_objects:
        yield right("pipelines", "are kept in the database: pocketkube submit and upload bring them")
        if are_there:
            yield note(
                "pipelines",
                "kubectl takes Pipeline objects, which this back end never looks at",
                "bring pipelines by pocketkube upload, or run the API server with "
                "--pipelinesStoreKubernetes=true",
            )
        return
    if are_there:
        yield right(
            "pipelines", "are kept as Pipeline and PipelineVersion objects: kubectl can bring them"
        )
    else:
        yield missing(
            True,
            "pipelines",
            "should be kept as Pipeline objects, but the cluster does not know these",
            "kubectl apply -k https://github.com/kubeflow/pipelines/manifests/kustomize/env/"
            "cert-manager/platform-agnostic-k8s-native",
        )
