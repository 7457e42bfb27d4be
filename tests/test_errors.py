"""What messages repeat of the errors of libraries."""

from pathlib import Path
from typing import NoReturn

import keras
import pytest
from keras import layers

from pocketkube.data.load import load_dataset
from pocketkube.deploy import two_models
from pocketkube.deploy.two_models import Runnable
from pocketkube.errors import MachineError, OutOfMemory, RejectedFile, first_line
from pocketkube.spec.sections import DatasetSettings
from pocketkube.stages import searching, targets, teaching

LONG = "word " * 200


@pytest.mark.parametrize(
    ("said", "line"),
    [
        ("", ""),
        ("\n one \n two", "one"),
        (
            "A total of 1 objects could not be loaded. Example error message for object <A>:\n\nWhy.",
            "Why.",
        ),
        (
            "Exception encountered when calling Conv2D.call().\n\n\x1b[1mToo small.\x1b[0m\n\nArgs:",
            "Too small.",
        ),
        ("Dense could not be deserialized properly.\n\nException encountered: No units", "No units"),
        (
            "in user code:\n\n  File 'a.py', line 1, in f\n    f(x)\n\n  ValueError: No scope\n",
            "No scope",
        ),
        (
            "{{function_node f}} OOM when allocating on /job:a/device:CPU:0 by allocator m [Op:X]",
            "OOM when allocating",
        ),
    ],
)
def test_the_cause_stands_first(said: str, line: str) -> None:
    assert first_line(ValueError(said)) == (line or "ValueError")


def test_a_long_cause_is_cut_between_words() -> None:
    found = first_line(ValueError(LONG))
    assert len(found) <= 400
    assert found.endswith("word …")


def test_what_keras_says_of_a_shape_and_of_a_class() -> None:
    with pytest.raises(ValueError, match="Computed output size") as small:
        keras.Sequential([keras.Input((2, 2, 1)), layers.Conv2D(1, 3)])
    assert first_line(small.value).startswith("Computed output size would be")
    config = keras.saving.serialize_keras_object(keras.Sequential([keras.Input((2,)), layers.Dense(3)]))
    config["config"]["layers"][1]["config"]["units"] = -1
    with pytest.raises((TypeError, ValueError)) as wrong:
        keras.saving.deserialize_keras_object(config)
    assert "positive integer" in first_line(wrong.value)


def test_another_text_leaves_the_kind_of_an_error() -> None:
    rejected = RejectedFile("It is too large.", b"content").saying("small.tflite:\n it is too large.")
    assert isinstance(rejected, RejectedFile)
    assert (str(rejected), rejected.content) == ("small.tflite: it is too large.", b"content")
    assert type(OutOfMemory("a").saying("b")) is OutOfMemory


def test_what_the_machine_lacks_is_no_mistake_in_what_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = MachineError("No space left on the disk.")

    def fails(*_: object, **__: object) -> NoReturn:
        raise full

    data = DatasetSettings(builtin="digits")
    prepared = tmp_path / "prepared"
    prepared.mkdir()
    model = Runnable("net.tflite", b"")
    for place, call in (
        ("pocketkube.data.load._load", lambda: load_dataset(data, tmp_path)),
        ("pocketkube.deploy.two_models.outputs_of", lambda: two_models.outputs_by(model, (), "")),
        ("pocketkube.stages.teaching.parse_location", lambda: teaching._load(None, "", None, None)),
        ("pocketkube.stages.searching.open_prepared", lambda: searching._opened_again(prepared)),
    ):
        monkeypatch.setattr(place, fails)
        with pytest.raises(MachineError, match="No space left"):
            call()
    with pytest.raises(MachineError, match="No space left"):
        targets._reachable(fails, 2.0)
    assert prepared.is_dir()
