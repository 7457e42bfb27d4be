"""What a trial runs: the command of the template's primary container, with the trial's values."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pocketkube.errors import UserError
from pocketkube.search.local_katib.experiment import Experiment

METADATA = re.compile(r"\$\{trialSpec\.(?P<key>\w+)(\[(?P<index>.+)\])?\}")


@dataclass(frozen=True)
class Command:
    """What a trial runs.

    Attributes:
        words: Program and arguments.
        environment: The container's own variables.
        taken: Variables that a cluster's secrets, config maps or pods give: they are taken from the
            environment here.
        folder: The container's working folder; empty where it names none.
    """

    words: tuple[str, ...]
    environment: Mapping[str, str]
    taken: tuple[str, ...]
    folder: str


def command_of(experiment: Experiment, trial: str, assignment: Mapping[str, str]) -> Command:
    """What a trial runs.

    Args:
        experiment: Holds the template.
        trial: The trial's name.
        assignment: The value of each parameter.

    Raises:
        UserError: If a value breaks the template, as a quotation mark does.
    """
    values = {
        name: assignment[reference]
        if reference in assignment
        else _metadata(experiment, trial, reference)
        for name, reference in experiment.template.parameters.items()
    }
    text = json.dumps(experiment.template.spec)
    for name, value in values.items():
        # As it is, without escaping, as Katib does.
        text = text.replace(f"${{trialParameters.{name}}}", value)
    try:
        spec = json.loads(text)
    except ValueError:
        raise UserError(
            f"trial {trial}: its values leave the template unreadable, as quotation marks do: {values}."
        ) from None
    primary = experiment.template.container
    return _command(next(each for each in containers_of(spec) if each["name"] == primary))


def containers_of(spec: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """The containers of a Job's pod, or of an MPIJob's launcher; empty where there are none."""
    here: Any = spec
    pods = ("mpiReplicaSpecs", "Launcher") if spec.get("kind") == "MPIJob" else ()
    for step in ("spec", *pods, "template", "spec", "containers"):
        here = here.get(step) if isinstance(here, Mapping) else None
    return [each for each in here if isinstance(each, Mapping)] if isinstance(here, list) else []


def _command(container: Mapping[str, Any]) -> Command:
    variables = [each for each in container.get("env") or [] if isinstance(each, Mapping)]
    environment: dict[str, str] = {}
    for each in variables:
        if "valueFrom" not in each:
            environment[str(each.get("name"))] = _expanded(str(each.get("value") or ""), environment)
    words = [*(container.get("command") or []), *(container.get("args") or [])]
    return Command(
        tuple(_expanded(str(word), environment) for word in words),
        environment,
        tuple(str(each.get("name")) for each in variables if "valueFrom" in each),
        str(container.get("workingDir") or ""),
    )


def _expanded(text: str, environment: Mapping[str, str]) -> str:
    """With $(NAME) as Kubernetes puts a variable in its place; $$ is a dollar before a bracket."""
    return re.sub(
        r"\$\$|\$\(([-._a-zA-Z][-._a-zA-Z0-9]*)\)",
        lambda found: "$" if found[1] is None else environment.get(found[1], found[0]),
        text,
    )


def _metadata(experiment: Experiment, trial: str, reference: str) -> str:
    found = METADATA.fullmatch(reference)
    assert found is not None
    return metadata_value(experiment.template.spec, found["key"], found["index"]) or {
        "Name": trial,
        "Namespace": experiment.namespace,
    }.get(found["key"], "")


def metadata_value(spec: Mapping[str, Any], key: str, index: str | None) -> str | None:
    """Metadata that the template itself gives; None where it gives none.

    Args:
        spec: The Job or MPIJob.
        key: "Kind", "APIVersion", "Labels" or "Annotations".
        index: Which label or annotation.
    """
    if index is not None:
        values = (spec.get("metadata") or {}).get(key.lower()) or {}
        return str(values[index]) if index in values else None
    return {"Kind": spec.get("kind"), "APIVersion": spec.get("apiVersion")}.get(key)
