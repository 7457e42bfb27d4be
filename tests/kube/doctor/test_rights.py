"""doctor asks for the rights that the manifests give: no fewer, and no more."""

from pathlib import Path

import yaml

from pocketkube.kube.doctor.rights import RUNNER

ACCOUNTS = Path(__file__).parents[3] / "manifests" / "base" / "accounts.yaml"


def test_the_role_of_tasks_is_what_doctor_asks_for() -> None:
    documents = yaml.safe_load_all(ACCOUNTS.read_text())
    (role,) = (
        each
        for each in documents
        if each["kind"] == "Role" and each["metadata"]["name"] == "pocketkube-runner"
    )
    given = {
        (group, resource, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    asked = {(each.group, each.resource, verb) for each in RUNNER for verb in each.verbs}
    assert asked == given
