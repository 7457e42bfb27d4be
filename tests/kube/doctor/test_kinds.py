"""Which kinds are told to be there, of an API server that has some of them."""

from dataclasses import replace
from typing import Any

import pytest

from pocketkube.kube.doctor import kinds
from pocketkube.kube.doctor.needs import Needs, usual_needs
from pocketkube.kube.failures import Refused
from pocketkube.kube.session import Session
from pocketkube.kube.transport import ApiServer, Request


@pytest.fixture
def sentences(monkeypatch: pytest.MonkeyPatch) -> Any:
    """What is found of each kind, where the API server has these."""

    def found(served: dict[str, list[str]], needs: Needs | None = None) -> dict[str, str]:
        def ask(server: ApiServer, request: Request) -> dict[str, Any]:
            version = request.path.removeprefix("/apis").strip("/")
            if not version:
                groups: dict[str, list[dict[str, str]]] = {}
                for each in served:
                    group, _, name = each.partition("/")
                    groups.setdefault(group, []).append({"version": name})
                return {"groups": [{"name": name, "versions": v} for name, v in groups.items()]}
            if version not in served:
                raise Refused(request.what, 404, "NotFound", "there is none")
            return {"resources": [{"name": plural} for plural in served[version]]}

        monkeypatch.setattr(kinds, "ask", ask)
        session = Session(ApiServer("https://cluster", None), "here")
        checked = kinds.check_kinds(session, needs or usual_needs())
        return {each.subject: f"{each.level.value}: {each.sentence}" for each in checked}

    return found


def test_a_version_of_other_kinds_of_the_group_is_not_named(sentences: Any) -> None:
    found = sentences({"kubeflow.org/v2beta1": ["mpijobs"]})
    assert found["mpijobs.kubeflow.org"].startswith("right: v2beta1 is there")
    assert (
        "experiments, suggestions, trials v1beta1: not there; for" in found["experiments.kubeflow.org"]
    )


def test_another_version_of_the_kind_is_named(sentences: Any) -> None:
    found = sentences({"kubeflow.org/v1": ["mpijobs"], "kubeflow.org/v1beta1": ["experiments"]})
    assert "mpijobs v2beta1: not there (but v1); for" in found["mpijobs.kubeflow.org"]
    assert "suggestions, trials v1beta1: not there; for" in found["experiments.kubeflow.org"]


def test_the_mpi_operator_is_needed_by_a_job_that_starts_mpijobs(sentences: Any) -> None:
    assert sentences({})["mpijobs.kubeflow.org"].startswith("note: ")
    needs = replace(usual_needs(), mpijobs=True)
    assert sentences({}, needs)["mpijobs.kubeflow.org"].startswith("wrong: ")


def test_katib_is_needed_by_a_search_whose_trials_are_its(sentences: Any) -> None:
    assert sentences({})["experiments.kubeflow.org"].startswith("note: ")
    needs = replace(usual_needs(), experiments=True)
    assert sentences({}, needs)["experiments.kubeflow.org"].startswith("wrong: ")
