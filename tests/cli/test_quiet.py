"""What libraries warn of does not reach the terminal, unless it is asked for; what we say does."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

NOISY = """\
import logging
import sys
import warnings

import keras


@keras.saving.register_keras_serializable("noisy")
class Noisy(keras.layers.Layer):
    def call(self, x):
        import absl.logging
        import tensorflow as tf

        warnings.warn("a warning of Python's", stacklevel=1)
        absl.logging.warning("a warning of absl's")
        tf.get_logger().warning("a warning of TensorFlow's")
        return x
"""
NET = """\
import keras, noisy, numpy
from keras import layers
inputs = keras.Input((8, 8, 1), name="image")
x = layers.Conv2D(8, 3, activation="relu")(layers.Conv2D(8, 3, activation="relu")(inputs))
x = layers.Dense(10)(noisy.Noisy()(layers.GlobalAveragePooling2D()(x)))
net = keras.Model({"image": inputs}, x)
net.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
net.fit({"image": numpy.zeros((8, 8, 8, 1))}, numpy.zeros(8), verbose=0)
net.save("net.keras")
"""
SPEC = """\
model: net.keras
dataset: {builtin: digits, image_size: [8, 8]}
target: {speedup: 1.3}
stages:
  - prune_channels: {criterion: lasso, round_to: 1, calibration_examples: 64}
  - sparsify_weights: {epochs: 1}
  - quantize_int8: {min_agreement: 0}
training: {batch_size: 128}
benchmark: {runs: 5, threads: [1]}
"""
OURS = r"\[\d/\d\] .+|stage=.+|warning: .+"
THEIRS = ("a warning of Python's", "a warning of absl's", "a warning of TensorFlow's")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("noisy")
    (folder / "noisy.py").write_text(NOISY)
    (folder / "spec.yaml").write_text(SPEC)
    done = run(folder, NET)
    assert done.returncode == 0, done.stderr
    assert all(words in done.stderr for words in THEIRS)
    return folder


def run(folder: Path, program: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
    given = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        capture_output=True,
        text=True,
        cwd=folder,
        env=given | environment,
    )


COMMAND = """\
from pocketkube.console.quiet import quiet_tensorflow
quiet_tensorflow()
import noisy
from pocketkube.cli import main
main()
"""


def test_a_whole_job_says_only_what_is_ours(folder: Path) -> None:
    done = run(folder, COMMAND, "run", "spec.yaml", "-o", "out")
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    assert [line for line in lines if not re.fullmatch(OURS, line)] == []
    assert "[2/8] load_model" in lines
    assert "stage=sparsify_weights step=10/10" in done.stderr
    assert "Before and after" in done.stdout
    assert not any(words in done.stdout for words in THEIRS)


def test_who_wants_the_rest_has_it(folder: Path) -> None:
    arguments = ("stage", "train_model", "--spec", "spec.yaml", "--output", "first")
    done = run(folder, COMMAND, *arguments, TF_CPP_MIN_LOG_LEVEL="0")
    assert done.returncode == 0, done.stderr
    assert [words for words in (*THEIRS, "absl::InitializeLog") if words not in done.stderr] == []


def test_a_mistake_is_one_line(folder: Path) -> None:
    (folder / "wrong.yaml").write_text(SPEC.replace("net.keras", "nowhere.keras"))
    done = run(folder, "from pocketkube.cli import main\nmain()", "run", "wrong.yaml", "-o", "wrong")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("pocketkube: model: There is no model file")
