"""`pocketkube trial` writes what Katib reads, and what it really did."""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from pocketkube.errors import UserError
from pocketkube.search.prepared import open_prepared, prepare_search
from pocketkube.search.projection import project_choice
from pocketkube.search.trial_command import run_trial
from tests.search.nets import dataset, pruning, trained


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model, task = trained()
    made = tmp_path_factory.mktemp("trial") / "bundle"
    prepare_search(model, dataset(), task, pruning(), made, with_losses=False)
    return made


def metrics(file: Path) -> dict[str, float]:
    """As Katib's collector takes a line apart; of several values the last."""
    lines = (line.split(" ")[-1].split("=") for line in file.read_text().splitlines())
    return {name: float(value) for name, value in lines}


def test_a_trial_tells_its_score_its_costs_and_what_the_budget_left(
    folder: Path, tmp_path: Path
) -> None:
    problem = open_prepared(folder).problem
    # All channels are beyond the budget; and doubles come with dust.
    given = [f"{name}={1.0000000000000002}" for name in problem.space.names]
    file, began = tmp_path / "metrics.log", time.monotonic()
    subprocess.run(
        [sys.executable, "-m", "pocketkube", "trial", "--prepared", folder, "--metrics", file, *given],
        check=True,
        capture_output=True,
    )
    assert time.monotonic() - began > 3
    found = metrics(file)
    applied = problem.space.choice({name: found[f"applied.{name}"] for name in problem.space.names})
    assert tuple(applied) == project_choice(problem, problem.space.sizes - 1).choice
    assert found["macs"] == problem.cost(applied, "macs") <= problem.limit.most
    again = open_prepared(folder, remembers=False).evaluate(applied)
    assert found["score"] == pytest.approx(again.score, abs=1e-9)


@pytest.mark.parametrize("as_given", [False, True])
def test_what_is_within_the_budget_is_taken_as_it_is_where_that_is_asked_for(
    folder: Path, tmp_path: Path, as_given: bool
) -> None:
    problem = open_prepared(folder).problem
    cheapest = problem.space.values(0 * problem.space.sizes)
    file = tmp_path / "metrics.log"
    words = [f"{name}={value!r}" for name, value in cheapest.items()]
    run_trial(str(folder), file, words, as_given=as_given)
    found = metrics(file)
    applied = {name: found[f"applied.{name}"] for name in problem.space.names}
    assert (applied == pytest.approx(cheapest)) == as_given
    assert problem.cost(problem.space.choice(applied)) <= problem.limit.most
    # Beyond it, nothing is.
    words = [f"{name}=1" for name in problem.space.names]
    run_trial(str(folder), file, words, as_given=as_given)
    assert metrics(file)["macs"] <= problem.limit.most


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["stem_conv.kept"], "NAME=VALUE"),
        (["stem_conv.kept=half"], "has to be a number"),
        (["stem_conv.kept=0.5", "stem_conv.kept=0.5"], "given twice"),
        (["stem_conv.kept=0.5"], "The search has the parameters"),
    ],
)
def test_a_wrong_assignment_is_refused(
    folder: Path, tmp_path: Path, words: list[str], said: str
) -> None:
    with pytest.raises(UserError, match=said):
        run_trial(str(folder), tmp_path / "metrics.log", words)


def test_of_several_processes_only_the_first_writes(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMPI_COMM_WORLD_RANK", "1")
    names = open_prepared(folder).problem.space.names
    half = dict.fromkeys(names, 0.5)
    run_trial(str(folder), tmp_path / "m.log", [f"{name}={value}" for name, value in half.items()])
    assert not (tmp_path / "m.log").exists()
    assert np.isfinite(open_prepared(folder).whole_score)
