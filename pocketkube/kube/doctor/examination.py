"""All looks at a cluster, one after the other."""

import os
from collections.abc import Iterator
from dataclasses import dataclass

from pocketkube.errors import UserError
from pocketkube.kube.doctor.finding import Finding, Level, looked_at
from pocketkube.kube.doctor.images import check_images
from pocketkube.kube.doctor.katib import check_katib, has_katib
from pocketkube.kube.doctor.kinds import check_kinds, check_version
from pocketkube.kube.doctor.namespaces import check_namespace, check_quota
from pocketkube.kube.doctor.needs import Needs
from pocketkube.kube.doctor.nodes import check_nodes
from pocketkube.kube.doctor.object_store import check_pipeline_root, check_task_store
from pocketkube.kube.doctor.pipelines import check_backend, check_pipeline_objects
from pocketkube.kube.doctor.rights import check_rights
from pocketkube.kube.kfp.backend import Backend
from pocketkube.kube.session import Session


@dataclass(frozen=True)
class Question:
    """What to look at.

    Attributes:
        session: The cluster, and the namespace that runs are in.
        needs: What a job needs of it.
        backend: Its Kubeflow Pipelines, or why it was not reached.
        home: The namespace that Kubeflow itself is in.
        account: The service account of tasks, whose rights are asked for; None for one's own.
        tries_images: Whether a pod of each image is started.
    """

    session: Session
    needs: Needs
    backend: Backend | UserError
    home: str
    account: str | None
    tries_images: bool


def examine(asked: Question) -> Iterator[Finding]:
    """Looks at a cluster; what is found comes as it is found."""
    session, needs, backend = asked.session, asked.needs, asked.backend
    yield from looked_at("API server", lambda: check_version(session))
    yield from looked_at("kinds", lambda: check_kinds(session, needs))
    yield from check_backend(backend, asked.home)
    if isinstance(backend, Backend):
        yield from looked_at("pipelines", lambda: check_pipeline_objects(session, backend))
    yield from looked_at("namespace", lambda: check_namespace(session, has_katib(session), asked.home))
    yield from looked_at("quota", lambda: check_quota(session, needs))
    yield from looked_at("rights", lambda: check_rights(session, needs, asked.account))
    yield from looked_at("pipeline root", lambda: check_pipeline_root(session))
    yield from looked_at("tasks' S3 server", lambda: check_task_store(session, needs))
    yield from looked_at("nodes", lambda: check_nodes(session, needs))
    if has_katib(session):
        yield from looked_at("Katib", lambda: check_katib(session, asked.home))
    if asked.tries_images:
        image = os.environ.get("POCKETKUBE_IMAGE", DEFAULT_IMAGE)
        yield from looked_at("images", lambda: check_images(session, needs, image))


def is_wrong(finding: Finding) -> bool:
    """Whether something that is needed is not right."""
    return finding.level is Level.WRONG


# As components/ have it.
DEFAULT_IMAGE = "pocketkube:0.1.0"
