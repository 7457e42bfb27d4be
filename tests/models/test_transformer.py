"""The Transformer: the paper's size, what its masks leave out, and what can be cut of it."""

import keras
import numpy as np
import pytest

from pocketkube.errors import UserError
from pocketkube.graph.dependency import trace_channels
from pocketkube.models.transformer import (
    TRANSFORMERS,
    build_transformer,
    sinusoids,
    transformer,
)
from pocketkube.stages.networks import network_with_notes
from tests.reversed_text import load_text, write_reversed

TINY = TRANSFORMERS["transformer_tiny"]


@pytest.fixture(scope="module")
def model() -> keras.Model:
    return build_transformer(TINY, vocabulary=20, source=9, target=7, seed=0)


@pytest.fixture(scope="module")
def tokens() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.integers(4, 20, (3, 9)).astype("int32"), rng.integers(4, 20, (3, 7)).astype("int32")


def test_the_base_size_is_the_papers() -> None:
    base = build_transformer(TRANSFORMERS["transformer"], 37000, 16, 16, seed=0)
    parameters = sum(int(np.prod(weight.shape)) for weight in base.trainable_weights)
    # Table 3 says 65 million; the second of its three matrices of 37,000 is the first, as here.
    assert parameters == pytest.approx(65e6, rel=0.04)


def test_positions_are_the_papers_sinusoids() -> None:
    table = sinusoids(50, 16)
    assert table[7, 4] == pytest.approx(np.sin(7 / 10000 ** (4 / 16)))
    assert table[7, 5] == pytest.approx(np.cos(7 / 10000 ** (4 / 16)))


def test_a_token_is_told_by_what_is_read_and_what_stands_before_it(model, tokens) -> None:
    source, target = tokens
    logits = np.asarray(model([source, target]))
    assert logits.shape == (3, 7, 20)
    later = target.copy()
    later[:, 4:] = 5
    np.testing.assert_allclose(model([source, later])[:, :4], logits[:, :4], atol=1e-5)
    assert np.abs(np.asarray(model([source, later]))[:, 4:] - logits[:, 4:]).max() > 0.01
    other = source.copy()
    other[:, 3] = 1
    assert np.abs(np.asarray(model([other, target])) - logits).max() > 0.01


def test_padding_changes_nothing(model, tokens) -> None:
    source, target = tokens
    filled = np.where(np.arange(9) < 5, source, 0)
    short = build_transformer(TINY, vocabulary=20, source=5, target=7, seed=0)
    np.testing.assert_allclose(
        model([filled, target]), short([source[:, :5], target]), rtol=1e-4, atol=1e-5
    )


def test_weights_follow_from_the_seed_and_survive_saving(model, tokens, tmp_path) -> None:
    same, other = (build_transformer(TINY, 20, 9, 7, seed) for seed in (0, 1))
    for ours, theirs in zip(model.get_weights(), same.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert not np.array_equal(model(list(tokens)), other(list(tokens)))
    kernels = [weight for weight in model.get_weights() if weight.size == 64 * 64]
    assert len({kernel.tobytes() for kernel in kernels}) == len(kernels) == 4 * 6
    model.save(tmp_path / "net.keras")
    again = keras.models.load_model(tmp_path / "net.keras", safe_mode=True)
    np.testing.assert_array_equal(again(list(tokens)), model(list(tokens)))


def test_heads_and_feed_forward_units_can_be_cut_and_nothing_else(model) -> None:
    names = {str(group).split(":")[0] for group in trace_channels(model).groups}
    attention = {f"encoder{n}_attention/heads" for n in (1, 2)}
    attention |= {f"decoder{n}_{kind}/heads" for n in (1, 2) for kind in ("attention", "source")}
    assert names == attention | {f"{side}{n}_inner" for side in ("encoder", "decoder") for n in (1, 2)}


def test_the_spec_names_it_and_width_scales_it(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    dataset = load_text(write_reversed(tmp_path / "text"))
    half = network_with_notes("model", "transformer_tiny", 0.5, dataset, 0).model
    assert half.get_layer("encoder1_attention").num_heads == 2
    assert half.get_layer("encoder1_inner").units == 64
    assert half.output_shape == (None, 12, 29)
    with pytest.raises(UserError, match="width must be above 0"):
        transformer("transformer", dataset, width=0.0, seed=0)
    with pytest.raises(UserError, match="resnet20 classifies one image"):
        network_with_notes("model", "resnet20", 1.0, dataset, 0)
