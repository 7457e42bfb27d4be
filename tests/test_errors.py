"""What messages repeat of the errors of libraries."""

import keras
import pytest
from keras import layers

from pocketkube.errors import first_line

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
