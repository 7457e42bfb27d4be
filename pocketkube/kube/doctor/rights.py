"""What the tasks of pipelines may do on a cluster, and whether an account may do it."""

from collections.abc import Iterator
from dataclasses import dataclass

from pocketkube.kube.doctor.finding import Finding, missing, note, right, wrong
from pocketkube.kube.doctor.needs import Needs
from pocketkube.kube.failures import Refused
from pocketkube.kube.objects import Kind, get, question
from pocketkube.kube.session import Session


@dataclass(frozen=True)
class Right:
    """What may be done with objects of one kind.

    Attributes:
        group: The kind's group; empty for Kubernetes's first.
        resource: The kind, as rights name it; with a subresource, as in pods/log.
        verbs: What may be done.
    """

    group: str
    resource: str
    verbs: tuple[str, ...]

    @property
    def name(self) -> str:
        """As kubectl writes it."""
        first, slash, rest = self.resource.partition("/")
        return f"{first}.{self.group}{slash}{rest}" if self.group else self.resource


_OWN = ("create", "delete", "get")
# Of the account that tasks run as; the role in manifests/ says the same.
MPIJOBS = Right("kubeflow.org", "mpijobs", _OWN)
TRAINJOBS = Right("trainer.kubeflow.org", "trainjobs", _OWN)
JOBS = Right("batch", "jobs", _OWN)
# A search's trials run as Katib has it: it makes their objects, which are looked at.
KATIB = (
    Right("kubeflow.org", "experiments", _OWN),
    Right("kubeflow.org", "trials", ("list", "watch")),
    Right("kubeflow.org", "suggestions", ("get",)),
)
PODS = (
    Right("", "pods", ("get", "list", "watch")),
    Right("", "pods/log", ("get",)),
    Right("", "events", ("list",)),
)
RUNNER = (MPIJOBS, TRAINJOBS, JOBS, *KATIB, *PODS)


def check_rights(session: Session, needs: Needs, account: str | None) -> Iterator[Finding]:
    """Whether tasks may do what they have to.

    Args:
        session: The cluster, and the namespace.
        needs: What the tasks have to do.
        account: The service account that they run as; None for whoever asks.
    """
    if account is not None and get(session, Kind("v1", "ServiceAccount"), account) is None:
        yield wrong(
            "rights",
            f"there is no service account {account} in namespace {session.namespace}",
            f"kubectl -n {session.namespace} create serviceaccount {account}",
        )
        return
    who = account or "you"
    for each, is_needed in _needed(needs):
        try:
            refused = [verb for verb in each.verbs if not _may(session, each, verb, account)]
        except Refused as error:
            if error.status != 403:
                raise
            yield note(
                "rights",
                f"what {who} may do cannot be asked with these credentials",
                f"kubectl -n {session.namespace} auth can-i --list "
                f"--as=system:serviceaccount:{session.namespace}:{account}",
            )
            return
        if not refused:
            yield right("rights", f"{who} may {', '.join(each.verbs)} {each.name}")
            continue
        yield missing(
            is_needed,
            "rights",
            f"{who} may not {', '.join(refused)} {each.name} in namespace {session.namespace}",
            _grant(session.namespace, each, account),
        )


def _needed(needs: Needs) -> Iterator[tuple[Right, bool]]:
    yield MPIJOBS, needs.mpijobs
    yield TRAINJOBS, needs.trainjobs
    yield JOBS, needs.jobs
    for each in KATIB:
        yield each, needs.experiments
    for each in PODS:
        yield each, needs.mpijobs or needs.trainjobs or needs.jobs or needs.experiments


def _may(session: Session, wanted: Right, verb: str, account: str | None) -> bool:
    resource, _, subresource = wanted.resource.partition("/")
    attributes = {
        "namespace": session.namespace,
        "verb": verb,
        "group": wanted.group,
        "resource": resource,
        "subresource": subresource,
    }
    review = "SubjectAccessReview" if account else "SelfSubjectAccessReview"
    document = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": review,
        "spec": {
            "resourceAttributes": attributes,
            **(_subject(session.namespace, account) if account else {}),
        },
    }
    return bool(question(session, document)["status"]["allowed"])


def _subject(namespace: str, account: str) -> dict[str, object]:
    groups = ["system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated"]
    return {"user": f"system:serviceaccount:{namespace}:{account}", "groups": groups}


def _grant(namespace: str, wanted: Right, account: str | None) -> str:
    name = f"pocketkube-{wanted.resource.replace('/', '-')}"
    verbs = ",".join(wanted.verbs)
    whom = f"--serviceaccount={namespace}:{account}" if account else "--user=YOU"
    return (
        f"kubectl -n {namespace} create role {name} --verb={verbs} --resource={wanted.name} && "
        f"kubectl -n {namespace} create rolebinding {name} --role={name} {whom}"
    )
