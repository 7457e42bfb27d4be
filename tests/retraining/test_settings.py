"""Settings are refused with the line and what would be right; a form gives the same."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from pocketkube.errors import UserError
from pocketkube.retraining.form import RetrainingForm, job_of
from pocketkube.retraining.lineage import version_name
from pocketkube.retraining.settings import Retraining, load_retraining
from pocketkube.spec import explain
from tests.retraining.data import SPEC, write_settings


def refusal(folder: Path, **changes: Any) -> str:
    with pytest.raises(UserError) as caught:
        load_retraining(write_settings(folder, **changes))
    return str(caught.value)


def test_places_start_from_the_files_folder(tmp_path: Path) -> None:
    job = load_retraining(write_settings(tmp_path, registry="s3://models/digits"))
    assert str(job.partitions) == str(tmp_path / "data")
    assert str(job.registry) == "s3://models/digits"
    assert job.spec.target is not None
    assert job.spec.target.speedup == 2


def test_a_spec_may_stand_in_a_file_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs" / "spec.yaml").write_text(yaml.safe_dump(SPEC))
    job = load_retraining(write_settings(tmp_path, spec="jobs/spec.yaml"))
    inside = load_retraining(write_settings(tmp_path))
    assert job.spec.model_copy(update={"dataset": None}) == inside.spec.model_copy(
        update={"dataset": None}
    )


def test_layers_of_ones_own_are_beside_the_file(tmp_path: Path) -> None:
    (tmp_path / "my_layers.py").write_text("A = 1\n")
    job = load_retraining(write_settings(tmp_path, spec=SPEC | {"imports": ["my_layers"]}))
    assert [each.source for each in job.spec.imports] == ["A = 1\n"]
    said = "retraining.yaml: spec: imports: there is no file "
    assert said in refusal(tmp_path, spec=SPEC | {"imports": ["no.py"]})


def test_mistakes_are_one_line_that_says_where(tmp_path: Path) -> None:
    said = refusal(tmp_path, drift={"max_score_drop": -1})
    assert said.startswith("retraining.yaml line ")
    assert "drift.max_score_drop: must be at least 0" in said
    assert "did you mean registry?" in refusal(tmp_path, registri="x")
    assert "spec: model:" in refusal(tmp_path, spec={"dataset": "digits", "stages": []})
    assert "digits is no file or folder" not in refusal(tmp_path, spec=SPEC | {"stages": ["prun"]})
    assert "builtin is no file or folder" in refusal(tmp_path, spec=SPEC | {"dataset": "digits"})
    text = {
        "model": "transformer_tiny",
        "dataset": {"text": "x", "languages": ["en", "de"], "vocabulary_size": 64},
    }
    said = refusal(tmp_path, spec=text | {"stages": ["quantize_dynamic"]})
    assert said.startswith("spec: dataset: text trains a tokenizer of its own on each partition")
    assert "model_registry" in refusal(tmp_path, model_registry="http://user:secret@host")
    assert "secret" not in refusal(tmp_path, registry="s3://user:secret@host/x")


def test_every_setting_is_explained() -> None:
    text = explain(Retraining)
    for name in ("partitions: (needed)", "max_score_drop: 0.02", "max_latency_growth: 0.1", "_SUCCESS"):
        assert name in text


def test_a_form_gives_the_same() -> None:
    form = {name: field.default for name, field in RetrainingForm.model_fields.items()}
    job = job_of(form | {"max_age_days": 30.0, "gate_size_growth": 0.0, "epochs": 3.0})
    assert job.settings.max_age_days == 30
    assert job.settings.gate.max_size_growth == 0
    assert job.settings.drift.max_score_drop == 0.02
    assert job.spec.dataset.npz is not None
    assert job.spec.dataset.npz.endswith("data.npz")
    assert job.spec.training.epochs == 3
    assert [stage.name for stage in job.spec.stages] == ["prune_channels", "fine_tune", "quantize_int8"]
    assert job_of(form).settings.max_age_days is None
    with pytest.raises(UserError, match="max_size_growth"):
        job_of(form | {"gate_size_growth": -1.0})
    with pytest.raises(UserError, match="dataset_kind"):
        job_of(form | {"dataset_kind": "builtin"})


def test_a_version_is_named_by_what_it_is_made_of(tmp_path: Path) -> None:
    spec = load_retraining(write_settings(tmp_path)).spec
    first = version_name("2026-11-01.npz", spec, None)
    assert first.startswith("2026-11-01-")
    assert first == version_name("2026-11-01.npz", spec, None)
    assert first != version_name("2026-11-01.npz", spec, "v1")
    assert first != version_name("2026-11-01.npz", spec.model_copy(update={"seed": 1}), None)
    elsewhere = spec.model_copy(
        update={"dataset": spec.dataset.model_copy(update={"npz": "digits.npz"})}
    )
    assert first == version_name("2026-11-01.npz", elsewhere, None)
    assert version_name("ü ./x", spec, None)[0].isalnum()
