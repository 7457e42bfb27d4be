"""Starts runs of a pipeline's version."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pocketkube.kube.kfp.backend import Backend
from pocketkube.kube.kfp.versions import Version, id_of_named, named

EXPERIMENT = "pocketkube"


@dataclass(frozen=True)
class Run:
    """A run that was started.

    Attributes:
        run_id: Its id.
        name: What it is called.
        link: Its page.
    """

    run_id: str
    name: str
    link: str


def start_run(
    backend: Backend,
    version: Version,
    arguments: Mapping[str, Any],
    name: str,
    experiment: str = EXPERIMENT,
    service_account: str = "",
) -> Run:
    """Starts a run; twice is two runs.

    Args:
        backend: Where.
        version: Of which pipeline.
        arguments: Values of the pipeline's parameters; the others have their defaults.
        name: What people call it.
        experiment: The group of runs that it is shown in.
        service_account: What its pods run as; the back end's default if empty.

    Raises:
        UserError: If the back end is away or refuses.
    """
    document = {
        "display_name": name,
        "experiment_id": experiment_id(backend, experiment),
        "service_account": service_account,
        **what_runs(version, arguments),
    }
    made = backend.ask(f"a run of {version.pipeline}", "POST", "/runs", body=document)
    return run_of(backend, str(made["run_id"]), name)


def run_of(backend: Backend, run_id: str, name: str) -> Run:
    """A run, with its link."""
    return Run(run_id, name, f"{backend.ui}/#/runs/details/{run_id}")


def what_runs(version: Version, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """What runs and recurring runs say of their pipeline."""
    reference = {"pipeline_id": version.pipeline_id, "pipeline_version_id": version.version_id}
    return {
        # Without both ids a back end runs the newest version, or none.
        "pipeline_version_reference": reference,
        "runtime_config": {"parameters": dict(arguments)},
    }


def experiment_id(backend: Backend, name: str) -> str:
    """The id of an experiment, which is made where there is none."""
    what, path = f"experiment {name}", "/experiments"
    document = {"display_name": name, "namespace": backend.namespace}
    return id_of_named(
        backend,
        what,
        path,
        ("experiments", "experiment_id"),
        {"filter": named(name), "namespace": backend.namespace},
        lambda: backend.ask(what, "POST", path, body=document),
    )[0]
