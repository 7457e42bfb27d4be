"""A job of a model that takes images of any size."""

from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

from pocketkube.bundle import Bundle, load_bundle, load_model
from pocketkube.data import load_dataset
from pocketkube.errors import UserError
from pocketkube.litert.running import LiteRTModel
from pocketkube.report import build_report
from pocketkube.spec import parse_spec
from pocketkube.spec.sections import DatasetSettings
from pocketkube.stages.configs import LearningConfig
from pocketkube.stages.outputs import collect
from pocketkube.stages.plan import steps_to
from pocketkube.stages.sizes import at_size_asked
from pocketkube.stages.teaching import load_teachers
from pocketkube.stages.whole_job import run_inline


def open_network(channels: int = 1) -> keras.Model:
    keras.utils.set_random_seed(0)
    inputs = keras.Input((None, None, channels))
    x = layers.Conv2D(8, 3, padding="same", name="stem")(inputs)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.Conv2D(16, 3, strides=2, padding="same", activation="relu", name="conv")(x)
    within = keras.Input((None, None, 16))
    y = layers.Conv2D(16, 3, padding="same", activation="relu", name="last")(within)
    x = keras.Model(within, y, name="nested")(x)
    x = layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, layers.Dense(10, activation="softmax")(x))
    model.compile("adam", "sparse_categorical_crossentropy")
    return model


def spec(folder: Path, **changes):  # type: ignore[no-untyped-def]
    given = {
        "model": str(folder / "net.keras"),
        "dataset": {"builtin": "digits", "image_size": [8, 10], "max_train": 600},
        "target": {"speedup": 2},
        "stages": [
            {"prune_channels": {"round_to": 1}},
            {"fine_tune": {"epochs": 8, "learning_rate": 0.01}},
            "quantize_int8",
        ],
        "training": {"batch_size": 32},
        "distillation": {"weight": 0},
        "benchmark": {"runs": 5, "threads": [1]},
    }
    return parse_spec(given | changes)


def test_it_is_compressed_at_the_datas_size_and_takes_any_in_the_end(tmp_path: Path) -> None:
    open_network().save(tmp_path / "net.keras")
    folders = run_inline(spec(tmp_path), tmp_path / "steps", lambda line: None)
    result = collect(folders, tmp_path)
    assert 2.0 <= result.speedup < 2.3
    assert result.after.score is not None
    assert result.after.score > 0.5
    said = "at 8 x 10 x 1, as the data are. model.keras still takes any"
    assert said in build_report(result)
    (size,) = LiteRTModel((tmp_path / "model.tflite").read_bytes()).input_shapes
    assert tuple(size) == (1, 8, 10, 1)
    # What stages go on with has the size, what people get has any.
    bundle, model = load_bundle(folders["2_fine_tune"]).model, load_model(tmp_path / "model.keras")
    assert bundle.input_shape == (None, 8, 10, 1)
    assert model.input_shape == (None, None, None, 1)
    images = np.random.default_rng(0).random((4, 8, 10, 1), np.float32)
    np.testing.assert_allclose(model(images), bundle(images), atol=1e-6)
    assert model(np.zeros((1, 30, 20, 1), np.float32)).shape == (1, 10)
    # One that was compressed at its own size teaches at the size of other data.
    teachers = {"teachers": [str(folders["2_fine_tune"])]}
    other = {"builtin": "digits", "image_size": [10, 12], "max_train": 64}
    job = spec(tmp_path, dataset=other, distillation=teachers, target=None, stages=["fine_tune"])
    config = steps_to(job, "1_fine_tune")[-1].config
    assert isinstance(config, LearningConfig)
    (teacher,) = load_teachers(config, Bundle(open_network()), load_dataset(job.dataset))
    assert teacher.model.input_shape == (None, 10, 12, 1)
    np.testing.assert_array_equal(teacher.model.get_weights()[0], model.get_weights()[0])


def test_what_does_not_fit_is_told_before_anything_is_trained(tmp_path: Path) -> None:
    open_network(channels=3).save(tmp_path / "net.keras")
    job = spec(tmp_path)
    with pytest.raises(
        UserError, match=r"takes inputs of the shapes \[\(None, None, 3\)\] an example; received"
    ):
        run_inline(job, tmp_path / "steps", lambda line: None, steps=steps_to(job, "check_export"))


def test_without_any_example_the_size_is_said(tmp_path: Path) -> None:
    open_network().save(tmp_path / "net.keras")
    stages = [{"prune_channels": {"round_to": 1}}, "quantize_dynamic"]
    unsaid = spec(tmp_path, dataset="none", stages=stages, distillation={})
    with pytest.raises(
        UserError, match=r"as in dataset: \{builtin: none, image_size: \[224, 224\]\}\.$"
    ):
        run_inline(unsaid, tmp_path / "a", lambda line: None, steps=steps_to(unsaid, "check_export"))
    said = spec(
        tmp_path,
        dataset={"builtin": "none", "image_size": [12, 10]},
        stages=stages,
        distillation={},
    )
    folders = run_inline(said, tmp_path / "b", lambda line: None, steps=steps_to(said, "result"))
    (size,) = LiteRTModel((folders["result"] / "model.tflite").read_bytes()).input_shapes
    assert tuple(size) == (1, 12, 10, 1)
    assert load_model(folders["1_prune_channels"] / "model.keras").input_shape == (None, None, None, 1)


def test_a_length_is_not_asked_for_as_an_image_size() -> None:
    nothing = DatasetSettings(builtin="none")
    inputs = keras.Input((None, 6))
    sequences = keras.Model(inputs, layers.GlobalAveragePooling1D()(inputs))
    with pytest.raises(UserError, match=r"that have one: give data whose examples have one.$"):
        at_size_asked(nothing, sequences)
    with pytest.raises(UserError, match=r"that have one: give it, as in dataset: \{builtin: none"):
        at_size_asked(nothing, open_network())
