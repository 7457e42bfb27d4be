"""What a partition asks for beside a deployed version, which nobody has to train for that."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pocketkube.errors import UserError
from pocketkube.files.records import text_of
from pocketkube.models import build_model
from pocketkube.pruning.prune import prune
from pocketkube.retraining import decision as deciding
from pocketkube.retraining.decision import decide
from pocketkube.retraining.lineage import Decision, PartitionFacts
from pocketkube.retraining.pointer import RETRAINED
from pocketkube.retraining.registry import Registry
from pocketkube.retraining.scoring import Answers, save_reference
from pocketkube.retraining.settings import RetrainingJob, load_retraining
from pocketkube.spec import parse_spec
from pocketkube.spec.sections import PruneChannels
from tests.retraining.data import SPEC, add_partition, write_settings
from tests.retraining.facts import decision, version_facts

FACTS = Path(__file__).parents[1] / "old_files" / "exported.json"
ALL_RIGHT = Answers(np.ones(300), np.zeros((300, 1)), ("output 0",))


def deploy(folder: Path, partition: str, classes: tuple[str, ...] = (), **facts: Any) -> RetrainingJob:
    """A job whose deployed version is a lenet of ten classes, whose file nobody runs."""
    job = load_retraining(folder / "retraining.yaml")
    made = folder / "made"
    made.mkdir()
    trained = PartitionFacts(name=partition, place=str(folder), stamp="ab12")
    version = version_facts(decision=decision(partition=trained, classes=classes))
    (made / "version.json").write_text(text_of(version))
    (made / "bundle.json").write_text(json.dumps(json.loads(FACTS.read_text()) | facts))
    save_reference(made / "reference.npz", ALL_RIGHT)
    registry = Registry(job.registry)
    registry.add("v1", made)
    registry.pointer.replace("v1", RETRAINED, None)
    return job


def images(folder: Path, *classes: str) -> None:
    """A partition of images, of which it takes no more than their folders."""
    for name in classes:
        (folder / name).mkdir(parents=True)
        for shade in range(8):
            Image.new("L", (8, 8), shade).save(folder / name / f"{shade}.png")
    (folder / "_SUCCESS").touch()


def decided(job: RetrainingJob, monkeypatch: pytest.MonkeyPatch) -> Decision:
    """The decision, where the deployed version is right on all of the new data."""
    monkeypatch.setattr(deciding, "answers_of", lambda *_: ALL_RIGHT)
    return decide(job)


def decided_by_age(
    folder: Path, monkeypatch: pytest.MonkeyPatch, spec: dict[str, Any], **facts: Any
) -> tuple[RetrainingJob, Decision]:
    """A job whose deployed version is older than it may be, and the decision on its next partition."""
    write_settings(folder, spec=spec, max_age_days=1e-6)
    job = deploy(folder, "2026-01.npz", **facts)
    add_partition(folder / "data", "2026-02", 0)
    return job, decided(job, monkeypatch)


def test_a_partition_with_other_classes_is_refused(tmp_path: Path, monkeypatch) -> None:
    write_settings(tmp_path, spec=SPEC | {"dataset": {"image_folder": "x"}})
    images(tmp_path / "data" / "2026-01", "cat", "dog", "fox")
    names = decide(load_retraining(tmp_path / "retraining.yaml")).classes
    assert names == ("cat", "dog", "fox")
    job = deploy(tmp_path, "2026-01", names)
    for classes in (("cat", "fox"), ("cat", "dog", "wolf")):
        images(tmp_path / "data" / "2026-02", *classes)
        said = (
            f"2026-02 has the classes {', '.join(classes)}; the deployed version v1 knows cat, dog, fox"
        )
        with pytest.raises(UserError, match=said):
            decide(job)
        shutil.rmtree(tmp_path / "data" / "2026-02")
    images(tmp_path / "data" / "2026-02", *names)
    assert decided(job, monkeypatch).classes == names


def test_without_names_the_number_of_classes_has_to_be_the_same(tmp_path: Path, monkeypatch) -> None:
    write_settings(tmp_path)
    job = deploy(tmp_path, "2026-01.npz")
    add_partition(tmp_path / "data", "2026-02", 0)
    assert decided(job, monkeypatch).action == "keep"
    labels = np.arange(60) % 9
    np.savez(tmp_path / "data" / "2026-03.npz", x=np.zeros((60, 16, 16, 1), "float32"), y=labels)
    with pytest.raises(
        UserError, match=r"has the classes 0 to 8; the deployed version v1 knows 0 to 9"
    ):
        decide(job)


def test_a_number_with_more_digits_is_a_newer_partition(tmp_path: Path, monkeypatch) -> None:
    write_settings(tmp_path, max_age_days=1e-6)
    job = deploy(tmp_path, "week-9.npz")
    add_partition(tmp_path / "data", "week-10", 0)
    assert decided(job, monkeypatch).action == "train"


def test_too_few_examples_for_the_gate_are_told_before_training(tmp_path: Path, monkeypatch) -> None:
    write_settings(tmp_path, max_age_days=1e-6, gate={})
    job = deploy(tmp_path, "2026-01.npz")
    # A fifth of them is for the test.
    for count, said in ((475, "95 test examples cannot show a drop of at most 0.02"), (480, "")):
        x, y = np.zeros((count, 16, 16, 1), "float32"), np.arange(count) % 10
        (tmp_path / "data").mkdir(exist_ok=True)
        np.savez(tmp_path / "data" / "2026-02.npz", x=x, y=y)
        if said:
            with pytest.raises(UserError, match=said):
                decided(job, monkeypatch)
    assert decided(job, monkeypatch).action == "train"
    # One that fell may be beaten by more.
    np.savez(tmp_path / "data" / "2026-02.npz", x=x[:475], y=y[:475])
    worse = Answers(np.zeros(300), ALL_RIGHT.signals, ALL_RIGHT.names)
    monkeypatch.setattr(deciding, "answers_of", lambda *_: worse)
    assert decide(job).action == "train"


@pytest.mark.parametrize(("model", "plan"), [("lenet", "stored"), ("resnet20", "anew")])
def test_channels_of_another_network_are_chosen_anew(
    tmp_path: Path, monkeypatch, model: str, plan: str
) -> None:
    write_settings(tmp_path, spec=SPEC | {"model": model}, max_age_days=1e-6)
    job = deploy(tmp_path, "2026-01.npz")
    add_partition(tmp_path / "data", "2026-02", 0)
    found = decided(job, monkeypatch)
    assert (found.action, found.plan) == ("train", plan)
    (pruning,) = [stage for stage in found.spec["stages"] if "prune_channels" in stage]
    assert ("conv1" in pruning["prune_channels"].get("ratios", {})) == (plan == "stored")
    assert ("another network" in found.reasons[-1]) == (plan == "anew")


def test_channels_of_a_version_that_kept_them_all_are_chosen_by_the_target(
    tmp_path: Path, monkeypatch
) -> None:
    """It met its size without a cut, which the next one may not."""
    spec = SPEC | {
        "target": {"max_size": 30_000},
        "stages": ["prune_channels", "quantize_weights"],
        "search": {"over": ["prune_channels", "quantize_weights"], "sampler": "tpe"},
    }
    whole = {"conv1": [32, 32], "conv2": [64, 64]}
    job, found = decided_by_age(tmp_path, monkeypatch, spec, kept=whole)
    assert found.plan == "anew"
    assert "has no channels cut" in found.reasons[-1]
    assert parse_spec(found.spec).search == job.spec.search


@pytest.mark.parametrize("front", [None, {"speedup": [2, 6]}], ids=["one budget", "a front"])
def test_channels_and_zeros_of_one_speedup_are_searched_for_anew_together(
    tmp_path: Path, monkeypatch, front: dict[str, Any] | None
) -> None:
    """Without the speed-up, which known channels leave none of, zeros would have another budget."""
    over, sampler = ["prune_channels", "sparsify_weights"], "nsga2" if front else "tpe"
    spec = SPEC | {
        "target": {"speedup": 3},
        "stages": [{"prune_channels": {"budget": "parameters"}}, "sparsify_weights"],
        "search": {"over": over, "sampler": sampler, "front": front},
    }
    job, found = decided_by_age(tmp_path, monkeypatch, spec)
    assert found.plan == "anew"
    assert "weighs channels against zeros" in found.reasons[-1]
    made = parse_spec(found.spec)
    assert (made.target, made.search) == (job.spec.target, job.spec.search)


def test_bits_are_searched_for_where_channels_are_those_of_the_deployed_version(
    tmp_path: Path, monkeypatch
) -> None:
    """A file's size is a budget of bits, too."""
    spec = SPEC | {
        "target": {"max_size": 30_000},
        "stages": ["prune_channels", "quantize_weights"],
        "search": {
            "over": ["prune_channels", "quantize_weights"],
            "sampler": "nsga2",
            "front": {"max_size": [20_000, 40_000]},
        },
    }
    job, found = decided_by_age(tmp_path, monkeypatch, spec)
    made = parse_spec(found.spec)
    assert found.plan == "stored"
    assert made.target == job.spec.target
    assert made.search is not None
    assert made.search.over == ("quantize_weights",)


def test_a_layer_keeps_its_channels_whatever_multiples_the_spec_names(
    tmp_path: Path, monkeypatch
) -> None:
    """84 units are no multiple of 8, nor are 76 of them, as a target left."""
    kept = {"conv1": [3, 6], "dense2": [76, 84]}
    _, found = decided_by_age(tmp_path, monkeypatch, SPEC, kept=kept)
    (pruning,) = (stage for stage in parse_spec(found.spec).stages if isinstance(stage, PruneChannels))
    pruned = prune(build_model("lenet", (16, 16, 1), 10), pruning)
    assert {name: pruned.kept[name] for name in ("conv1", "dense2")} == {
        "conv1": (3, 6),
        "dense2": (76, 84),
    }
