"""Order follows from what stages leave and break, for stages that know nothing of each other, too."""

import itertools
from collections.abc import Mapping

import pytest

from pocketkube.spec.order import broken_order
from pocketkube.spec.problems import stage_model
from pocketkube.spec.sections import StageBase, Trait
from pocketkube.spec.stage_settings import STAGE_NAMES


class DropWeights(StageBase):
    """A stage of someone else's: it makes zeros, and what is on levels leaves them."""

    name: str = "drop_weights"

    @property
    def leaves(self) -> frozenset[Trait]:
        return super().leaves | {Trait.ZEROS}

    @property
    def breaks(self) -> Mapping[Trait, str]:
        return {**super().breaks, Trait.LEVELS: "{later} leaves the levels of {earlier}; swap them"}


def stage(name: str) -> StageBase:
    return stage_model(name)(name=name, **({"student": "lenet"} if name == "distill_model" else {}))


@pytest.mark.parametrize(
    ("earlier", "later", "said"),
    [
        ("prune_channels", "drop_weights", None),
        ("drop_weights", "prune_channels", "fills the zeros of drop_weights; put it before"),
        ("drop_weights", "quantize_weights", None),
        (
            "quantize_weights",
            "drop_weights",
            "drop_weights leaves the levels of quantize_weights; swap",
        ),
        (
            "quantize_int8",
            "drop_weights",
            "quantize_int8 makes a LiteRT file, which nothing can follow",
        ),
        ("drop_weights", "distill_model", "put it first, before drop_weights"),
    ],
)
def test_a_new_stage_states_its_own_order(earlier: str, later: str, said: str | None) -> None:
    made = [DropWeights() if name == "drop_weights" else stage(name) for name in (earlier, later)]
    found = broken_order(made)
    assert found is None if said is None else said in found


def test_a_refusal_names_both_stages_and_what_to_do() -> None:
    pairs = itertools.product(STAGE_NAMES, repeat=2)
    refused = {pair: broken_order([stage(name) for name in pair]) for pair in pairs}
    for (earlier, later), sentence in refused.items():
        if sentence:
            why, instead = sentence.split("; ", 1)
            assert earlier in sentence, sentence
            assert later in sentence, sentence
            assert why, sentence
            assert instead, sentence
            assert "{" not in sentence, sentence
    assert refused["cluster_weights", "fine_tune"]
    assert not refused["fine_tune", "cluster_weights"]
