"""Kubeflow's own objects in manifests/ against their projects' schemas, without a cluster."""

import pytest

from tests.kube.schemas import crd_validator, refuse_invalid
from tests.manifests.rendering import APPLIED, rendered

CRDS = {
    "MPIJob": "mpijob.v2beta1.crd.yaml",
    "Pipeline": "kfp.pipeline.v2beta1.crd.yaml",
    "PipelineVersion": "kfp.pipelineversion.v2beta1.crd.yaml",
}


@pytest.mark.parametrize("place", APPLIED)
def test_objects_are_what_their_projects_describe(place: str) -> None:
    for each in rendered(place):
        if each["kind"] in CRDS:
            refuse_invalid(each, crd_validator(CRDS[each["kind"]]))
