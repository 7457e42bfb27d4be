"""A trial is what the stages would make of the network before they train it, judged on validation."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest

from pocketkube.data import load_dataset
from pocketkube.data.batches import materialize
from pocketkube.data.in_memory import examples_of_arrays
from pocketkube.errors import UserError
from pocketkube.pruning.calibration import Calibration
from pocketkube.pruning.prune import prune_to_counts, pruner_for
from pocketkube.quantization.quantize import quantize
from pocketkube.search.evaluation import Evaluator
from pocketkube.search.prepared import open_prepared, prepare_search
from pocketkube.search.space_of import SearchedStages
from pocketkube.spec.sections import Training
from pocketkube.training.evaluation import evaluate
from pocketkube.training.loop import train
from tests.search.nets import bits, dataset, prepare_trained_trials, pruning, sparsity, trained


def prepared(folder: Path, searched: SearchedStages) -> Evaluator:
    model, task = trained()
    prepare_search(model, dataset(), task, searched, folder, with_losses=False)
    return open_prepared(folder)


def accuracy(model: keras.Model) -> float:
    """A second way: Keras's own prediction."""
    assert dataset().validation.arrays is not None
    (images,), (labels,) = dataset().validation.arrays
    return float((model.predict(images, verbose=0).argmax(axis=1) == labels).mean())


@pytest.fixture(scope="module")
def of_channels(tmp_path_factory: pytest.TempPathFactory) -> Evaluator:
    return prepared(tmp_path_factory.mktemp("channels") / "bundle", pruning())


def some(evaluator: Evaluator, seed: int = 0) -> tuple[int, ...]:
    sizes = evaluator.problem.space.sizes
    return tuple(np.random.default_rng(seed).integers(0, sizes).tolist())


def whole(evaluator: Evaluator) -> tuple[int, ...]:
    return tuple((evaluator.problem.space.sizes - 1).tolist())


def test_the_network_learnt_something_and_all_levels_whole_leave_it_as_it_is(
    of_channels: Evaluator,
) -> None:
    model, _ = trained()
    assert of_channels.whole_score > 0.8
    assert of_channels.whole_score == pytest.approx(accuracy(model), abs=1e-6)
    found = of_channels.judged(whole(of_channels))
    # BatchNorm's statistics are estimated anew.
    assert found.score == pytest.approx(of_channels.whole_score, abs=0.03)
    assert found.distance < 0.2


def test_without_a_fit_a_trial_is_exactly_what_the_stage_gives(tmp_path: Path) -> None:
    model, task = trained()
    searched = pruning(reconstruct=False)
    assert searched.prune is not None
    evaluator = prepared(tmp_path / "bundle", searched)
    choice = some(evaluator)
    counts = evaluator.problem.network.assignment(evaluator.problem.counts(np.array([choice]))[0])
    examples = Calibration(*materialize(dataset().train, 512, 0), loss=task.loss)
    pruner = pruner_for(model, searched.prune, calibration=examples, seed=0)
    pruned = prune_to_counts(pruner, searched.prune, counts).model
    found = evaluator.evaluate(choice)
    assert found.score == pytest.approx(evaluate(pruned, dataset().validation, task).score, abs=1e-6)
    assert found.score == pytest.approx(accuracy(pruned), abs=1e-6)


def test_a_fit_to_shared_sums_comes_near_the_stages_own(of_channels: Evaluator) -> None:
    model, task = trained()
    settings = pruning().prune
    assert settings is not None
    examples = Calibration(*materialize(dataset().train, 512, 0), loss=task.loss)
    pruner = pruner_for(model, settings, calibration=examples, seed=0)
    problem = of_channels.problem
    pairs = []
    for seed in range(2):
        choice = some(of_channels, seed)
        counts = problem.network.assignment(problem.counts(np.array([choice]))[0])
        stage = accuracy(prune_to_counts(pruner, settings, counts).model)
        pairs.append((of_channels.evaluate(choice).score, stage))
    (ours, theirs), (our_other, their_other) = pairs
    assert ours == pytest.approx(theirs, abs=0.1)
    assert our_other == pytest.approx(their_other, abs=0.1)
    # Which of two choices is the better one is told alike.
    assert (ours > our_other) == (theirs > their_other)


def test_another_process_finds_the_same_score_bit_by_bit(tmp_path: Path) -> None:
    evaluator = prepared(tmp_path / "bundle", pruning())
    choice = some(evaluator, 1)
    program = (
        "import sys, json; from pathlib import Path; "
        "from pocketkube.search.prepared import open_prepared; "
        "e = open_prepared(Path(sys.argv[1]), remembers=False); "
        "f = e.evaluate(json.loads(sys.argv[2])); "
        "print(json.dumps([f.score.hex(), f.distance.hex(), dict(f.costs)]))"
    )
    other = subprocess.run(
        [sys.executable, "-c", program, tmp_path / "bundle", json.dumps(choice)],
        capture_output=True,
        text=True,
        check=True,
    )
    found = evaluator.evaluate(choice)
    assert json.loads(other.stdout.splitlines()[-1]) == [
        found.score.hex(),
        found.distance.hex(),
        dict(found.costs),
    ]


def test_a_trial_is_remembered_by_later_processes_and_leaves_no_trace_on_the_next(
    tmp_path: Path,
) -> None:
    evaluator = prepared(tmp_path / "bundle", pruning())
    first = evaluator.evaluate(some(evaluator, 2))
    evaluator.evaluate(some(evaluator, 3))
    assert open_prepared(tmp_path / "bundle").evaluate(some(evaluator, 2)).seconds == 0
    anew = open_prepared(tmp_path / "bundle", remembers=False).evaluate(some(evaluator, 2))
    assert (anew.score, anew.distance, anew.costs) == (first.score, first.distance, first.costs)


