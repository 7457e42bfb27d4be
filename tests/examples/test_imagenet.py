"""The spec for ImageNet runs on small data in ImageNet's layout, and what it trains learns."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml

from pocketkube.bundle import load_bundle
from pocketkube.spec import load_spec, parse_spec
from tests.examples.imagenet import write_imagenet
from tests.steps import run_step

SPEC = Path(__file__).parents[2] / "examples" / "imagenet_resnet50.yaml"
CLASSES = 4


def small(folder: Path, workers: int) -> dict[str, Any]:
    """The spec with small images, a narrow network and a short course."""
    document = yaml.safe_load(SPEC.read_text())
    document["dataset"] |= {"tfrecord": f"{folder}/*-of-*", "image_size": [32, 32]}
    document |= {"width": 0.125, "stages": [], "target": None}
    document["training"] |= {"epochs": 3, "batch_size": 32, "learning_rate": 0.8, "workers": workers}
    return document


def test_the_spec_is_one() -> None:
    spec = load_spec(SPEC)
    assert spec.training.peak_learning_rate == pytest.approx(0.1 * spec.training.batch_size / 256)
    assert spec.stages[1].learning_rate == pytest.approx(spec.training.learning_rate / 4)
    assert spec.training.warmup_fraction == pytest.approx(5 / spec.training.epochs, abs=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize(
    "workers",
    [
        1,
        pytest.param(
            2,
            marks=pytest.mark.skipif(
                find_spec("horovod") is None, reason="Horovod is missing: run make horovod"
            ),
        ),
    ],
)
def test_it_learns_what_is_there_to_be_learned(tmp_path: Path, workers: int) -> None:
    write_imagenet(tmp_path / "data", CLASSES, train=480, validation=120)
    job = parse_spec(small(tmp_path / "data", workers))
    run_step(job, "train_model", {}, tmp_path / "model")
    bundle = load_bundle(tmp_path / "model")
    assert bundle.model.output_shape == (None, CLASSES)
    history = bundle.facts.stages[0].history
    assert history.workers == workers
    # By chance it would be a quarter.
    assert max(history.val_score) >= 0.9
