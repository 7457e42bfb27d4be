import keras
import numpy as np
import pytest

from pocketkube.data import load_dataset
from pocketkube.errors import UserError
from pocketkube.extension import Registry
from pocketkube.models import MODEL_NAMES, build_model
from pocketkube.spec.sections import DatasetSettings
from pocketkube.stages.networks import network_with_notes


def trainable_parameters(model: keras.Model) -> int:
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


@pytest.mark.parametrize(
    ("name", "input_shape", "classes", "millions", "tolerance"),
    [
        ("lenet", (32, 32, 1), 10, 0.061706, 0),
        ("resnet20", (32, 32, 3), 10, 0.27, 0.01),
        ("resnet32", (32, 32, 3), 10, 0.46, 0.01),
        ("resnet44", (32, 32, 3), 10, 0.66, 0.01),
        ("resnet56", (32, 32, 3), 10, 0.85, 0.01),
        ("resnet18", (224, 224, 3), 1000, 11.689512, 0),
        ("resnet50", (224, 224, 3), 1000, 25.557032, 0),
        ("mobilenet_v1", (224, 224, 3), 1000, 4.231976, 0),
        ("mobilenet_v2", (224, 224, 3), 1000, 3.504872, 0),
    ],
)
def test_parameter_counts_are_the_papers(name, input_shape, classes, millions, tolerance):
    counted = trainable_parameters(build_model(name, input_shape, classes))
    assert abs(counted / 1e6 - millions) <= tolerance + 1e-9


@pytest.mark.parametrize("name", ["lenet", "resnet20", "resnet18", "mobilenet_v1", "mobilenet_v2"])
def test_gives_logits_that_survive_saving(name, tmp_path):
    model = build_model(name, (32, 32, 1), 7, width=0.25, seed=3)
    images = np.random.default_rng(0).random((2, 32, 32, 1), dtype=np.float32)
    logits = model(images)
    assert logits.shape == (2, 7)
    assert isinstance(model.layers[-1], keras.layers.Dense)
    assert model.layers[-1].activation is keras.activations.linear
    model.save(tmp_path / "net.keras")
    again = keras.models.load_model(tmp_path / "net.keras", safe_mode=True)
    np.testing.assert_array_equal(again(images), logits)


def test_weights_follow_from_the_seed():
    first, same, other = (build_model("resnet20", (32, 32, 1), 10, seed=s) for s in (1, 1, 2))
    for left, right in zip(first.get_weights(), same.get_weights(), strict=True):
        np.testing.assert_array_equal(left, right)
    assert not np.array_equal(first.get_weights()[0], other.get_weights()[0])
    kernels = [w for w in first.get_weights() if w.shape == (3, 3, 16, 16)]
    assert len({kernel.tobytes() for kernel in kernels}) == len(kernels) == 6


@pytest.mark.parametrize("name", MODEL_NAMES)
def test_width_multiplies_channels(name):
    whole = trainable_parameters(build_model(name, (32, 32, 3), 10))
    half = trainable_parameters(build_model(name, (32, 32, 3), 10, width=0.5))
    assert 0.2 < half / whole < 0.4


@pytest.mark.parametrize(
    ("name", "small", "large"),
    [
        ("resnet18", (4, 4), (7, 7)),
        ("mobilenet_v1", (4, 4), (7, 7)),
        ("mobilenet_v2", (4, 4), (7, 7)),
    ],
)
def test_small_images_keep_their_resolution_longer(name, small, large):
    for size, expected in ((32, small), (224, large)):
        model = build_model(name, (size, size, 3), 10, width=0.25)
        assert model.get_layer("pool").input.shape[1:3] == expected


def test_activations_keep_their_scale_through_the_network():
    images = np.random.default_rng(0).standard_normal((8, 32, 32, 3)).astype(np.float32)
    for name in MODEL_NAMES:
        spread = float(np.std(build_model(name, (32, 32, 3), 10, width=0.5)(images, training=True)))
        assert 0.05 < spread < 50, name


@pytest.mark.parametrize(
    ("name", "shape", "settings", "message"),
    [
        ("resnet21", (32, 32, 3), {}, "no network 'resnet21' of images: give one of lenet, resnet20"),
        ("transformer", (32, 32, 3), {}, "no network 'transformer' of images: .* mobilenet_v2; others"),
        ("resnet20", (64,), {}, r"\(height, width, channels\). Received: \(64,\)"),
        ("resnet20", (32, 32, 3), {"width": 0.0}, "width must be above 0. Received: 0.0"),
        ("lenet", (8, 8, 1), {}, "at least 12 x 12 pixels. Received: 8 x 8"),
    ],
)
def test_says_what_it_cannot_build(name, shape, settings, message):
    with pytest.raises(UserError, match=message):
        build_model(name, shape, 10, **settings)


def test_a_network_that_is_added_has_to_be_a_model(monkeypatch):
    added = Registry("test.networks", "network")
    added.register("nothing", __name__)(lambda dataset, *, width, seed: None)
    monkeypatch.setattr("pocketkube.stages.networks.models", added)
    said = rf"network nothing of the module {__name__} is built as a NoneType, not as a keras.Model"
    with pytest.raises(UserError, match=said):
        network_with_notes("model", "nothing", 1.0, load_dataset(DatasetSettings(builtin="digits")), 0)