def test_bits_are_exactly_what_quantisation_without_training_gives(tmp_path: Path) -> None:
    model, task = trained()
    searched = bits()
    assert searched.quantize is not None
    evaluator = prepared(tmp_path / "bundle", searched)
    names = evaluator.problem.space.names
    assert "stem_conv.bits" not in names
    assert "logits.bits" not in names
    calibration, _ = materialize(dataset().train, 512, 0)
    for seed in range(3):
        choice = some(evaluator, seed)
        values = evaluator.problem.space.values(np.array(choice))
        layers = {name.removesuffix(".bits"): int(value) for name, value in values.items()}
        settings = searched.quantize.model_copy(update={"layers": layers})
        quantized = quantize(model, settings, calibration, 0)
        quantized.method.finish()
        expected = evaluate(quantized.model, dataset().validation, task)
        assert evaluator.judged(choice).loss == pytest.approx(expected.loss, rel=1e-5)
        assert evaluator.evaluate(choice).score == pytest.approx(expected.score, abs=1e-6)


def test_zeros_are_the_smallest_weights(tmp_path: Path) -> None:
    evaluator = prepared(tmp_path / "bundle", sparsity())
    scores = []
    for level in (0, 4, 9):
        found = evaluator.evaluate((level,) * len(evaluator.problem.space.parameters))
        scores.append(found.score)
        share = evaluator.problem.space.parameters[0].levels[level]
        kernels = [w for w in trained()[0].weights if w.name == "kernel"]
        zero = sum(round(share * float(np.prod(w.shape))) for w in kernels)
        assert found.costs["parameters"] == trained()[0].count_params() - zero
    assert scores[0] < scores[1] <= scores[2] + 0.03


def test_channels_zeros_and_bits_together(tmp_path: Path) -> None:
    parts = [pruning(), sparsity(), bits()]
    search = parts[0].search.model_copy(
        update={"over": ("prune_channels", "quantize_weights"), "tie": "stage"}
    )
    stages = (*parts[0].stages, *parts[2].stages)
    from pocketkube.spec.sections import Target

    searched = SearchedStages(search, stages, Target(max_size=12000), "int8")
    evaluator = prepared(tmp_path / "bundle", searched)
    assert {each.decides for each in evaluator.problem.space.parameters} == {"kept", "bits"}
    found = evaluator.evaluate(whole(evaluator))
    assert found.score > 0.7
    assert found.costs["mean_bits"] == 8


@pytest.mark.parametrize("spoil", ["cut", "missing", "newer", "none"])
def test_a_damaged_bundle_is_refused_in_one_line(tmp_path: Path, spoil: str) -> None:
    folder = tmp_path / "bundle"
    prepared(folder, pruning())
    if spoil == "cut":
        file = folder / "validation_x0.npy"
        file.write_bytes(file.read_bytes()[:-100])
    elif spoil == "missing":
        (folder / "unit_scores.npy").unlink()
    elif spoil == "newer":
        facts = json.loads((folder / "prepared.json").read_text())
        (folder / "prepared.json").write_text(json.dumps(facts | {"schema_version": 99}))
    else:
        folder = tmp_path / "nothing"
    with pytest.raises(UserError) as refused:
        open_prepared(folder)
    assert "\n" not in str(refused.value)
    if spoil != "none":
        # What is damaged is prepared anew.
        prepared(folder, pruning())


def test_a_bundle_is_used_again_until_something_changes(tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    prepared(folder, pruning())
    facts = folder / "prepared.json"
    first = facts.stat().st_ino
    prepared(folder, pruning())
    assert facts.stat().st_ino == first
    prepared(folder, pruning(speedup=3.0))
    assert facts.stat().st_ino != first


def test_steps_of_training_make_a_trial_better(tmp_path: Path) -> None:
    scores = []
    for steps in (0, 40):
        course = Training(learning_rate=2e-3)
        prepare_trained_trials(tmp_path, pruning(reconstruct=False), steps, course)
        evaluator = open_prepared(tmp_path / "bundle")
        cheap = tuple(int(size // 4) for size in evaluator.problem.space.sizes)
        scores.append(evaluator.evaluate(cheap).score)
    assert scores[1] > scores[0]


@pytest.mark.parametrize("own_rate", [None, 1e-3])
def test_a_trial_of_8_bits_is_trained_as_the_stage_trains_it(tmp_path: Path, own_rate) -> None:
    """With the same BatchNorm, and at the rate of the stage, not at that of training."""
    model, task = trained()
    course = Training(learning_rate=2e-2, batch_size=64)
    searched = bits(8.0, learning_rate=own_rate)
    source = prepare_trained_trials(tmp_path, searched, 20, course)
    evaluator = open_prepared(tmp_path / "bundle")
    found = evaluator.evaluate(whole(evaluator))
    assert searched.quantize is not None
    loaded = load_dataset(source)
    inputs, labels = materialize(loaded.train, 20 * 64, 0)
    data = replace(loaded, train=examples_of_arrays(inputs, labels, loaded.labels))
    calibration, _ = materialize(dataset().train, 512, 0)
    quantized = quantize(model, searched.quantize, calibration, 0)
    quantized.method.begin(64)
    assert quantized.method.layers
    rate = {"learning_rate": own_rate or 0.3 * 2e-2, "epochs": 1, "keep": "last"}
    course = course.model_copy(update=rate)
    train(quantized.model, data, task, course, seed=1, method=quantized.method)
    assert found.score == pytest.approx(accuracy(quantized.model), abs=1e-6)
