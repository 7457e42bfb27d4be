"""What a job cannot end in is told before it begins."""

from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

from pocketkube.errors import UserError
from pocketkube.spec import parse_spec
from pocketkube.stages.whole_job import run_inline


@keras.saving.register_keras_serializable("tests")
class Inverse(layers.Layer):
    def call(self, x):
        return keras.ops.erfinv(x)


def save(folder: Path, given: keras.KerasTensor, hidden: keras.KerasTensor) -> str:
    path = folder / "net.keras"
    keras.Model(given, layers.Dense(2)(hidden), name="net").save(path)
    shape = tuple(given.shape[1:])
    rng = np.random.default_rng(0)
    kind = str(given.dtype)
    x = rng.random((60, *shape)).astype(kind)
    np.savez(folder / "data.npz", x=x, y=rng.integers(0, 2, 60))
    return str(path)


def job(folder: Path, model: str, *stages: object) -> dict:
    return {
        "model": model,
        "dataset": {"npz": str(folder / "data.npz")},
        "stages": [*stages],
        "training": {"epochs": 1000},
    }


@pytest.mark.parametrize(
    ("network", "stages", "message"),
    [
        (
            lambda x: layers.LSTM(4, name="listens")(layers.Reshape((600, 1))(x)),
            [{"fine_tune": {"epochs": 1000}}, "quantize_int8"],
            r"600 \(listens of 600 steps\); use quantize_dynamic",
        ),
        (
            lambda x: Inverse()(layers.Flatten()(x)),
            [{"fine_tune": {"epochs": 1000}}],
            "LiteRT has no operation for TensorFlow's Erfinv",
        ),
        (
            lambda x: layers.Flatten()(x),
            [{"quantize_weights": {"layers": {"nowhere": 4}, "epochs": 1000}}],
            "nowhere is no layer that is quantised",
        ),
    ],
    ids=["recurrent", "operation", "levels"],
)
def test_the_first_stage_refuses_and_nothing_is_trained(
    tmp_path: Path, network, stages, message
) -> None:
    given = keras.Input((20, 30, 1))
    spec = parse_spec(job(tmp_path, save(tmp_path, given, network(given)), *stages))
    said: list[str] = []
    with pytest.raises(UserError, match=message):
        run_inline(spec, tmp_path / "steps", said.append)
    assert said == [said[0]]
    assert "check_export" in said[0]
    assert not (tmp_path / "steps").exists() or not list((tmp_path / "steps").iterdir())


def test_a_student_is_tried_before_its_teacher_is_trained(tmp_path: Path) -> None:
    given = keras.Input((16, 16, 1))
    student = save(tmp_path, given, Inverse()(layers.Flatten()(given)))
    spec = parse_spec(job(tmp_path, "lenet", {"distill_model": {"student": student}}))
    with pytest.raises(UserError, match="net: LiteRT has no operation for TensorFlow's Erfinv"):
        run_inline(spec, tmp_path / "steps", lambda _: None)
    assert not (tmp_path / "steps" / "train_model").exists()


def test_a_drop_of_more_than_all_accuracy_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    given = keras.Input((6,))
    spec = job(tmp_path, save(tmp_path, given, given), "prune_channels")
    target = {"max_accuracy_drop": 1.5}
    said: list[str] = []
    with pytest.raises(UserError, match=r"1\.5 is 150 points of accuracy; for one point give 0\.01"):
        run_inline(parse_spec(spec | {"target": target}), tmp_path / "steps", said.append)
    assert [line.split()[1] for line in said] == ["check_export"]
    values = spec | {"model": "net.h5", "task": "regression", "target": target}
    assert parse_spec(values).target.max_accuracy_drop == 1.5


def test_types_of_inputs_are_tried(tmp_path: Path) -> None:
    given = keras.Input((6,), dtype="int32", name="words")
    hidden = layers.GlobalAveragePooling1D()(layers.Embedding(4, 3)(given))
    stage = {"quantize_int8": {"input_type": "int8"}}
    spec = parse_spec(job(tmp_path, save(tmp_path, given, hidden), "fine_tune", stage))
    with pytest.raises(UserError, match="input words takes int32, which is not quantized"):
        run_inline(spec, tmp_path / "steps", lambda _: None)
    assert not (tmp_path / "steps" / "train_model").exists()
