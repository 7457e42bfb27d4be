"""What Katib has to be told before it searches with MPIJobs and with our algorithms."""

from collections.abc import Iterator

import yaml

from pocketkube.kube.doctor.finding import Finding, note, right
from pocketkube.kube.doctor.kinds import has_kind
from pocketkube.kube.katib.experiment import OUR_ALGORITHMS
from pocketkube.kube.objects import CONFIG_MAP, get
from pocketkube.kube.session import Session
from pocketkube.spec.searched import OURS_UNDER_KATIB

CONFIG, KEY = "katib-config", "katib-config.yaml"
MPIJOBS = "MPIJob.v2beta1.kubeflow.org"
ALGORITHMS = tuple(f"{OUR_ALGORITHMS}{name}" for name in OURS_UNDER_KATIB)


def has_katib(session: Session) -> bool:
    """Whether Katib is on the cluster."""
    return has_kind(session, "kubeflow.org/v1beta1", "experiments")


def check_katib(session: Session, home: str) -> Iterator[Finding]:
    """Whether Katib is told of MPIJobs and of our algorithms.

    Args:
        session: The cluster.
        home: The namespace that Katib itself is in.
    """
    document = get(session.within(home), CONFIG_MAP, CONFIG)
    if document is None:
        yield note(
            "Katib",
            f"there is no ConfigMap {CONFIG} in namespace {home}",
            "name Katib's namespace by --kubeflow",
        )
        return
    yield from katib_findings(document.get("data", {}).get(KEY, ""), home)


def katib_findings(text: str, home: str) -> Iterator[Finding]:
    """What Katib's configuration lacks.

    Args:
        text: Its file.
        home: The namespace that it is in.
    """
    edit = f"kubectl -n {home} edit configmap {CONFIG}"
    restart = f"kubectl -n {home} rollout restart deployment katib-controller"
    try:
        config = yaml.safe_load(text)
        resources = config["init"]["controller"].get("trialResources") or []
        algorithms = [each["algorithmName"] for each in config["runtime"].get("suggestions") or []]
        secured = bool(config["init"]["controller"].get("injectSecurityContext"))
    except (yaml.YAMLError, LookupError, TypeError, AttributeError):
        yield note("Katib", f"{CONFIG} is not of a form that is known here", edit)
        return
    if MPIJOBS in resources:
        yield right("Katib", f"takes {MPIJOBS} as trials")
    else:
        yield note(
            "Katib",
            f"does not take {MPIJOBS} as trials",
            f"{edit} (init.controller.trialResources: add {MPIJOBS}) && {restart}",
        )
    if unknown := [name for name in ALGORITHMS if name not in algorithms]:
        lacking = " and ".join(unknown)
        yield note("Katib", f"does not know the algorithms {lacking}", f"{edit} (runtime.suggestions)")
    else:
        yield right("Katib", f"knows the algorithms {' and '.join(ALGORITHMS)}")
    if not secured:
        yield note(
            "Katib",
            "its sidecars are refused in namespaces of pod security restricted",
            f"{edit} (init.controller.injectSecurityContext: true) && {restart}",
        )
