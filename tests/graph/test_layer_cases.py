"""Each layer and operation alone: its channels go as zeros would, at the cost that the model says."""

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from pocketkube.graph.cost import profile_model
from pocketkube.graph.cost_model_of import cost_model_of
from pocketkube.graph.dependency import ChannelGraph, trace_channels
from pocketkube.graph.ranking import keep_best, rank_units
from pocketkube.graph.replay import replay
from pocketkube.graph.surgery import remove_channels
from pocketkube.pruning.reconstruction import silence
from tests.graph.layer_cases import CASES, Case


def with_zeros(model: keras.Model, graph: ChannelGraph, keep: np.ndarray, inputs: np.ndarray) -> Any:
    """The uncut network's outputs where every operation reads zeros in the place of cut channels."""
    calls = {id(use.op): iter(use.calls) for use in graph.uses}

    def zeroed(path: str, op: Any, tensors: list[Any]) -> list[Any]:
        made = []
        for tensor, channels in zip(tensors, next(calls[id(op)]).inputs, strict=True):
            if channels is not None and tensor.dtype.is_floating:
                mask = np.zeros(len(channels.ids), np.float32)
                mask[graph.kept(channels, keep)] = 1
                shape = [1] * len(tensor.shape)
                shape[channels.axis] = -1
                tensor = tensor * mask.reshape(shape)
            made.append(tensor)
        return made

    return replay(model, [tf.constant(inputs)], zeroed)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_channels_go_as_zeros_would_and_at_the_cost_that_is_said(case: Case) -> None:
    model = case.network()
    graph = trace_channels(model)
    assert bool(graph.left_whole) == bool(case.held)
    assert not case.held or any(case.held in sentence for sentence in graph.left_whole)
    makers = {path for group in graph.groups for path in group.layers}
    assert ("maker1" in makers) == (case.partly or not case.held)
    inputs = np.random.default_rng(1).normal(size=(2, *case.shape)).astype(np.float32)
    scores = np.random.default_rng(0).random(graph.units.count)
    costs = cost_model_of(model, graph, scores=scores, round_to=1)
    counts = np.array([max(group.least, group.size // 2) for group in costs.groups])
    keep = keep_best(rank_units(graph, scores), counts)
    smaller = remove_channels(model, graph, keep)
    real = profile_model(smaller)
    assert costs.is_exact == (not case.estimated)
    assert (costs.macs(counts), costs.parameters(counts)) == (real.macs, real.parameters)
    if not case.reads_all:
        # Heads are in no tensor between layers.
        silence(graph, ~keep)
        wanted = np.asarray(with_zeros(model, graph, keep, inputs))
        np.testing.assert_allclose(smaller(inputs), wanted, rtol=1e-3, atol=1e-4 * np.abs(wanted).max())
