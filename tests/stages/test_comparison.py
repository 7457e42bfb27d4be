"""A stage that hands on a worse model says so, where it ends and in all that people read."""

import itertools
import json
import re
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers
from sklearn.datasets import load_digits

from pocketkube.bundle import NOW, UNPRUNED, load_scores
from pocketkube.cli import main
from pocketkube.facts import load_exported, load_facts
from pocketkube.measures.paired import CHANCE, is_worse
from pocketkube.spec import document_of, parse_spec, yaml_of
from pocketkube.spec.sections import (
    ClusterWeights,
    FineTune,
    QuantizeWeights,
    SparsifyWeights,
    Training,
)
from pocketkube.stages.comparison import remedies
from tests.steps import run_step


def by_exchange(before: np.ndarray, after: np.ndarray) -> float:
    """How often exchanging before and after at random loses as much: every way is tried."""
    lost = (before - after).astype(float)
    signs = np.array(list(itertools.product([-1, 1], repeat=int((lost != 0).sum()))))
    return float((signs @ np.abs(lost[lost != 0]) >= lost.sum() - 1e-9).mean())


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("values", [False, True])
def test_worse_is_what_exchanging_examples_hardly_ever_gives(seed: int, values: bool) -> None:
    rng = np.random.default_rng(seed)
    before = rng.normal(size=14) if values else (rng.random(14) < 0.9).astype(np.float32)
    after = before - rng.normal(0.5, 0.9, 14) if values else (rng.random(14) < 0.4).astype(np.float32)
    found = by_exchange(before, after)
    # Student's test is near the exact one for values, and the same as it for right and wrong.
    if not values or abs(found - CHANCE) > 0.01:
        assert is_worse(before, after) == (found < CHANCE)


