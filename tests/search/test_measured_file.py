"""The bytes that a search foresees of a choice are those of the file that the export writes of it."""

from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

from pocketkube.errors import UserError
from pocketkube.graph.cost import profile_model
from pocketkube.graph.cost_model_of import cost_model_of
from pocketkube.pruning.pruner import Pruner
from pocketkube.search.cost_terms import interacting
from pocketkube.search.measured_file import with_measured_file
from pocketkube.search.prepared import prepare_search
from pocketkube.search.problem import Problem
from pocketkube.search.projection import project
from pocketkube.search.ratios import ratios_of
from pocketkube.search.space import Space
from pocketkube.search.space_of import SearchedStages, problem_of, refuse_unreachable
from pocketkube.spec.sections import (
    PruneChannels,
    Quantize,
    QuantizeWeights,
    Search,
    SparsifyWeights,
    Target,
)
from pocketkube.spec.stage_settings import StageSettings
from pocketkube.stages.foreseen import foreseen_file
from pocketkube.stages.formats import last_format
from pocketkube.stages.preparing import widest_file
from pocketkube.training.task import infer_task
from tests.search.nets import dataset

# Names and paddings may differ by so much from those of the file that was measured.
CONTAINER_BYTES = 300
EXAMPLES = (np.random.default_rng(0).normal(size=(4, 12, 12, 3)).astype(np.float32),)


def network() -> keras.Model:
    """Convolutions of several kinds; no two weights are equal, as a file keeps equal ones once."""
    x = images = keras.Input((12, 12, 3))
    x = layers.Conv2D(24, 3, padding="same", use_bias=False, name="stem")(x)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.DepthwiseConv2D(3, padding="same", use_bias=False, name="depthwise")(x)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.Conv2D(48, 3, strides=2, padding="same", name="middle")(x)
    x = layers.Conv2D(64, 1, activation="relu", name="pointwise")(x)
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dense(40, activation="relu", name="features")(x)
    model = keras.Model(images, layers.Dense(10, name="logits")(x), name="small")
    rng = np.random.default_rng(0)
    for weight in model.weights:
        sign = rng.choice([-1, 1], weight.shape) if len(weight.shape) > 1 else 1.0
        weight.assign(sign * rng.uniform(0.5, 1.0, weight.shape) / np.prod([1, *weight.shape[:-1]]))
    return model


def searched(pruner: Pruner, stages: tuple[StageSettings, ...], over: tuple[str, ...]) -> Problem:
    model = pruner.copy()
    numbers = last_format(stages).numbers
    asked = SearchedStages(Search(over=over), stages, Target(max_size=10**6), numbers)  # type: ignore[arg-type]
    problem = problem_of(model, pruner.costs, asked, whole=profile_model(model))
    return with_measured_file(problem, widest_file(stages, over, model, EXAMPLES))


def file_size(
    pruner: Pruner,
    stages: tuple[StageSettings, ...],
    over: tuple[str, ...],
    problem: Problem,
    choice: np.ndarray,
) -> int:
    """A second way: the network is cut and written as the stages would."""
    found = ratios_of(problem, tuple(choice.tolist()))
    model = pruner.copy()
    if "prune_channels" in over:
        (counts,) = problem.counts(choice[None])
        model = pruner.to_counts(problem.network.assignment(counts)).model
    given = {
        "sparsify_weights": {"ratios": found.sparsify_weights},
        "quantize_weights": {"layers": found.quantize_weights},
    }
    decided = [
        each.model_copy(update=given.get(each.name, {})) if each.name in over else each
        for each in stages
    ]
    return len(foreseen_file(decided, model, EXAMPLES))


def attention() -> keras.Model:
    """Heads, whose kernels have three axes, and a transposed convolution; no two weights are equal."""
    x = words = keras.Input((12, 32))
    x = layers.Add()([x, layers.MultiHeadAttention(4, 8, name="mha")(x, x)])
    x = layers.LayerNormalization()(x)
    x = layers.Conv1DTranspose(24, 2, strides=2, activation="relu", name="wider")(x)
    model = keras.Model(words, layers.Dense(10, name="logits")(layers.Flatten()(x)), name="heads")
    rng = np.random.default_rng(0)
    for weight in model.weights:
        weight.assign(rng.normal(size=weight.shape) + (len(weight.shape) == 1))
    return model


PRUNE, LEVELS = PruneChannels(round_to=3), QuantizeWeights(bias_correction=False)
ZEROS, OF_FLOATS = SparsifyWeights(), QuantizeWeights(activation_bits="float", bias_correction=False)


def zeros_searched(model: keras.Model, examples: tuple[np.ndarray, ...]) -> Problem:
    """A search for zeros under a size that all choices keep, its bytes those of a measured file."""
    asked = SearchedStages(Search(over=("sparsify_weights",)), (ZEROS,), Target(max_size=10**6))
    problem = problem_of(model, cost_model_of(model), asked, whole=profile_model(model))
    return with_measured_file(problem, widest_file((ZEROS,), asked.search.over, model, examples))


