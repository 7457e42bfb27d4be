"""What pruning says of layers whose multiply-adds stand in no rule, or are not known at all."""

import json
import re
import sys

import keras
import pytest
from keras import layers

from pocketkube.cli import main
from pocketkube.errors import UserError
from pocketkube.pruning.prune import prune
from pocketkube.spec.sections import PruneChannels
from tests.graph.custom_layers import Block, Frequencies
from tests.graph.tensorflow_profiler import float_operations

L2 = PruneChannels(criterion="l2", round_to=1)


def between(layer: layers.Layer) -> keras.Model:
    """A network of convolutions with a layer of the user's own in its middle."""
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(24, 3, padding="same", activation="relu", name="first")(inputs)
    x = layers.Conv2D(8, 3, padding="same", activation="relu", name="second")(x)
    x = layer(x)
    x = layers.Conv2D(24, 3, padding="same", activation="relu", name="third")(x)
    x = layers.Conv2D(24, 3, padding="same", activation="relu", name="fourth")(x)
    return keras.Model(inputs, layers.Dense(5)(layers.GlobalAveragePooling2D()(x)))


@pytest.fixture(scope="module")
def with_block() -> keras.Model:
    return between(Block(8, name="block"))


@pytest.fixture(scope="module")
def with_frequencies() -> keras.Model:
    return between(Frequencies(name="spectrum"))


@pytest.mark.parametrize("speedup", [1.3, 2.0, 3.0])
def test_a_speedup_counts_what_a_layer_of_ones_own_costs(with_block, speedup):
    pruned = prune(with_block, L2, speedup=speedup)
    counted = float_operations(with_block) / float_operations(pruned.model)
    ours = pruned.before.speedup_to(pruned.after)
    assert ours.reaches(speedup)
    # Biases and sums shrink less than products do.
    assert counted == pytest.approx(ours.value, rel=0.02)


def test_a_speedup_that_such_a_layer_stands_against_is_refused_with_the_most_there_is(with_block):
    with pytest.raises(UserError, match=r"10\.00x cannot be reached.*block \(Block\)") as refusal:
        prune(with_block, L2, speedup=10)
    most = float(re.search(r"which gives ([\d.]+)x", str(refusal.value))[1])
    pruned = prune(with_block, L2, speedup=most - 0.01)
    counted = float_operations(with_block) / float_operations(pruned.model)
    assert counted == pytest.approx(most, rel=0.03)


def test_what_is_not_known_makes_a_speedup_at_most_that(with_frequencies):
    pruned = prune(with_frequencies, L2, speedup=2)
    speedup = pruned.before.speedup_to(pruned.after)
    assert str(speedup).startswith("at most 2.0")
    assert not speedup.reaches(2)
    assert any("spectrum (Frequencies)" in note and "counted" in note for note in pruned.notes)


def test_a_refusal_says_that_its_figure_is_a_bound_and_for_which_layer(with_frequencies):
    refusal = r"gives at most \d+\.\d\dx; .*none of the unknown counted: spectrum \(Frequencies\)"
    with pytest.raises(UserError, match=refusal):
        prune(with_frequencies, L2, speedup=500)


def test_parameters_are_known_all_the_same(with_frequencies):
    settings = L2.model_copy(update={"budget": "parameters"})
    with pytest.raises(UserError) as refusal:
        prune(with_frequencies, settings, speedup=500)
    assert "at most 9" not in str(refusal.value).replace("at most 90%", "")
    assert "counted" not in str(refusal.value)


def test_the_command_says_so_too(with_frequencies, tmp_path, capsys, monkeypatch):
    with_frequencies.save(tmp_path / "net.keras")
    command = ["pocketkube", "prune", f"{tmp_path}/net.keras", "--speedup", "2", "--criterion", "l2"]
    output = ["--output", f"{tmp_path}/small.keras"]
    monkeypatch.setattr(sys, "argv", [*command, *output, "--json"])
    main()
    facts = json.loads(capsys.readouterr().out)
    assert (facts["speedup_bound"], facts["macs_bound"]) == ("at most", "at least")
    assert facts["unknown"] == ["spectrum (Frequencies)"]
    monkeypatch.setattr(sys, "argv", ["pocketkube", "profile", f"{tmp_path}/small.keras", "--json"])
    main()
    facts = json.loads(capsys.readouterr().out)
    assert (facts["bound"], facts["unknown"]) == ("at least", ["spectrum (Frequencies)"])
