"""Libraries say nothing of our own work, and what they say later on goes where it belongs."""

import logging
import sys
from collections.abc import Iterator

import absl.logging
import keras
import numpy as np
import pytest
import tensorflow as tf

import pocketkube as pk
from pocketkube.console.quiet import captured_stderr


@pytest.fixture
def said() -> Iterator[list[str]]:
    """What TensorFlow's logger says, as a script of a user's sees it."""
    lines: list[str] = []

    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    logger, handler = tf.get_logger(), Lines()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel("INFO")
    yield lines
    logger.removeHandler(handler)
    logger.setLevel(level)


def test_who_keeps_standard_error_while_it_is_caught_prints_later_on(capfd, monkeypatch) -> None:
    monkeypatch.setattr(logging.root, "handlers", [])
    with captured_stderr() as caught:
        handler = logging.StreamHandler(sys.stderr)
        absl.logging.error("caught")
        print("caught, too", file=sys.stderr)
        text = caught.text
    handler.emit(logging.makeLogRecord({"msg": "said later"}))
    assert "caught\n" in text
    assert "caught, too\n" in text
    assert capfd.readouterr().err == "said later\n"
    assert logging.root.handlers == [], "the user's own basicConfig would do nothing"


def small(units: int) -> keras.Model:
    given = keras.Input((3,))
    return keras.Model(given, keras.layers.Dense(units)(given))


def test_of_our_own_work_tensorflow_says_nothing_and_of_the_users_all(said, tmp_path) -> None:
    data = np.zeros((4, 3), "float32")
    models = [small(2) for _ in range(6)]
    for first, second in zip(models[::2], models[1::2], strict=True):
        pk.compare(first, second, data)
    pk.export(models[0], tmp_path / "net.tflite")
    assert said == []
    for number in range(6):
        tf.function(lambda x: x + 1)(tf.zeros(number))
    assert any("triggered tf.function retracing" in line for line in said)
