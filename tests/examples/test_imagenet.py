"""The specs for ImageNet: what they say, and that one learns on small data in ImageNet's layout."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml

from pocketkube.bundle import load_bundle
from pocketkube.spec import load_spec, parse_spec
from pocketkube.stages.outputs import collect
from pocketkube.stages.whole_job import run_inline
from tests.examples.imagenet import write_imagenet
from tests.steps import run_step

EXAMPLES = Path(__file__).parents[2] / "examples"
SPEC = EXAMPLES / "imagenet_resnet50.yaml"
CLASSES = 4


def small(folder: Path) -> dict[str, Any]:
    """The spec with small images, a narrow network and a short course."""
    document = yaml.safe_load(SPEC.read_text())
    document["dataset"] |= {"tfrecord": f"{folder}/*-of-*", "image_size": [32, 32]}
    document |= {"width": 0.125, "benchmark": {"runs": 5, "threads": [1]}}
    document["stages"][1] = {"fine_tune": {"epochs": 1, "learning_rate": 0.2}}
    course = {"epochs": 3, "batch_size": 32, "learning_rate": 0.8, "schedule": "cosine"}
    document["training"] |= course | {"workers": 1}
    return document


def test_the_spec_is_one() -> None:
    spec = load_spec(SPEC)
    size = spec.training.batch_size
    assert spec.training.peak_learning_rate(size) == pytest.approx(0.1 * size / 256)
    assert spec.stages[1].learning_rate == pytest.approx(spec.training.learning_rate / 4)
    assert spec.training.warmup_fraction == pytest.approx(5 / spec.training.epochs, abs=1e-3)


def test_mobilenet_is_trained_as_its_paper_says() -> None:
    """Sandler et al. (2018), section 6.1."""
    spec = load_spec(EXAMPLES / "imagenet_mobilenet_v2.yaml")
    assert (spec.training.workers, spec.training.batch_size) == (16, 16 * 96)
    assert (spec.training.optimizer, spec.training.momentum) == ("rmsprop", 0.9)
    # Decay is apart from momentum here, which in the paper's loss added it up to ten times as much.
    assert (spec.training.learning_rate, spec.training.weight_decay) == (
        0.045,
        pytest.approx(4e-5 / (1 - 0.9)),
    )


@pytest.mark.slow
def test_it_learns_what_is_there_to_be_learned_and_keeps_it_in_half_the_work(tmp_path: Path) -> None:
    write_imagenet(tmp_path / "data", CLASSES, train=480, validation=120)
    job = parse_spec(small(tmp_path / "data"))
    result = collect(run_inline(job, tmp_path / "steps", lambda _: None), tmp_path)
    assert load_bundle(tmp_path / "steps" / "train_model").model.output_shape == (None, CLASSES)
    # By chance it would be a quarter.
    assert max(result.stages[0].history.val_score) >= 0.9
    assert result.stages[-1].name == "quantize_int8"
    assert result.speedup >= 2
    assert result.after.score >= 0.9


@pytest.mark.slow
@pytest.mark.skipif(find_spec("horovod") is None, reason="Horovod is missing: run make horovod")
def test_two_workers_learn_it_together(tmp_path: Path) -> None:
    write_imagenet(tmp_path / "data", CLASSES, train=480, validation=120)
    document = small(tmp_path / "data") | {"stages": [], "target": None}
    document["training"] |= {"workers": 2}
    run_step(parse_spec(document), "train_model", {}, tmp_path / "model")
    history = load_bundle(tmp_path / "model").facts.stages[0].history
    assert history.workers == 2
    assert max(history.val_score) >= 0.9
