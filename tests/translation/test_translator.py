"""A LiteRT file of two signatures translates as its Keras model does, whole or pruned."""

import keras
import numpy as np
import pytest

from pocketkube.deploy import convert_litert
from pocketkube.deploy.translator import convert_translator
from pocketkube.errors import UserError
from pocketkube.graph.dependency import trace_channels
from pocketkube.pruning.pruner import Pruner
from pocketkube.translation.keras_decoder import KerasDecoder
from pocketkube.translation.litert_decoder import LiteRTDecoder
from pocketkube.translation.search import beam_search, greedy_search
from tests.translation.networks import own_model, sentences, small_model

VOCABULARY = 2000


@pytest.fixture(scope="module")
def model() -> keras.Model:
    return small_model(VOCABULARY)


@pytest.fixture(scope="module")
def sources() -> np.ndarray:
    return sentences(VOCABULARY)


def test_the_file_translates_as_its_model_and_holds_shared_weights_once(model, sources) -> None:
    content = convert_translator(model, "float32")
    file, whole = LiteRTDecoder(content), KerasDecoder(model)
    for search in (greedy_search, beam_search):
        assert search(file, sources) == search(whole, sources)
    weights = 4 * sum(int(np.prod(weight.shape)) for weight in model.weights)
    assert len(content) < 1.1 * weights
    with pytest.raises(UserError, match="has no signatures encode and decode, but serving_default"):
        LiteRTDecoder(convert_litert(model, "float32"))
    with pytest.raises(UserError, match="is not a LiteRT file"):
        LiteRTDecoder(b"none")


def test_a_file_knows_which_weight_is_its_positions() -> None:
    model, sources = own_model(50), sentences(50)
    file = LiteRTDecoder(convert_translator(model, "float32"))
    assert greedy_search(file, sources) == greedy_search(KerasDecoder(model), sources)


def test_a_file_of_a_decoder_that_does_not_look_back_is_refused() -> None:
    content = convert_translator(own_model(50, looks_back=False), "float32")
    with pytest.raises(UserError, match="has no cache of what has been written"):
        LiteRTDecoder(content)


def silenced(model: keras.Model) -> keras.Model:
    """The same with the last half of all heads and of all feed-forward units at zero."""
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    axes = {"kernel": 1, "bias": 0}
    for layer in copy.layers:
        for weight in layer.weights:
            axis = axes.get(weight.name)
            if isinstance(layer, keras.layers.MultiHeadAttention):
                if "output" in weight.path:
                    axis = 0 if weight.name == "kernel" else None
            elif layer.name.endswith("_outer"):
                axis = 0 if weight.name == "kernel" else None
            elif not layer.name.endswith("_inner"):
                axis = None
            if axis is not None:
                shape = [-1 if each == axis else 1 for each in range(len(weight.shape))]
                kept = np.arange(weight.shape[axis]) < weight.shape[axis] // 2
                weight.assign(weight * kept.reshape(shape))
    return copy


def test_a_pruned_one_gives_what_was_left_and_its_file_translates_as_it_does(model, sources) -> None:
    half = silenced(model)
    pruner = Pruner(half, round_to=1)
    pruned = pruner.to_ratios({group.name: 0.5 for group in trace_channels(half).groups}).model
    attentions = [x for x in pruned.layers if isinstance(x, keras.layers.MultiHeadAttention)]
    assert [attention.num_heads for attention in attentions] == [2] * 6
    assert [x.units for x in pruned.layers if x.name.endswith("_inner")] == [64] * 4
    written = np.random.default_rng(1).integers(4, VOCABULARY, (6, 7)).astype("int32")
    np.testing.assert_allclose(
        pruned([sources, written]), half([sources, written]), rtol=1e-3, atol=1e-3
    )
    file, whole = LiteRTDecoder(convert_translator(pruned, "float32")), KerasDecoder(pruned)
    assert greedy_search(file, sources) == greedy_search(whole, sources)
    small = LiteRTDecoder(convert_translator(pruned, "dynamic"))
    for decoder in (small, whole):
        decoder.begin(sources)
    wanted, found = whole.next(np.full(6, 2), 0), small.next(np.full(6, 2), 0)
    assert np.corrcoef(wanted.ravel(), found.ravel())[0, 1] > 0.99
