"""The namespace: whether it is there, what pods it takes, and what its quotas leave."""

from collections.abc import Iterable, Iterator

from pocketkube.kube.doctor.finding import Finding, note, right, wrong
from pocketkube.kube.doctor.needs import Needs
from pocketkube.kube.katib.experiment import INJECTION
from pocketkube.kube.objects import Kind, find, get, name_of
from pocketkube.kube.quantity import value_of
from pocketkube.kube.session import Session
from pocketkube.kube.transport import Document

ENFORCE = "pod-security.kubernetes.io/enforce"
_COUNTED = (
    *("pods", "count/pods", "count/jobs.batch", "count/mpijobs.kubeflow.org", "count/configmaps"),
    *(f"{before}{what}" for before in ("", "requests.", "limits.") for what in ("cpu", "memory")),
)


def check_namespace(session: Session, has_katib: bool, home: str) -> Iterator[Finding]:
    """Whether the namespace is there, and its labels.

    Args:
        session: The cluster, and the namespace.
        has_katib: Whether Katib is there, which asks for a label.
        home: Kubeflow's own namespace, whose pods no label of ours may keep out.
    """
    name = session.namespace
    found = get(session, Kind("v1", "Namespace"), name)
    if found is None:
        yield wrong("namespace", f"there is no {name}", f"kubectl create namespace {name}")
        return
    if found["status"].get("phase") != "Active":
        yield wrong("namespace", f"{name} is being deleted", f"kubectl get namespace {name} -o yaml")
        return
    labels = found["metadata"].get("labels", {})
    level = labels.get(ENFORCE)
    if level is None:
        yield note(
            "namespace",
            f"{name} enforces no pod security, and all our pods would pass the strictest",
            "" if name == home else f"kubectl label namespace {name} {ENFORCE}=restricted",
        )
    else:
        yield right("namespace", f"{name} enforces pod security {level}, which all our pods keep to")
    if has_katib and labels.get(INJECTION) != "enabled":
        yield note(
            "namespace",
            f"{name} has not the label {INJECTION}=enabled: Katib refuses experiments in it",
            f"kubectl label namespace {name} {INJECTION}=enabled",
        )


def check_quota(session: Session, needs: Needs) -> Iterator[Finding]:
    """Whether quotas leave room for pods, and whether pods say what quotas ask for."""
    quotas = find(session, Kind("v1", "ResourceQuota"))
    if not quotas:
        yield right("quota", f"namespace {session.namespace} has none")
        return
    defaults = _defaults(find(session, Kind("v1", "LimitRange")))
    for quota in quotas:
        yield from _quota(session.namespace, quota, needs, defaults)


def _defaults(ranges: Iterable[Document]) -> set[str]:
    """What containers get that do not say it, by the names that quotas have for it."""
    found = set()
    for limits in ranges:
        for each in limits["spec"].get("limits", ()):
            if each.get("type") == "Container":
                found |= {f"limits.{key}" for key in each.get("default", {})}
                # A default limit is a request, too.
                asked = {**each.get("default", {}), **each.get("defaultRequest", {})}
                found |= {name for key in asked for name in (key, f"requests.{key}")}
    return found


def _quota(namespace: str, quota: Document, needs: Needs, defaults: set[str]) -> Iterator[Finding]:
    name = name_of(quota)
    hard = quota.get("status", {}).get("hard") or quota["spec"].get("hard", {})
    used = quota.get("status", {}).get("used", {})
    ours = {key: most for key, most in hard.items() if key in _COUNTED}
    full = [key for key, most in ours.items() if value_of(used.get(key, "0")) >= value_of(most)]
    for key in full:
        yield wrong(
            "quota",
            f"{name} is used up: {key} {used.get(key, 0)} of {hard[key]}",
            f"kubectl -n {namespace} edit resourcequota {name}",
        )
    unsaid = [
        counted
        for key in ("cpu", "memory")
        for counted in (key, f"requests.{key}", f"limits.{key}")
        if counted in hard and counted not in defaults and not _says(needs, key)
    ]
    if unsaid:
        yield wrong(
            "quota",
            f"{name} counts {' and '.join(unsaid)}: it refuses pods that ask for none, and no "
            "LimitRange gives containers a default",
            "say in the spec, as in cluster: {task: {cpu: 2, memory: 4Gi}}",
        )
    elif not full:
        room = ", ".join(f"{key} {used.get(key, 0)} of {most}" for key, most in sorted(ours.items()))
        yield right("quota", f"{name} has room: {room or 'for all that is ours'}")


def _says(needs: Needs, key: str) -> bool:
    return all(getattr(pods, key) is not None for _, pods in needs.pods)
