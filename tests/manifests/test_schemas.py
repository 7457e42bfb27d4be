"""Kubeflow's own objects in manifests/ against their projects' schemas, without a cluster."""

import jsonschema
import pytest

from tests.manifests.rendering import APPLIED, rendered
from tests.manifests.schemas import schema_of

KINDS = {"MPIJob": "v2beta1", "Pipeline": "v2beta1", "PipelineVersion": "v2beta1"}


@pytest.mark.parametrize("place", APPLIED)
def test_objects_are_what_their_projects_describe(place: str) -> None:
    for each in rendered(place):
        if each["kind"] in KINDS:
            assert each["apiVersion"].endswith(KINDS[each["kind"]])
            jsonschema.validate(each, schema_of(each["kind"], KINDS[each["kind"]]))


def test_a_misspelt_field_is_found() -> None:
    [job] = [each for each in rendered("examples") if each["kind"] == "MPIJob"]
    wrong = job | {"spec": job["spec"] | {"slotsPerWorkers": 1}}
    with pytest.raises(jsonschema.ValidationError, match="slotsPerWorkers"):
        jsonschema.validate(wrong, schema_of("MPIJob", "v2beta1"))
