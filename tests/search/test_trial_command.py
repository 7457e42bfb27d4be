"""`pocketkube trial` writes what Katib reads, and what it really did."""

import shlex
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from pocketkube.bundle import load_model
from pocketkube.errors import UserError
from pocketkube.importing import import_all
from pocketkube.search.between_steps import OnScore
from pocketkube.search.evaluation import Evaluated, Evaluator
from pocketkube.search.prepared import open_prepared, prepare_search
from pocketkube.search.projection import project_choice
from pocketkube.search.trial_command import run_trial
from pocketkube.search.worker import evaluate
from pocketkube.spec.own_code import read_import
from pocketkube.training.task import infer_task
from tests.own_modules import as_before, save_network
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
        (["stem_conv.kept=nan"], "stem_conv.kept has to be a number; received nan"),
        (["stem_conv.kept=-inf"], "stem_conv.kept has to be a number; received -inf"),
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


def test_a_trial_that_diverged_fails_whatever_it_told_before(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def diverged(self: Evaluator, choice: object, on_score: OnScore) -> Evaluated:
        on_score(0.5)
        return Evaluated(float("nan"), {}, 0.0)

    monkeypatch.setattr(Evaluator, "evaluate", diverged)
    words = [f"{name}=0.5" for name in open_prepared(folder).problem.space.names]
    with pytest.raises(UserError, match="score is no number"):
        run_trial(str(folder), tmp_path / "m.log", words)
    assert metrics(tmp_path / "m.log")["score"] == 0.5


def test_of_several_processes_only_the_first_writes(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMPI_COMM_WORLD_RANK", "1")
    names = open_prepared(folder).problem.space.names
    half = dict.fromkeys(names, 0.5)
    run_trial(str(folder), tmp_path / "m.log", [f"{name}={value}" for name, value in half.items()])
    assert not (tmp_path / "m.log").exists()
    assert np.isfinite(open_prepared(folder).whole_score)


def test_a_trial_opens_a_network_with_layers_of_ones_own(tmp_path: Path) -> None:
    file = save_network(tmp_path, size=12)
    prepared, spec = tmp_path / "bundle", read_import("my_layers", tmp_path)
    with as_before():
        import_all([spec])
        model = load_model(file)
        task = infer_task(model, 10)
        problem = prepare_search(model, dataset(), task, pruning(), prepared, with_losses=False)
        # The processes of a search that are its own: what they are asked holds the code.
        request = {"prepared": str(prepared), "choice": [0] * len(problem.space.names), "parallel": 1}
        asked = evaluate({**request, "imports": [spec.model_dump()]})
    values = problem.space.values(0 * problem.space.sizes)
    words = [f"{name}={value!r}" for name, value in values.items()]
    command = ["trial", "--prepared", prepared, "--metrics", tmp_path / "m.log", "--as-given", *words]
    # The word as Katib's template has it, which goes through a shell.
    line = shlex.join([sys.executable, "-m", "pocketkube", *map(str, command)])
    subprocess.run(
        f"{line} --import={spec.word()}",
        shell=True,
        cwd=tmp_path.parent,
        check=True,
        capture_output=True,
    )
    assert metrics(tmp_path / "m.log")["score"] == pytest.approx(asked["score"], abs=1e-6)
