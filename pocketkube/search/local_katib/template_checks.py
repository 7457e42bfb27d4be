"""What Katib's webhook, or this machine, would refuse of a trial template."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from pocketkube.search.local_katib.document import Problem, Steps
from pocketkube.search.local_katib.template import METADATA, containers_of, metadata_value

if TYPE_CHECKING:
    from kubeflow_katib_api.models import V1beta1ExperimentSpec, V1beta1TrialTemplate

PLACE: Steps = ("spec", "trialTemplate")


def template_problems(spec: "V1beta1ExperimentSpec") -> Iterator[Problem]:
    """What is wrong with the trial template.

    Args:
        spec: The experiment's.
    """
    template = spec.trial_template
    if template is None:
        yield Problem(PLACE, "is missing")
        return
    if template.config_map is not None:
        yield Problem(
            (*PLACE, "configMap"),
            "a template in a cluster's ConfigMap is not read; write it below trialSpec",
        )
        return
    if not template.primary_container_name:
        yield Problem((*PLACE, "primaryContainerName"), "is missing")
    if not template.trial_spec:
        yield Problem((*PLACE, "trialSpec"), "is missing")
        return
    if not template.trial_parameters:
        yield Problem((*PLACE, "trialParameters"), "is missing")
    yield from _parameter_problems(spec, template)
    yield from _job_problems(template, template.trial_spec)


def _parameter_problems(
    spec: "V1beta1ExperimentSpec", template: "V1beta1TrialTemplate"
) -> Iterator[Problem]:
    text = json.dumps(template.trial_spec)
    names = {each.name for each in spec.parameters or []}
    seen: set[str] = set()
    for index, each in enumerate(template.trial_parameters or []):
        here = (*PLACE, "trialParameters", index)
        name, reference = each.name or "", each.reference or ""
        if not name or not reference or set("{}") & set(name):
            yield Problem(here, "needs a reference, and a name without { or }")
            continue
        if {f"name {name}", f"reference {reference}"} & seen:
            yield Problem(here, f"the name {name} or the reference {reference} is given twice")
        seen |= {f"name {name}", f"reference {reference}"}
        if found := METADATA.fullmatch(reference):
            if not _is_known(template.trial_spec or {}, found["key"], found["index"]):
                yield Problem((*here, "reference"), f"the template has no {reference}")
        elif reference not in names:
            yield Problem(
                (*here, "reference"),
                f"{reference} is none of the parameters {', '.join(map(str, names))}",
            )
        placeholder = f"${{trialParameters.{name}}}"
        if placeholder not in text:
            yield Problem((*here, "name"), f"{placeholder} does not stand in trialSpec")
        text = text.replace(placeholder, "")
    if left := sorted({*re.findall(r"\$\{trialParameters\..+?\}", text)}):
        yield Problem((*PLACE, "trialSpec"), f"{', '.join(left)}: no such trialParameters")
    for name in sorted(map(str, names)):
        if f"reference {name}" not in seen:
            yield Problem(
                (*PLACE, "trialParameters"),
                f"none refers to the parameter {name}: Katib would start no trial",
            )


def _is_known(spec: Mapping[str, Any], key: str, index: str | None) -> bool:
    if key in ("Name", "Namespace"):
        return index is None
    return metadata_value(spec, key, index) is not None


def _job_problems(template: "V1beta1TrialTemplate", spec: Mapping[str, Any]) -> Iterator[Problem]:
    place = (*PLACE, "trialSpec")
    version, kind = str(spec.get("apiVersion")), spec.get("kind")
    is_job = (version, kind) == ("batch/v1", "Job")
    if not is_job and not (version.startswith("kubeflow.org/") and kind == "MPIJob"):
        yield Problem(
            (*place, "kind"),
            "trials are run on one machine of a Job (batch/v1) or an MPIJob (kubeflow.org/v2beta1); "
            f"received {kind} ({version})",
        )
        return
    for key in ("name", "namespace"):
        if (spec.get("metadata") or {}).get(key):
            yield Problem((*place, "metadata", key), "must be left out: Katib sets it")
    found = [
        each for each in containers_of(spec) if each.get("name") == template.primary_container_name
    ]
    if not found:
        where = "the launcher of trialSpec" if kind == "MPIJob" else "trialSpec"
        yield Problem(
            (*PLACE, "primaryContainerName"),
            f"{where} has no container {template.primary_container_name}; it has "
            f"{', '.join(str(each.get('name')) for each in containers_of(spec)) or 'none'}",
        )
        return
    for key in ("command", "args"):
        words = found[0].get(key) or []
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            yield Problem((*place, "spec"), f"{key} must be a list of texts; received {words!r:.60}")
    if not found[0].get("command"):
        yield Problem(
            (*place, "spec"),
            f"the container {template.primary_container_name} needs a command: images are not used",
        )
