"""What a search found is a small file, from which pruning counts as many channels as the search did."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from pocketkube.errors import UserError
from pocketkube.pruning.allocation import counts_from_ratios
from pocketkube.search.comparison import run_facts
from pocketkube.search.facts import best_of, best_so_far, front_of
from pocketkube.search.ratios import Ratios, ratios_of, read_ratios, write_ratios
from pocketkube.search.trial import Trial
from tests.search.synthetic import chain, residual, synthetic

NETWORKS = [
    synthetic(network=residual(2, width=24), tied=3),
    synthetic(network=chain(3, size=37, step=8, least=3)),
    synthetic(network=chain(3, size=1000, step=1, least=1)),
]


@settings(max_examples=50, deadline=None)
@given(st.sampled_from(NETWORKS), st.integers(0, 2**32 - 1))
def test_pruning_by_the_ratios_keeps_what_the_search_did(known, seed: int) -> None:
    problem = known.problem
    choice = np.random.default_rng(seed).integers(problem.space.sizes)
    ratios = ratios_of(problem, tuple(map(int, choice))).prune_channels
    counts = counts_from_ratios(problem.network, ratios, [1] * len(problem.network.groups))
    assert counts.tolist() == problem.counts(choice[None])[0].tolist()
    assert set(ratios) == {group.name for group in problem.network.groups}


def test_the_file_is_plain_and_can_be_edited(tmp_path: Path) -> None:
    problem = synthetic(2, decides=("kept", "sparsity", "bits")).problem
    file = tmp_path / "ratios.yaml"
    write_ratios(file, ratios_of(problem, (0, 6, 0, 4, 2, 0)))
    text = file.read_text()
    assert text.startswith("# Found by pocketkube search")
    assert yaml.safe_load(text) == {
        "prune_channels": {"conv0": 0.75, "conv1": 0.0},
        "sparsify_weights": {"conv0": 0.9, "conv1": 0.0},
        "quantize_weights": {"conv0": 4, "conv1": 2},
    }
    file.write_text(text.replace("0.75", "0.5"))
    assert read_ratios(file).prune_channels == {"conv0": 0.5, "conv1": 0.0}
    write_ratios(file, Ratios(quantize_weights={"a": 3}))
    assert yaml.safe_load(file.read_text()) == {"quantize_weights": {"a": 3}}
    file.write_text("quantize_weights:\n  a: 9\n")
    with pytest.raises(UserError, match=r"^ratios.yaml line 2: quantize_weights.a: must be at most 8"):
        read_ratios(file)


def done(number: int, score: float, macs: float) -> Trial:
    return Trial(number, (number % 7,), "done", score, {"macs": macs})


def test_the_best_is_the_cheapest_of_the_best_and_none_beats_the_front() -> None:
    rng = np.random.default_rng(0)
    trials = [done(n, float(rng.integers(6)), float(rng.integers(6))) for n in range(40)]
    trials[3] = Trial(3, (3,), "failed")
    most = max(trial.score for trial in trials if trial.score is not None)
    of_score = [trial for trial in trials if trial.score == most]
    assert len(of_score) > 2
    unforeseen = synthetic(1, part=1.0, with_losses=False).problem
    assert best_of(unforeseen, trials).costs["macs"] == min(t.costs["macs"] for t in of_score)
    foreseen = replace(unforeseen, losses=(tuple(map(float, range(7))),))
    assert best_of(foreseen, trials).number % 7 == min(t.number % 7 for t in of_score)
    front = front_of(trials, "macs")
    scored = [t for t in trials if t.score is not None]

    def is_beaten(one: Trial) -> bool:
        return any(
            other.score >= one.score
            and other.costs["macs"] <= one.costs["macs"]
            and (other.score, other.costs["macs"]) != (one.score, one.costs["macs"])
            for other in scored
        )

    unbeaten = {(t.score, t.costs["macs"]) for t in scored if not is_beaten(t)}
    assert {(trials[n].score, trials[n].costs["macs"]) for n in front} == unbeaten
    assert len(front) == len(unbeaten)


def test_what_has_no_number_as_its_score_is_neither_the_best_nor_on_a_front() -> None:
    problem = synthetic(1, part=1.0).problem
    diverged = replace(done(0, float("nan"), 1.0), choice=(0,))
    trials = [diverged, done(1, 0.5, 2.0), done(2, float("inf"), 3.0)]
    assert best_of(problem, trials).number == 1
    assert front_of(trials, "macs") == (1,)


def test_what_is_beyond_the_budget_is_not_the_best() -> None:
    problem = synthetic(1, part=0.5).problem
    assert problem.cost((1,)) <= problem.limit.most < problem.cost((6,))
    assert best_of(problem, [done(6, 0.9, 1.0), done(1, 0.5, 1.0)]).number == 1
    with pytest.raises(UserError, match=r"none of the trials that meet the target of .* macs has a"):
        best_of(problem, [done(6, 0.9, 1.0)])


def test_without_any_score_the_last_cause_is_told() -> None:
    failed = [Trial(n, (n,), "failed", cause=f"it fell at step {n}") for n in range(2)]
    problem, said = (
        synthetic(1).problem,
        "search: none of 2 trials{} has a score; the last: it fell at ",
    )
    with pytest.raises(UserError, match=said.format("") + "step 1"):
        best_of(problem, failed)
    with pytest.raises(UserError, match=said.format(" of tpe, seed 3,") + "step 1"):
        run_facts(problem, "tpe", 3, failed)


def test_the_best_so_far_never_falls_and_begins_with_the_first_that_has_a_score() -> None:
    trials = [Trial(0, (0,), "failed"), done(1, 0.5, 1), done(2, 0.4, 1), done(3, 0.7, 1)]
    assert best_so_far(trials) == [None, 0.5, 0.5, 0.7]
