"""Channels are cut as far as is asked for; steps that are coarser than that are told, and only then."""

import re
from pathlib import Path

import keras
import pytest
from keras import layers

from pocketkube.errors import UserError
from pocketkube.facts import load_facts
from pocketkube.spec import parse_spec
from tests.steps import run_step


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network of a few steps of 8 channels."""
    folder = tmp_path_factory.mktemp("net")
    images = keras.Input((8, 8, 3))
    x = layers.Conv2D(16, 3, activation="relu")(images)
    x = layers.Conv2D(16, 3, activation="relu")(x)
    outputs = layers.Dense(3)(layers.GlobalAveragePooling2D()(x))
    keras.Model(images, outputs).save(folder / "net.keras")
    return folder


def notes_of(net: Path, target: dict, output: Path) -> list[str]:
    """What pruning for a target says of a network, which is trained once."""
    stages = [{"prune_channels": {"criterion": "l2", "round_to": 8}}]
    spec = parse_spec(
        {"model": str(net / "net.keras"), "dataset": "none", "target": target, "stages": stages}
    )
    if not (net / "first").exists():
        run_step(spec, "train_model", {}, net / "first")
    run_step(spec, "prune_channels", {"model": net / "first"}, output)
    return list(load_facts(output).stages[-1].notes)


def test_a_speedup_that_was_asked_for_and_passed_by_far_is_told(net: Path, tmp_path: Path) -> None:
    (note,) = (each for each in notes_of(net, {"speedup": 2.2}, tmp_path / "out") if "came out" in each)
    assert "x came out where 2.2x was asked for: channels go in steps of 8; " in note


def test_a_speedup_that_was_only_tried_for_a_size_is_not(net: Path, tmp_path: Path) -> None:
    notes = notes_of(net, {"max_size": 9000}, tmp_path / "out")
    assert any("tried" in each for each in notes)
    assert not any("asked for" in each for each in notes)


def test_nor_where_the_size_takes_more_than_the_speedup(net: Path, tmp_path: Path) -> None:
    notes = notes_of(net, {"speedup": 1.05, "max_size": 9000}, tmp_path / "out")
    assert any("tried" in each for each in notes)
    assert not any("came out" in each for each in notes)


def test_a_network_whose_file_meets_the_target_is_left_whole(net: Path, tmp_path: Path) -> None:
    notes = notes_of(net, {"max_size": 10**6}, tmp_path / "out")
    before, after = load_facts(net / "first").profile, load_facts(tmp_path / "out").profile
    assert notes[0] == "Nothing is cut: the file meets the target already."
    assert re.fullmatch(rf"tried {before.parameters} parameters: \d+ bytes", notes[1])
    assert len(notes) == 2
    assert after == before
    assert not load_facts(tmp_path / "out").unrecovered


def test_one_that_has_no_channels_to_cut_is_refused_only_where_it_has_to_be_cut(tmp_path: Path) -> None:
    linear = [keras.Input((8, 8, 3)), layers.Flatten(), layers.Dense(3)]
    keras.Sequential(linear, name="linear").save(tmp_path / "net.keras")
    notes = notes_of(tmp_path, {"max_size": 10**6}, tmp_path / "out")
    assert notes[0] == "Nothing is cut: the file meets the target already."
    with pytest.raises(UserError, match="The model linear has no channels that may be cut"):
        notes_of(tmp_path, {"max_size": 1000}, tmp_path / "smaller")
