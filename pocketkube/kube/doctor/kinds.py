"""The API server's version, and the kinds of objects that it knows."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pocketkube.kube.doctor.finding import Finding, missing, right, wrong
from pocketkube.kube.doctor.needs import Needs
from pocketkube.kube.failures import Refused
from pocketkube.kube.objects import Kind, get
from pocketkube.kube.session import Session
from pocketkube.kube.transport import Request, ask

# The first that enforces pod security by labels of namespaces.
OLDEST = (1, 25)


@dataclass(frozen=True)
class _Wanted:
    version: str
    plurals: tuple[str, ...]
    what_for: str
    remedy: str


_RUNTIMES = "clustertrainingruntimes"
_MPI_OPERATOR = (
    "https://raw.githubusercontent.com/kubeflow/mpi-operator/v0.6.0/deploy/v2beta1/mpi-operator.yaml"
)
_MPIJOBS = _Wanted(
    "kubeflow.org/v2beta1",
    ("mpijobs",),
    "training shared among workers (launcher: mpijob)",
    f"kubectl apply --server-side -f {_MPI_OPERATOR}",
)
_TRAINJOBS = _Wanted(
    "trainer.kubeflow.org/v1alpha1",
    ("trainjobs", _RUNTIMES),
    "training shared among workers (launcher: trainjob)",
    "kubectl apply --server-side -k https://github.com/kubeflow/trainer.git/manifests/overlays/manager",
)
_KATIB = _Wanted(
    "kubeflow.org/v1beta1",
    ("experiments", "suggestions", "trials"),
    "searching with Katib",
    "kubectl apply -k 'https://github.com/kubeflow/katib.git/manifests/v1beta1/installs/katib-standalone'",
)
_WORKFLOWS = _Wanted(
    "argoproj.io/v1alpha1",
    ("workflows",),
    "all runs of Kubeflow Pipelines",
    "install Kubeflow Pipelines: https://www.kubeflow.org/docs/components/pipelines/operator-guides/installation",
)
_RECURRING = _Wanted(
    "kubeflow.org/v1beta1",
    ("scheduledworkflows",),
    "recurring runs",
    _WORKFLOWS.remedy,
)


_RUNTIME = Kind(_TRAINJOBS.version, "ClusterTrainingRuntime")


def check_version(session: Session) -> Iterator[Finding]:
    """Whether the API server is new enough."""
    found = ask(session.server, Request("the version", "GET", "/version"))
    version = str(found.get("gitVersion"))
    numbers = re.match(r"v(\d+)\.(\d+)", version)
    if numbers and (int(numbers[1]), int(numbers[2])) < OLDEST:
        yield wrong(
            "API server",
            f"{version} is older than 1.{OLDEST[1]}",
            "upgrade the cluster, one release at a time",
        )
    else:
        yield right("API server", f"{version} at {session.server.url}")


def check_kinds(session: Session, needs: Needs) -> Iterator[Finding]:
    """Whether the kinds that are needed are there, in versions that are known here."""
    groups = _groups(session)
    for wanted, is_needed in (
        (_WORKFLOWS, True),
        (_RECURRING, False),
        (_MPIJOBS, needs.mpijobs),
        (_TRAINJOBS, needs.trainjobs),
        (_KATIB, needs.experiments),
    ):
        yield _kind(session, wanted, is_needed, groups)
    if needs.trainjobs and has_kind(session, _TRAINJOBS.version, _RUNTIMES):
        yield _runtime(session, needs.cluster.runtime)


def _runtime(session: Session, name: str) -> Finding:
    """Whether there is what TrainJobs are made from."""
    if get(session, _RUNTIME, name) is not None:
        return right("training runtime", f"{name} is there")
    return wrong(
        "training runtime",
        f"there is no ClusterTrainingRuntime {name}, from which TrainJobs are made",
        "kubectl apply --server-side -k manifests/trainer",
    )


def has_kind(session: Session, version: str, plural: str) -> bool:
    """Whether the API server knows a kind, by the name of its objects."""
    return plural in _plurals(session, version)


def _kind(
    session: Session, wanted: _Wanted, is_needed: bool, groups: Mapping[str, tuple[str, ...]]
) -> Finding:
    group, _, version = wanted.version.partition("/")
    subject = f"{wanted.plurals[0]}.{group}"
    there = _plurals(session, wanted.version)
    absent = [plural for plural in wanted.plurals if plural not in there]
    if not absent:
        return right(subject, f"{version} is there, for {wanted.what_for}")
    # Groups are shared: another version may be of other kinds alone.
    others = [
        each
        for each in groups.get(group, ())
        if each != version and absent[0] in _plurals(session, f"{group}/{each}")
    ]
    known = f" (but {', '.join(others)})" if others else ""
    sentence = f"{', '.join(absent)} {version}: not there{known}; for {wanted.what_for}"
    return missing(is_needed, subject, sentence, wanted.remedy)


def _groups(session: Session) -> dict[str, tuple[str, ...]]:
    found = ask(session.server, Request("the groups of kinds", "GET", "/apis"))
    return {each["name"]: tuple(v["version"] for v in each["versions"]) for each in found["groups"]}


def _plurals(session: Session, version: str) -> set[str]:
    try:
        found = ask(session.server, Request(f"the kinds of {version}", "GET", f"/apis/{version}"))
    except Refused as refused:
        if refused.status != 404:
            raise
        return set()
    return {each["name"] for each in found["resources"]}
