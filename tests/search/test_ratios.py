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
    return Trial(number, (number,), "done", score, {"macs": macs})


def test_the_best_is_the_cheapest_of_the_best_and_none_beats_the_front() -> None:
    rng = np.random.default_rng(0)
    trials = [done(n, float(rng.integers(6)), float(rng.integers(6))) for n in range(40)]
    trials[3] = Trial(3, (3,), "failed")
    most = max(trial.score for trial in trials if trial.score is not None)
    of_score = [trial for trial in trials if trial.score == most]
    assert len(of_score) > 2
    unforeseen = synthetic(1, with_losses=False).problem
    assert best_of(unforeseen, trials).costs["macs"] == min(t.costs["macs"] for t in of_score)
    foreseen = replace(unforeseen, losses=(tuple(float(n % 7) for n in range(40)),))
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
    with pytest.raises(UserError, match="none of the trials has a score"):
        best_of(unforeseen, [Trial(0, (0,), "failed")])


def test_the_best_so_far_never_falls() -> None:
    trials = [Trial(0, (0,), "failed"), done(1, 0.5, 1), done(2, 0.4, 1), done(3, 0.7, 1)]
    assert best_so_far(trials) == [0.5, 0.5, 0.7]
    assert best_so_far(trials, 4) == [0.5, 0.5, 0.7, 0.7]