def test_what_is_no_number_is_worse() -> None:
    assert is_worse(np.array([0.5, 0.5]), np.array([0.5, np.nan]))
    assert not is_worse(np.array([np.nan, 0.5]), np.array([np.nan, 0.5]))
    assert not is_worse(np.ones(5), np.ones(5))
    assert is_worse(np.full(5, -0.1), np.full(5, -0.2))


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        (FineTune(), ["more than 4 epochs", "a learning_rate below 0.01"]),
        (SparsifyWeights(sparsity=0.9), ["a sparsity below 0.9", "more than 4 epochs"]),
        (ClusterWeights(bits=2), ["more than 2 bits", "granularity: channel"]),
        (QuantizeWeights(weight_bits=3, epochs=0), ["more than 3 weight_bits", "epochs, which are 0"]),
    ],
)
def test_what_to_try_fits_the_stage(settings, wanted) -> None:
    tried = remedies(settings, Training(epochs=4, learning_rate=0.01))
    assert set(wanted) <= set(tried)
    if settings.epochs == 0:
        assert not any("learning_rate" in each for each in tried)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small network that knows its digits, its data, and the bundle of its first stage."""
    folder = tmp_path_factory.mktemp("trained")
    digits = load_digits()
    x = (digits.images / 16).astype(np.float32)[..., None]
    np.savez(folder / "data.npz", x=x[:1000], y=digits.target[:1000].astype(np.int64))
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(16, 3, activation="relu", name="one"),
            layers.Conv2D(16, 3, activation="relu", name="two"),
            layers.Flatten(),
            layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile(keras.optimizers.Adam(5e-3), "sparse_categorical_crossentropy")
    model.fit(x[:1000], digits.target[:1000], epochs=8, batch_size=32, verbose=0)
    model.save(folder / "net.keras")
    run_step(job(folder), "train_model", {}, folder / "train_model")
    return folder


def job(folder: Path, *stages, **more):
    return parse_spec(
        {
            "model": str(folder / "net.keras"),
            "dataset": {"npz": str(folder / "data.npz")},
            "stages": [*stages],
            "benchmark": {"runs": 5, "threads": [1]},
            **more,
        }
    )


def test_a_fine_tuning_that_spoils_its_model_says_so(trained: Path, tmp_path: Path, capsys) -> None:
    spec = job(trained, {"fine_tune": {"epochs": 1, "learning_rate": 3.0}})
    first = trained / "train_model"
    run_step(spec, "fine_tune_model", {"model": first, "teacher": first}, tmp_path / "tuned")
    stage = load_facts(tmp_path / "tuned").stages[-1]
    (warning,) = stage.warnings
    assert f"warning: fine_tune: {warning}\n" in capsys.readouterr().err
    was, now = (float(load_scores(folder)[NOW].mean()) for folder in (first, tmp_path / "tuned"))
    assert f"{now:.2%}".replace("%", " %") in warning
    assert f"{was:.2%}".replace("%", " %") in warning
    assert "a learning_rate below 3" in warning


def test_pruning_is_judged_once_the_model_was_trained_on(trained: Path, tmp_path: Path, capsys) -> None:
    """It is worse before that in any case; where nothing trains it on, the export says so."""
    settings = {"criterion": "l1", "ratios": {"one": 0.75}, "round_to": 1, "reconstruct": False}
    fine_tune = {"fine_tune": {"epochs": 1, "learning_rate": 1e-9}}
    spec = job(trained, {"prune_channels": settings}, fine_tune)
    first, pruned, tuned = trained / "train_model", tmp_path / "pruned", tmp_path / "tuned"
    run_step(spec, "prune_channels", {"model": first, "teacher": first}, pruned)
    assert load_facts(pruned).stages[-1].warnings == ()
    assert "warning" not in capsys.readouterr().err
    scores = load_scores(pruned)
    assert scores[NOW].mean() < scores[UNPRUNED].mean() - 0.1

    run_step(spec, "fine_tune_model", {"model": pruned, "teacher": first}, tuned)
    (warning,) = load_facts(tuned).stages[-1].warnings
    assert "before prune_channels" in warning
    assert "smaller ratios, group_size: 1" in warning
    assert set(load_scores(tuned)) == {NOW}

    run_step(spec, "baseline", {"model": pruned}, tmp_path / "file")
    assert "stage=compare examples=200\n" in capsys.readouterr().err
    (warning,) = load_exported(tmp_path / "file").export.warnings
    assert "before prune_channels" in warning
    assert "fine_tune after it" in warning
    run_step(spec, "baseline", {"model": tuned}, tmp_path / "file")
    assert load_exported(tmp_path / "file").export.warnings == ()


def test_training_between_groups_says_that_it_is_fine_tuning(
    trained: Path, tmp_path: Path, capsys
) -> None:
    settings = {
        "criterion": "l1",
        "ratios": {"one": 0.5, "two": 0.5},
        "group_size": 1,
        "group_epochs": 1,
    }
    spec, first = job(trained, {"prune_channels": settings}), trained / "train_model"
    run_step(spec, "prune_channels", {"model": first, "teacher": first}, tmp_path / "pruned")
    shown = re.findall(r"^stage=(fine_tune .*) step=", capsys.readouterr().err, re.MULTILINE)
    assert list(dict.fromkeys(shown)) == ["fine_tune after cut 1", "fine_tune after cut 2"]


@pytest.mark.slow
def test_the_run_and_its_report_say_what_became_worse(trained: Path, tmp_path: Path, capsys) -> None:
    spec = job(trained, {"fine_tune": {"epochs": 1, "learning_rate": 3.0}})
    (tmp_path / "spec.yaml").write_text(yaml_of(document_of(spec)))
    main(["run", str(tmp_path / "spec.yaml"), "--output", str(tmp_path / "out")])
    said = capsys.readouterr()
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    # A busy machine is warned of, too.
    (warning,) = [told for told in result["warnings"] if told.startswith("fine_tune")]
    assert warning.startswith("fine_tune: validation accuracy is ")
    assert f"warning: {warning}" in said.err
    assert f"Warning: {warning}" in said.out
    page = (tmp_path / "out" / "report.html").read_text()
    assert page.index("Warnings") < page.index("Before and after")
    assert warning in page
