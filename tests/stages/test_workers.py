"""training.workers: stages that train run in several Horovod processes by themselves."""

from importlib.util import find_spec
from pathlib import Path

import keras
import numpy as np
import pytest
import yaml
from keras import layers

from pocketkube.bundle import load_bundle
from pocketkube.errors import UserError
from pocketkube.importing import import_all
from pocketkube.packing import decode
from pocketkube.sparsity.selection import sparsifiable_kernels
from pocketkube.spec import load_spec, parse_spec, resolve_paths
from pocketkube.spec.sections import Cluster
from pocketkube.stages.on_cluster import run_on_cluster
from tests.own_modules import as_before, save_network
from tests.steps import call_of, run_step

SPEC = {
    "model": "lenet",
    "dataset": "digits",
    "stages": [],
    "training": {"epochs": 2, "batch_size": 64},
}

needs_horovod = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("horovod") is None, reason="Horovod is missing: run make horovod"),
]


def spec(**training: int):
    return parse_spec({**SPEC, "training": {**SPEC["training"], **training}})


@pytest.fixture(scope="module")
def dense(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle that one worker trains."""
    folder = tmp_path_factory.mktemp("trained") / "dense"
    run_step(spec(), "train_model", {}, folder)
    return folder


class TestTogether:
    pytestmark = needs_horovod

    def test_two_workers_write_the_bundle_of_one(self, dense: Path, tmp_path: Path) -> None:
        run_step(spec(workers=2), "train_model", {}, tmp_path / "2")
        one, two = load_bundle(dense), load_bundle(tmp_path / "2")
        told = [bundle.facts.stages[0].history.workers for bundle in (one, two)]
        assert told == [1, 2]
        for ours, theirs in zip(two.model.get_weights(), one.model.get_weights(), strict=True):
            np.testing.assert_allclose(ours, theirs, atol=2e-3)
        assert two.facts.stages[0].history.loss == pytest.approx(
            one.facts.stages[0].history.loss, rel=1e-3
        )
        assert [path.name for path in tmp_path.iterdir()] == ["2"]

    def test_two_workers_choose_the_same_weights_to_be_zero(self, dense: Path, tmp_path: Path) -> None:
        stages = [{"sparsify_weights": {"sparsity": 0.8, "epochs": 2}}]
        job = parse_spec({**SPEC, "stages": stages, "training": {**SPEC["training"], "workers": 2}})
        run_step(job, "sparsify_weights", {"model": dense, "teacher": dense}, tmp_path / "sparse")
        found = [np.asarray(k) for _, k in sparsifiable_kernels(load_bundle(tmp_path / "sparse").model)]
        zeros, total = sum((k == 0).sum() for k in found), sum(k.size for k in found)
        assert zeros == pytest.approx(0.8 * total, abs=1)

    @pytest.mark.parametrize(
        ("stage", "settings"),
        [
            ("quantize_weights", {"ranges": "learned"}),
            ("quantize_weights", {"ranges": "moving_average"}),
            ("cluster_weights", {}),
        ],
    )
    def test_two_workers_find_values_as_good_as_one(
        self, dense: Path, tmp_path: Path, stage: str, settings: dict
    ) -> None:
        stages = [{stage: {"epochs": 2, "learning_rate": 1e-3, **settings}}]
        for workers in (1, 2):
            training = {**SPEC["training"], "workers": workers}
            job = parse_spec({**SPEC, "stages": stages, "training": training})
            run_step(job, stage, {"model": dense, "teacher": dense}, tmp_path / str(workers))
        one, two = (load_bundle(tmp_path / str(workers)) for workers in (1, 2))
        losses = [bundle.facts.stages[1].history.loss for bundle in (one, two)]
        assert losses[1] == pytest.approx(losses[0], rel=0.02)
        assert set(two.forms) == set(one.forms)
        weights = {weight.path: np.asarray(weight) for weight in two.model.weights}
        for path, form in two.forms.items():
            np.testing.assert_array_equal(weights[path], decode(form))

    def test_two_workers_quantize_with_the_batch_norm_of_one(self, tmp_path: Path) -> None:
        few = {"builtin": "digits", "max_train": 256}
        document = {**SPEC, "model": "resnet20", "width": 0.25, "dataset": few}
        run_step(parse_spec(document), "train_model", {}, tmp_path / "dense")
        inputs = {"model": tmp_path / "dense", "teacher": tmp_path / "dense"}
        stages = [{"quantize_weights": {"epochs": 1, "learning_rate": 1e-3}}]
        found = []
        for workers in (1, 2):
            training = {**SPEC["training"], "workers": workers, "sync_batch_norm": True}
            job = parse_spec({**document, "stages": stages, "training": training})
            run_step(job, "quantize_weights", inputs, tmp_path / str(workers))
            found.append(load_bundle(tmp_path / str(workers)))
        one, two = (bundle.facts.stages[1].history for bundle in found)
        assert two.loss == pytest.approx(one.loss, rel=0.02)
        assert two.val_loss == pytest.approx(one.val_loss, rel=0.1)

    def test_two_workers_learn_with_the_users_layers_from_answers_as_one_does(
        self, tmp_path: Path
    ) -> None:
        save_network(tmp_path)
        document = {
            "model": "net.keras",
            "imports": ["my_layers"],
            "dataset": {"builtin": "digits", "image_size": [8, 8], "labels": False, "max_train": 640},
            "stages": [{"fine_tune": {"epochs": 2, "learning_rate": 0.01}}],
        }
        found = []
        for workers in (1, 2):
            training = {"batch_size": 64, "workers": workers}
            (tmp_path / "spec.yaml").write_text(yaml.safe_dump({**document, "training": training}))
            job = resolve_paths(load_spec(tmp_path / "spec.yaml"), tmp_path)
            with as_before():
                if workers == 1:
                    run_step(job, "train_model", {}, tmp_path / "dense")
                inputs = {"model": tmp_path / "dense", "teacher": tmp_path / "dense"}
                run_step(job, "fine_tune_model", inputs, tmp_path / str(workers))
                import_all(job.imports)
                found.append(load_bundle(tmp_path / str(workers)))
        one, two = found
        made = two.facts.stages[-1]
        assert made.history.workers == 2
        assert [head.score_name for head in made.heads] == ["agreement_with_original"]
        # Each rank normalises its own half of a batch.
        assert made.history.loss == pytest.approx(one.facts.stages[-1].history.loss, rel=0.02)

    def test_a_refusal_is_one_line_and_leaves_nothing(self, tmp_path: Path, capfd) -> None:
        with pytest.raises(
            UserError, match=r"^spec: training: batch_size 1 leaves some of 2 workers without"
        ):
            run_step(spec(workers=2, batch_size=1), "train_model", {}, tmp_path / "model")
        assert not list(tmp_path.iterdir())
        assert "Traceback" not in capfd.readouterr().err


def test_without_horovod_it_says_what_is_missing(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("pocketkube.launch.local_workers.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"training.workers: 2 processes need Horovod .make horovod"):
        run_step(spec(workers=2), "train_model", {}, tmp_path / "model")


def test_a_given_model_is_loaded_by_this_process_alone(tmp_path: Path, monkeypatch) -> None:
    file = tmp_path / "net.keras"
    keras.Sequential([keras.Input((8, 8, 1)), layers.Flatten(), layers.Dense(10)]).save(file)
    training = {**SPEC["training"], "workers": 2}
    digits = {"builtin": "digits", "image_size": [8, 8]}
    job = parse_spec({**SPEC, "model": str(file), "dataset": digits, "training": training})
    # Neither Horovod nor a cluster is there to be asked for processes, nor a store for checkpoints.
    monkeypatch.setattr("pocketkube.launch.local_workers.find_spec", lambda name: None)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "absent"))
    monkeypatch.delenv("AWS_ENDPOINT_URL_S3", raising=False)
    run_step(job, "train_model", {}, tmp_path / "here")
    cluster = Cluster.model_validate(
        {"launcher": "mpijob", "object_store": {"work": "s3://models/work"}}
    )
    run_on_cluster(call_of(job, "train_model", {}, tmp_path / "task"), cluster)
    for made in ("here", "task"):
        assert [stage.name for stage in load_bundle(tmp_path / made).facts.stages] == ["load_model"]
