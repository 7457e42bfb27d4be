"""What a job's LiteRT file holds, and what is said of it."""

import re

import keras
import numpy as np
import pytest
from keras import layers

from pocketkube.errors import UserError
from pocketkube.litert.running import LiteRTModel
from pocketkube.spec import parse_spec
from pocketkube.stages.outputs import collect
from pocketkube.stages.whole_job import run_inline


@pytest.mark.parametrize("right", [True, False])
def test_zeros_are_stored_where_sparse_kernels_would_compute_them_wrongly(tmp_path, right) -> None:
    keras.utils.set_random_seed(0)
    given = keras.Input((16, 16, 3))
    x = layers.Conv2D(32, 3, 2, activation="relu")(layers.ZeroPadding2D()(given))
    x = layers.Conv2D(64, 1, activation="relu")(x)
    if not right:
        x = layers.MaxPooling2D()(x)
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(64, 1, activation="relu")(x))
    model = keras.Model(given, layers.Dense(2)(x))
    model.save(tmp_path / "model.keras")
    images = np.random.default_rng(0).random((64, 16, 16, 3), dtype=np.float32)
    np.savez(tmp_path / "data.npz", x=images, y=(images[..., 0].mean((1, 2)) > 0.5).astype("int64"))
    spec = {
        "model": str(tmp_path / "model.keras"),
        "dataset": {"npz": str(tmp_path / "data.npz")},
        "stages": [{"sparsify_weights": {"sparsity": 0.9, "distribution": "uniform", "epochs": 2}}],
        "training": {"epochs": 1, "batch_size": 8},
        "benchmark": {"runs": 5, "threads": [1]},
    }
    result = collect(
        run_inline(parse_spec(spec), tmp_path / "steps", lambda _: None), tmp_path
    ).model_dump(mode="json")
    notes = result["stages"][-1]["notes"]
    size, floats = result["after"]["size_bytes"], 4 * result["after"]["parameters"]
    if right:
        assert size < 0.5 * floats
        assert "On ARM, XNNPACK computes 2 of 2 1x1 convolutions with sparse kernels" in notes[1]
    else:
        assert size > floats
        assert notes[1].startswith("The file holds its zeros")


def test_a_file_that_strays_is_kept_to_look_at_and_never_served(tmp_path) -> None:
    """Two outputs whose sizes lie so far apart that 8 bits cannot hold their sum's small part."""
    keras.utils.set_random_seed(0)
    given = keras.Input((6,))
    large = layers.Dense(6, kernel_initializer=keras.initializers.Constant(100.0))(given)
    small = layers.Dense(6, kernel_initializer="orthogonal")(given)
    odd = layers.Subtract()([layers.Add()([large, small]), large])
    keras.Model(given, [layers.Identity(name="fine")(small), layers.Identity(name="odd")(odd)]).save(
        tmp_path / "model.keras"
    )
    x = np.random.default_rng(0).normal(size=(80, 6)).astype("float32")
    np.savez(tmp_path / "data.npz", x=x, y0=x, y1=x)
    spec = parse_spec(
        {
            "model": str(tmp_path / "model.keras"),
            "dataset": {"npz": str(tmp_path / "data.npz")},
            "stages": ["quantize_int8"],
        }
    )
    kept = tmp_path / "steps" / "result.rejected.tflite"
    for _ in range(2):
        with pytest.raises(
            UserError, match=r"of output odd .*error .*rejected\.tflite, to look at"
        ) as told:
            run_inline(spec, tmp_path / "steps", lambda _: None, cache=tmp_path / "cache")
        assert str(kept) in str(told.value)
        assert "of output fine" not in str(told.value)
        # It was never trained, which is to be seen to before more examples are.
        assert re.search(
            r"before compression output fine: .* is no better than .*only then calibrate",
            str(told.value),
        )
        assert LiteRTModel(kept).output_shapes == ((1, 6), (1, 6))
        kept.unlink()
    assert not (tmp_path / "steps" / "result").exists()
