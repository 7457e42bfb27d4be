"""What a search may decide of a network, under names that a shell takes as they are."""

import re

import keras
import numpy as np
import pytest
from keras import layers

from pocketkube.errors import UserError
from pocketkube.graph.cost import profile_model
from pocketkube.graph.cost_model import ChannelGroup
from pocketkube.graph.cost_model_of import cost_model_of
from pocketkube.graph.file_bytes import FileBytes, FileForm
from pocketkube.models import build_model
from pocketkube.search.problem import Problem
from pocketkube.search.space_of import (
    SearchedStages,
    block_of,
    kept_levels,
    problem_of,
    refuse_unreachable,
)
from pocketkube.sparsity.patterns import mask_of
from pocketkube.sparsity.selection import sparsifiable
from pocketkube.spec.sections import (
    PruneChannels,
    QuantizeWeights,
    Search,
    SparsifyWeights,
    StageBase,
    Target,
)
from tests.search.test_problem import with_latency


def problem(
    model: keras.Model, stage: StageBase, target: Target | None = None, **search: object
) -> Problem:
    asked = Search(over=(stage.name,), **search)  # type: ignore[arg-type]
    searched = SearchedStages(asked, (stage,), target)
    return problem_of(model, cost_model_of(model), searched, whole=profile_model(model))


@pytest.mark.parametrize(
    ("size", "step", "least"), [(16, 4, 4), (64, 8, 8), (512, 8, 56), (24, 8, 3), (10, 2, 1), (4, 1, 4)]
)
def test_levels_are_what_surgery_cuts_and_not_too_many(size: int, step: int, least: int) -> None:
    levels = kept_levels(ChannelGroup("a", size, step, least, ("a",)))
    counts = [level * size for level in levels]
    assert len(levels) <= 12
    assert counts[0] == pytest.approx(least)
    assert counts[-1] == pytest.approx(size)
    assert all(count % step == pytest.approx(0) for count in counts[1:-1])
    assert sorted(set(levels)) == list(levels)


def test_a_target_counts_from_the_whole_network() -> None:
    model = build_model("resnet20", (32, 32, 3), 10)
    found = problem(model, PruneChannels(), Target(speedup=2.5))
    assert found.limit.cost == "macs"
    assert found.limit.most == profile_model(model).macs / 2.5
    assert found.space.names[0] == "stem_conv.kept"
    assert len(found.space.names) == len(cost_model_of(model).groups)


def test_stages_are_told_by_size_and_blocks_by_name() -> None:
    model = build_model("resnet20", (32, 32, 3), 10)
    stages = problem(model, PruneChannels(), Target(speedup=2), tie="stage")
    assert stages.space.names == ("stage1_32x32.kept", "stage2_16x16.kept", "stage3_8x8.kept")
    blocks = problem(model, PruneChannels(), Target(speedup=2), tie="block")
    assert "stage2_block3.kept" in blocks.space.names
    bits = problem(model, QuantizeWeights(), mean_bits=4.0, tie="block")
    inside = next(each for each in bits.space.parameters if each.name == "stage1_block1.bits")
    assert inside.targets == ("stage1_block1_a_conv", "stage1_block1_b_conv")


@pytest.mark.parametrize(
    ("layer", "block"),
    [
        ("conv2_block1_1_conv", "conv2_block1"),
        ("stage3_block2_shortcut", "stage3_block2"),
        ("block_1_expand", "block_1"),
        ("block1a_project_conv", "block1a"),
        ("stem", None),
    ],
)
def test_names_of_blocks(layer: str, block: str | None) -> None:
    assert block_of(layer) == block


def test_names_pass_through_a_shell_and_stay_apart() -> None:
    images = keras.Input((8, 8, 1))
    x = images
    for name in ("a (1)", "a [1]", "b;c"):
        x = layers.Conv2D(8, 3, name=name)(x)
    model = keras.Model(images, layers.Dense(4)(layers.Flatten()(x)))
    names = problem(model, PruneChannels(round_to=1), Target(speedup=2)).space.names
    assert len(set(names)) == 3
    assert all(re.fullmatch(r"[A-Za-z0-9_./-]+\.kept", name) for name in names)


def test_sparsity_limits_the_weights_that_are_left() -> None:
    model = build_model("lenet", (28, 28, 1), 10)
    found = problem(model, SparsifyWeights(sparsity=0.75))
    kernels = sum(int(keras.ops.size(w)) for w in model.weights if w.name == "kernel")
    assert found.limit.cost == "parameters"
    assert found.limit.most == pytest.approx(model.count_params() - 0.75 * kernels, abs=1)
    assert all(each.levels[-1] == 0 for each in found.space.parameters)


def attention() -> keras.Model:
    """Four heads of 8 numbers, which have biases `[4, 8]`, and one Dense."""
    x = inputs = keras.Input((6, 32))
    x = layers.MultiHeadAttention(4, 8, name="mha")(x, x)
    return keras.Model(inputs, layers.Dense(4, name="logits")(layers.Flatten()(x)), name="heads")


def test_biases_of_heads_get_neither_zeros_nor_few_bits() -> None:
    model = attention()
    found = problem(model, SparsifyWeights(sparsity=0.9))
    sparsest = np.zeros(len(found.space.parameters), int)
    for kernel in sparsifiable(model):
        zeros = ~mask_of(np.asarray(kernel.variable), 0.95, "element", kernel.axes[0])
        kernel.variable.assign(np.where(zeros, 0, 1))
    for weight in model.weights:
        weight.assign(np.ones(weight.shape) if weight.name == "bias" else weight)
    assert found.cost(sparsest) == sum(np.count_nonzero(weight) for weight in model.weights)

    bits = problem(model, QuantizeWeights(), mean_bits=4)
    # Those between the first and the last kernel, of 32 x 32 each; one of them has one bit more.
    one_more = np.eye(len(bits.space.parameters), dtype=int)[0]
    shares = bits.cost(one_more) - bits.cost(one_more * 0)
    assert shares == pytest.approx(1 / len(bits.space.parameters))


def test_biases_of_heads_take_four_bytes_in_a_file_of_integers() -> None:
    network = cost_model_of(attention())
    wide, narrow = (FileBytes(network, FileForm("int8", default_bits=bits)).cost({}) for bits in (8, 4))
    # Four kernels of 32 x 32 and one of 192 x 4.
    assert wide - narrow == (4 * 32 * 32 + 192 * 4) / 2


def test_what_cannot_be_reached_is_refused_with_what_can() -> None:
    model = build_model("lenet", (28, 28, 1), 10)
    with pytest.raises(UserError, match="cheapest of all levels"):
        refuse_unreachable(problem(model, PruneChannels(), Target(speedup=1000)))


def test_a_latency_that_cannot_be_reached_is_refused_as_any_other_budget() -> None:
    model = build_model("lenet", (28, 28, 1), 10)
    network = cost_model_of(model)
    target = Target(max_latency_ms=0.0001, latency_table="table.json")
    searched = SearchedStages(Search(over=("prune_channels",)), (PruneChannels(),), target)
    latency = with_latency(network).latency
    found = problem_of(model, network, searched, whole=profile_model(model), latency=latency)
    with pytest.raises(UserError, match=r"cheapest of all levels give .* latency, and at most 100 are"):
        refuse_unreachable(found)