@pytest.mark.parametrize(
    ("stages", "over"),
    [
        ((PRUNE, LEVELS), ("prune_channels", "quantize_weights")),
        ((PRUNE, ZEROS), ("prune_channels", "sparsify_weights")),
        pytest.param((OF_FLOATS,), ("quantize_weights",), marks=pytest.mark.slow),
        pytest.param(
            (ZEROS, Quantize(name="quantize_float16")), ("sparsify_weights",), marks=pytest.mark.slow
        ),
        pytest.param(
            (PRUNE, Quantize(name="quantize_int8")), ("prune_channels",), marks=pytest.mark.slow
        ),
        pytest.param(
            (PRUNE, QuantizeWeights(weight_bits=3)), ("prune_channels",), marks=pytest.mark.slow
        ),
    ],
    ids=["channels and bits", "channels and zeros", "dynamic", "float16", "int8", "3 bits for all"],
)
def test_what_is_foreseen_is_what_the_file_takes(
    stages: tuple[StageSettings, ...], over: tuple[str, ...]
) -> None:
    pruner = Pruner(network(), round_to=3)
    problem = searched(pruner, stages, over)
    # Any bits may stand in a file of ratios.
    parameters = [
        replace(each, levels=(2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0)) if each.decides == "bits" else each
        for each in problem.space.parameters
    ]
    problem = replace(problem, space=Space(tuple(parameters)))
    rng = np.random.default_rng(1)
    sizes = problem.space.sizes
    for choice in (np.zeros(len(sizes), int), rng.integers(0, sizes)):
        foreseen = problem.cost(choice, "bytes")
        real = file_size(pruner, stages, over, problem, choice)
        assert foreseen == pytest.approx(real, abs=CONTAINER_BYTES)


@pytest.mark.slow
def test_no_file_with_fewer_zeros_is_larger_than_foreseen() -> None:
    model = attention()
    examples = (np.zeros((1, 12, 32), np.float32),)
    problem = zeros_searched(model, examples)
    sizes = problem.space.sizes
    names_too_many = 250 * len(sizes)
    rng = np.random.default_rng(0)
    for choice in (sizes * 0, sizes - 1, rng.integers(0, sizes), rng.integers(0, sizes)):
        ratios = ratios_of(problem, tuple(choice.tolist())).sparsify_weights
        file = foreseen_file([SparsifyWeights(ratios=ratios)], model, examples)
        # A tensor begins at a multiple of 16.
        assert -names_too_many <= len(file) - problem.cost(choice, "bytes") <= 16


def test_where_zeros_cost_more_than_they_save_the_network_as_it_is_may_be_the_smallest() -> None:
    x = images = keras.Input((8,))
    for number in range(10):
        x = layers.Dense(8, activation="relu", name=f"small_{number}")(x)
    model = keras.Model(images, layers.Dense(4)(x))
    problem = zeros_searched(model, (np.zeros((1, 8), np.float32),))
    # What samplers that solve for the cost need: it is a sum of what each layer takes.
    assert interacting(problem) == ()
    sizes = problem.space.sizes
    sparsest, whole = (problem.cost(choice, "bytes") for choice in (sizes * 0, sizes - 1))
    assert problem.cost(problem.cheapest) <= whole < sparsest
    between = problem.limited((whole + sparsest) / 2)
    refuse_unreachable(between)
    for point in (0.0, 0.5, 1.0):
        found = project(between, np.full(len(sizes), point))
        assert found.fits
        assert problem.cost(found.choice) <= between.limit.most
    with pytest.raises(UserError, match="cannot be reached"):
        refuse_unreachable(problem.limited(problem.cost(problem.cheapest) - 1))


def test_a_target_that_the_measured_file_cannot_reach_is_refused_before_any_trial(
    tmp_path: Path,
) -> None:
    images = keras.Input((12, 12, 1))
    x = layers.Dense(16, activation="relu", name="hidden")(layers.Flatten()(images))
    model = keras.Model(images, layers.Dense(10, name="logits")(x), name="dense")
    asked = SearchedStages(Search(over=("sparsify_weights",)), (ZEROS,), Target(max_size=6000))
    content = widest_file((ZEROS,), asked.search.over, model, (np.zeros((1, 12, 12, 1), np.float32),))

    def prepared(file: bytes) -> Problem:
        return prepare_search(
            model,
            dataset(),
            infer_task(model, 10),
            asked,
            tmp_path / str(len(file)),
            file_of=lambda model, examples: file,
            with_losses=False,
        )

    assert prepared(content).cost(np.zeros(2, int)) == len(content) < 6000
    with pytest.raises(UserError, match=r"all levels give 6001 bytes, and at most 6000 .* for less\.$"):
        prepared(content + bytes(6001 - len(content)))


def test_a_search_under_bytes_has_the_widths_that_a_file_knows() -> None:
    pruner = Pruner(network(), round_to=3)
    asked = Search(over=("quantize_weights",))
    target = Target(max_size=10**6)
    whole = profile_model(pruner.copy())
    of_levels = SearchedStages(asked, (LEVELS,), target, "int8")
    found = problem_of(pruner.copy(), pruner.costs, of_levels, whole=whole)
    assert {each.levels for each in found.space.parameters} == {(4.0, 8.0)}
    few = QuantizeWeights(activation_bits=4)
    of_floats = SearchedStages(asked, (few,), target, last_format((few,)).numbers)
    with pytest.raises(UserError, match="bits make the file no smaller, which is of float32"):
        problem_of(pruner.copy(), pruner.costs, of_floats, whole=whole)
