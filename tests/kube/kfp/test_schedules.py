"""The file of recurring runs, and whether it fits the packages."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from pocketkube.errors import UserError
from pocketkube.kube.kfp.package import Package, Parameter
from pocketkube.kube.kfp.schedules import load_schedules
from pocketkube.kube.kfp.submission import refuse_unfit

WEEKLY = {"name": "weekly", "pipeline": "retrain", "cron": "0 0 3 * * 1"}


def load(tmp_path: Path, document: Any) -> Any:
    (tmp_path / "s.yaml").write_text(
        document if isinstance(document, str) else yaml.safe_dump(document)
    )
    return load_schedules(tmp_path / "s.yaml")


def test_what_is_left_out_has_a_default(tmp_path: Path) -> None:
    (found,) = load(tmp_path, {"schedules": [WEEKLY]})
    assert (found.catch_up, found.max_concurrency, found.enabled) == (False, 1, True)
    assert (found.parameters, found.experiment, found.service_account) == ({}, "pocketkube", "")


@pytest.mark.parametrize("document", [{"schedules": []}, {"schedules": None}])
def test_there_may_be_none(tmp_path: Path, document: Any) -> None:
    assert load(tmp_path, document) == ()


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (
            {"schedules": [{**WEEKLY, "cron": "0 3 * * 1"}]},
            r"schedules\[0\] cron: '0 3 \* \* 1' has five",
        ),
        (
            {"schedules": [WEEKLY, {**WEEKLY, "max_concurrency": 11}]},
            r"schedules\[1\] max_concurrency: must be at most 10",
        ),
        (
            {"schedules": [{**WEEKLY, "catchup": True}]},
            r"schedules\[0\] catchup: .* did you mean catch_up",
        ),
        ({"schedules": [{"name": "weekly"}]}, r"schedules\[0\] pipeline: is missing; give the p"),
        ({"schedules": [WEEKLY, WEEKLY]}, "the schedule weekly is there twice"),
        ({"schedules": ["weekly"]}, r"schedules\[0\]"),
        ({"schedules": 3}, "has to be one list"),
        ([WEEKLY], "has to be one list"),
        ("schedules: [", "is not YAML"),
    ],
)
def test_a_file_that_is_wrong(tmp_path: Path, document: Any, words: str) -> None:
    with pytest.raises(UserError, match=words):
        load(tmp_path, document)


def package(name: str, parameters: Mapping[str, Parameter]) -> Package:
    return Package(Path("a.yaml"), name, "0123", parameters, {}, ())


@pytest.mark.parametrize(
    ("schedule", "words"),
    [
        ({**WEEKLY, "pipeline": "other"}, "no package of the pipeline other is given, but of retrain"),
        ({**WEEKLY, "parameters": {"epoch": 3}}, "schedule weekly: parameter epoch: .* but epochs"),
        ({**WEEKLY, "parameters": {"epochs": "3"}}, "schedule weekly: .* not a whole number"),
    ],
)
def test_a_schedule_that_does_not_fit(tmp_path: Path, schedule: Any, words: str) -> None:
    packages = [package("retrain", {"epochs": Parameter("NUMBER_INTEGER", is_needed=False)})]
    with pytest.raises(UserError, match=words):
        refuse_unfit(packages, load(tmp_path, {"schedules": [schedule]}))
