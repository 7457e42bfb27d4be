"""Decoding step by step against the whole model, computed anew for each token."""

from functools import partial

import keras
import numpy as np
import pytest

from pocketkube.data.token_pairs import BEGIN, END
from pocketkube.errors import UserError
from pocketkube.translation.bleu import bleu
from pocketkube.translation.keras_decoder import KerasDecoder
from pocketkube.translation.search import beam_search, greedy_search
from tests.translation.networks import LENGTH, own_model, read_by_softmax, sentences, small_model

VOCABULARY = 12
layers = keras.layers


class Recomputing:
    """Computes all of each translation for every token of it."""

    length = LENGTH

    def __init__(self, model: keras.Model) -> None:
        self._model = keras.Model(model.inputs, model.outputs[0])

    def begin(self, sources: np.ndarray) -> None:
        self._sources, self._written = sources, np.zeros((len(sources), LENGTH), "int32")

    def next(self, tokens: np.ndarray, position: int) -> np.ndarray:
        self._written[:, position] = tokens
        return self._model.predict([self._sources, self._written], verbose=0)[:, position]

    def reorder(self, rows: np.ndarray) -> None:
        self._sources, self._written = self._sources[rows], self._written[rows]


@pytest.fixture(scope="module")
def model() -> keras.Model:
    return small_model(VOCABULARY)


@pytest.fixture(scope="module")
def sources() -> np.ndarray:
    return sentences(VOCABULARY)


def test_steps_with_a_cache_give_what_the_whole_model_gives(model, sources) -> None:
    steps, whole = KerasDecoder(model), Recomputing(model)
    rng, tokens = np.random.default_rng(1), np.full(6, BEGIN)
    for decoder in (steps, whole):
        decoder.begin(sources)
    for position in range(LENGTH):
        np.testing.assert_allclose(
            steps.next(tokens, position), whole.next(tokens, position), rtol=1e-4, atol=1e-4
        )
        tokens, rows = rng.integers(4, VOCABULARY, 6), rng.integers(0, 6, 6)
        for decoder in (steps, whole):
            decoder.reorder(rows)


# Of weights that are sure of nothing, the shortest translation is the likeliest but for a penalty.
@pytest.mark.parametrize("search", [greedy_search, partial(beam_search, length_penalty=4.0)])
def test_translations_are_those_of_a_decoder_that_computes_everything_anew(
    model, sources, search
) -> None:
    found = search(KerasDecoder(model), sources)
    assert found == search(Recomputing(model), sources)
    assert len({tuple(each) for each in found}) > 1


@pytest.mark.parametrize("positions", ["weight", "constant"])
def test_positions_of_a_model_of_ones_own_are_those_of_the_whole_model(sources, positions) -> None:
    model = own_model(VOCABULARY, positions)
    found = greedy_search(KerasDecoder(model), sources)
    assert found == greedy_search(Recomputing(model), sources)
    assert len({token for each in found for token in each}) > 2


def test_a_table_of_as_many_rows_as_positions_is_none_of_positions(sources) -> None:
    model, short = read_by_softmax(VOCABULARY), sources[:, :LENGTH]
    assert greedy_search(KerasDecoder(model), short) == greedy_search(Recomputing(model), short)


def test_a_layer_that_fails_at_one_position_is_no_fault_of_the_program() -> None:
    with pytest.raises(UserError, match=r"cannot be computed one position at a time \(.*reshape"):
        KerasDecoder(own_model(VOCABULARY, "all at once"))


class Chain:
    """Each token's probabilities follow from the token before alone."""

    length = 5

    def __init__(self, probabilities: np.ndarray) -> None:
        self._logits = np.log(probabilities)

    def begin(self, sources: np.ndarray) -> None:
        pass

    def next(self, tokens: np.ndarray, position: int) -> np.ndarray:
        return self._logits[tokens]

    def reorder(self, rows: np.ndarray) -> None:
        pass


