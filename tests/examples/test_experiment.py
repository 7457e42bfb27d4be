"""The example of a Katib experiment is one that Katib takes, and runs here."""

from pathlib import Path

import yaml

from pocketkube.search.local_katib import run_experiment
from tests.kube.schemas import katib_validator, refuse_invalid

EXAMPLE = Path(__file__).parents[2] / "examples" / "katib" / "experiment.yaml"


def test_the_example_is_what_katibs_schema_says() -> None:
    refuse_invalid(yaml.safe_load(EXAMPLE.read_text()), katib_validator("v1beta1.Experiment"))


def test_the_example_runs(tmp_path: Path) -> None:
    document = yaml.safe_load(EXAMPLE.read_text())
    document["spec"] |= {"maxTrialCount": 2, "maxFailedTrialCount": 1}
    path = tmp_path / "experiment.yaml"
    path.write_text(yaml.safe_dump(document))
    (tmp_path / "trial.py").symlink_to(EXAMPLE.with_name("trial.py"))
    notes: list[str] = []
    result = run_experiment(path, tmp_path / "out", notes.append)
    assert [trial.state for trial in result.trials] == ["Succeeded"] * 2
    assert all({"accuracy", "loss"} == set(trial.metrics) for trial in result.trials)
    assert not any("live for 3 s" in note for note in notes)
