"""A spec is taken apart into what each task depends on, and what its pod asks for."""

import json
import subprocess
import sys
from typing import Any

import pytest

from pocketkube.errors import UserError
from pocketkube.spec.form import spec_of
from pocketkube.stages.parts import TASKS, checked_parts, parts_of
from pocketkube.stages.plan import plan

# The image of tasks is of amd64 alone; on a mixed cluster a pod without it may land anywhere.
AMD64, ARM64 = {"kubernetes.io/arch": "amd64"}, {"kubernetes.io/arch": "arm64"}


def test_every_step_has_a_task() -> None:
    assert [step.key for step in plan(spec_of({}))] == list(TASKS)
    assert [step.key for step in plan(spec_of({"number_format": "float32"}))] == list(TASKS)


def test_the_parts_are_plain_and_without_nulls() -> None:
    parts, requests = checked_parts({"max_size": 70_000, "settings": {"task": None}})
    text = json.dumps([parts._asdict(), {name: each._asdict() for name, each in requests.items()}])
    assert "null" not in text
    assert parts.file_stages == parts.stages
    assert parts_of(spec_of({})).file_stages == []


def test_pods_without_limits_ask_for_nothing() -> None:
    _, requests = checked_parts({})
    assert set(requests) == set(TASKS.values())
    for request in requests.values():
        assert request == ("0", "0", "0", AMD64, [])


def test_pods_are_those_of_the_section() -> None:
    cluster = {
        "task": {"cpu": "2", "memory": "4Gi", "node_selector": {"pool": "small"}},
        "tasks": {
            "export_litert": {"memory": "2Gi", "node_selector": ARM64},
            "2_fine_tune": {"gpus": 1.0, "tolerations": [{"key": "gpu", "operator": "Exists"}]},
        },
        "benchmark": {"node_selector": {"pool": "quiet"}},
    }
    _, requests = checked_parts({"settings": {"cluster": cluster}})
    assert requests["train_model"] == ("2", "4Gi", "0", AMD64 | {"pool": "small"}, [])
    assert requests["baseline"] == requests["result"] == ("0", "2Gi", "0", ARM64, [])
    tolerated = [{"key": "gpu", "operator": "Exists"}]
    assert requests["fine_tune"] == ("0", "0", "1", AMD64, tolerated)
    # It has the benchmark's nodes measure, and waits anywhere.
    assert requests["benchmark_litert"] == requests["train_model"]


def test_the_environments_image_is_taken_where_settings_name_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("POCKETKUBE_BENCHMARK_IMAGE", "registry/benchmark:1")
    (parts, _) = checked_parts({"settings": {"cluster": {"workers": {"slots": 2}}}})
    assert parts.training_cluster == {"workers": {"slots": 2}}
    assert parts.benchmark_cluster["benchmark_image"] == "registry/benchmark:1"
    own = {"cluster": {"object_store": {"work": "s3://own/place"}, "benchmark_image": "b:2"}}
    (parts, _) = checked_parts({"settings": own})
    assert parts.benchmark_cluster == own["cluster"]


def test_a_task_that_is_not_there_is_refused() -> None:
    with pytest.raises(UserError, match=r"^settings\.cluster\.tasks\.trian: is no step of this job"):
        checked_parts({"settings": {"cluster": {"tasks": {"trian": {"cpu": "1"}}}}})


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({"model": "lenett"}, "model: There is no network 'lenett'; did you mean lenet? Use one of"),
        ({"model": "/nowhere/net.keras"}, "model: there is no /nowhere/net.keras in the image"),
        (
            {"dataset_kind": "npz", "dataset": "/nowhere/x.npz"},
            "dataset: there is no /nowhere/x.npz in the image",
        ),
        ({"model": "s3://models/net.pb"}, "model: s3://models/net.pb is no .keras, .h5 or .hdf5 file"),
        (
            {"settings": {"distillation": {"teachers": ["/nowhere/t.keras"]}}},
            "settings.distillation.teachers: there is no /nowhere/t.keras",
        ),
        ({"model": "ftp://models/net.keras"}, "model: ftp:/… is no place that is known here"),
    ],
)
def test_what_is_not_there_is_refused(form: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError) as refusal:
        checked_parts(form)
    assert str(refusal.value).startswith(said)


def test_a_form_is_checked_without_waiting_for_tensorflow() -> None:
    script = (
        "import sys; from pocketkube.stages.parts import checked_parts; checked_parts({}); "
        "sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