def everything(chain: np.ndarray, penalty: float) -> list[int]:
    """The best of all translations, one by one."""
    best: tuple[float, list[int]] = (-np.inf, [])
    going = [(0.0, [BEGIN])]
    for length in range(1, Chain.length + 1):
        ended = [(score + np.log(chain[said[-1], END]), said) for score, said in going]
        ended = [(score / ((5 + length) / 6) ** penalty, said[1:]) for score, said in ended]
        best = max([best, *ended])
        going = [
            (score + np.log(chain[said[-1], token]), [*said, token])
            for score, said in going
            for token in range(len(chain))
            if token != END
        ]
    return best[1]


@pytest.mark.parametrize("penalty", [0.0, 0.6, 1.0, 3.0])
def test_a_beam_that_is_wide_enough_finds_the_best_of_all(penalty: float) -> None:
    for seed in range(5):
        chain = np.random.default_rng(seed).dirichlet([0.4] * 6, 6) + 1e-6
        (found,) = beam_search(Chain(chain), np.zeros((1, 1)), beams=6**4, length_penalty=penalty)
        assert found == everything(chain, penalty)


def test_greed_may_miss_what_a_beam_finds() -> None:
    chain = np.full((6, 6), 1e-6)
    chain[BEGIN, 4], chain[BEGIN, 5] = 0.6, 0.4
    chain[4] = 0.15
    chain[5, END] = 1.0
    assert greedy_search(Chain(chain), np.zeros((1, 1)))[0][0] == 4
    assert beam_search(Chain(chain), np.zeros((3, 1))) == [[5]] * 3


@pytest.mark.parametrize("kind", ["attention", "mean"])
def test_a_model_whose_positions_depend_on_each_other_otherwise_is_refused(kind: str) -> None:
    source, target = keras.Input((9,), dtype="int32"), keras.Input((LENGTH,), dtype="int32")
    x = layers.Embedding(VOCABULARY, 8)(target)
    memory = layers.Embedding(VOCABULARY, 8)(source)
    x = x + layers.MultiHeadAttention(2, 4)(x, memory)
    if kind == "attention":
        x = layers.MultiHeadAttention(2, 4, name="both_ways")(x, x)
        message = "both_ways does not look back alone"
    else:
        x = x - keras.ops.mean(x, axis=1, keepdims=True)
        message = "its positions depend on each other by more than causal attention"
    model = keras.Model([source, target], layers.Dense(VOCABULARY)(x))
    with pytest.raises(UserError, match=message):
        KerasDecoder(model)
    with pytest.raises(UserError, match="is no model of translation, which has two inputs"):
        KerasDecoder(keras.Model(source, layers.Dense(VOCABULARY)(memory)))


def test_bleu_is_sacrebleus() -> None:
    references = ("the cat sat on the mat", "there is a dog in the garden")
    assert bleu(list(references), references, "en").score == pytest.approx(100)
    found = bleu(["the cat sat on a mat", "there is a dog in the house"], references, "en")
    assert 20 < found.score < 80
    assert "tok:13a" in found.signature
    assert found.told.startswith(
        f"BLEU {found.score:.2f} on 2 test sentences, 4 beams, length penalty 0.6"
    )


@pytest.mark.parametrize(
    ("language", "said", "wanted", "tokens"),
    [
        ("zh", "我今天去学校看书了", "我今天去学校读书了", "zh"),
        ("zh-Hans", "我今天去学校看书了", "我今天去学校读书了", "zh"),
        ("ja", "今日は学校へ行きました", "今日は学校に行きました", "char"),
        ("ko", "오늘은학교에갔습니다", "오늘은학교로갔습니다", "char"),
    ],
)
def test_bleu_splits_languages_that_have_no_spaces(
    language: str, said: str, wanted: str, tokens: str
) -> None:
    """By spaces each sentence would be one word, and a wrong one."""
    found = bleu([said], (wanted,), language)
    assert 40 < found.score < 90
    assert f"tok:{tokens}" in found.signature
