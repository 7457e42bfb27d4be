"""The comparison with peers: what is run, what is left out, and how it is told."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest

from pocketkube.errors import UserError
from pocketkube.processes.children import started
from tests.benchmarks.peers import runner
from tests.benchmarks.peers.arrays import Part, shifted_batches
from tests.benchmarks.peers.budget import FULL, QUICK, Budget
from tests.benchmarks.peers.cases import METHODS, SEEDS, TARGETS, Case, cases, method_named
from tests.benchmarks.peers.drawing import svg
from tests.benchmarks.peers.environments import LOCKS, PEERS, ROOT, is_ready, python_of
from tests.benchmarks.peers.job import Job
from tests.benchmarks.peers.method import refuse_unequal
from tests.benchmarks.peers.networks import NETWORKS
from tests.benchmarks.peers.plain_network import PlainNetwork, count_macs
from tests.benchmarks.peers.result import RESULT, CaseResult, DenseFacts, LatencyFacts, finished
from tests.benchmarks.peers.splits import arrays_for
from tests.benchmarks.peers.tables import Measured, render, standings

OURS, PEER = "PocketKube", "uniform L1"


def test_cases_take_turns_within_a_seed() -> None:
    found = cases(["resnet20"], [0, 1], only=["channels"])
    assert [case.seed for case in found] == sorted(case.seed for case in found)
    first = [case.method.name for case in found if (case.seed, case.target) == (0, 2.0)]
    assert len(first) > 4
    assert [case.method.name for case in found[: len(first)]] == first


def test_cases_have_places_of_their_own() -> None:
    found = cases(["resnet20"], SEEDS)
    assert len({runner.folder_of(case, Path()) for case in found}) == len(found)
    assert {case.method.family for case in found} == set(TARGETS)


def test_names_that_are_in_no_method_are_refused() -> None:
    with pytest.raises(UserError, match="--only: tochr is in no name"):
        cases(["resnet20"], [0], only=["tochr"])


def test_every_environment_has_a_lock_with_hashes_and_without_an_index() -> None:
    assert {method.environment for method in METHODS} <= {"pocketkube", *PEERS}
    for name in PEERS:
        lock = (LOCKS / f"{name}.lock").read_text("utf-8")
        assert "--hash=sha256:" in lock
        assert "://" not in lock
        assert "index" not in lock


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Cases whose processes were started; their results are made up, but for one that dies."""
    begun: list[str] = []

    def process(environment: str, module: str, arguments: list[str], log: Path, *, gpu: bool) -> str:
        folder = Path(arguments[0])
        if module.endswith("dense"):
            folder.mkdir(parents=True)
            (folder / "dense.json").write_text(_dense().model_dump_json())
        elif module.endswith("finish"):
            (folder / RESULT).write_text(_result(0.5).model_dump_json())
        else:
            begun.append(folder.name)
            assert Job.read(folder).budget == QUICK
            if "uniform" in folder.name and len(begun) < 4:
                return "it died"
        return ""

    monkeypatch.setattr(runner, "_process", process)
    monkeypatch.setattr(runner, "is_ready", lambda name: True)
    return begun


def test_what_is_finished_is_not_run_again_and_half_results_are(
    tmp_path: Path, commands: list[str]
) -> None:
    chosen = [_case(OURS, target) for target in (2.0, 5.0)] + [_case(PEER, 2.0)]
    assert runner.run_all(chosen, tmp_path, QUICK, jobs=1) == [
        f"{runner.folder_of(chosen[2], tmp_path)}: it died"
    ]
    assert len(commands) == 3
    half = runner.folder_of(chosen[0], tmp_path) / RESULT
    half.write_text(half.read_text("utf-8")[:-40])
    assert runner.run_all(chosen, tmp_path, QUICK, jobs=1) == []
    assert commands[3:] == [chosen[0].place, chosen[2].place]
    assert runner.run_all(chosen, tmp_path, QUICK, jobs=1) == []
    assert len(commands) == 5


def test_an_interrupted_run_leaves_nothing_running(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pids: list[int] = []

    def run(case: Case, output: Path, budget: Budget, *, gpu: bool) -> str:
        process = started(["sleep", "300"])
        pids.append(process.pid)
        os.kill(os.getpid(), signal.SIGINT)
        process.wait()
        return ""

    monkeypatch.setattr(runner, "run", run)
    monkeypatch.setattr(runner, "train_dense", lambda *_, **__: None)
    with pytest.raises(KeyboardInterrupt):
        runner.run_all([_case(OURS, 2.0)], tmp_path, QUICK, jobs=1)
    assert not psutil.pid_exists(pids[0])


@pytest.mark.parametrize("gpu", [False, True])
def test_processes_see_the_gpu_where_they_may(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gpu: bool
) -> None:
    seen: list[str | None] = []

    def begin(command: list[str], env: dict[str, str], **kwargs: object) -> subprocess.Popen[bytes]:
        seen.append(env.get("CUDA_VISIBLE_DEVICES"))
        return subprocess.Popen(["true"])

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setattr(runner, "started", begin)
    runner.run(_case(OURS, 2.0), tmp_path, QUICK, gpu=gpu)
    # The method's process and the one that trains what it answers.
    assert seen == ["0" if gpu else ""] * 2


def test_a_folder_of_another_budget_is_refused(tmp_path: Path, commands: list[str]) -> None:
    runner.run_all([_case(OURS, 2.0)], tmp_path, QUICK, jobs=1)
    with pytest.raises(UserError, match="another budget"):
        runner.run_all([_case(OURS, 2.0)], tmp_path, FULL, jobs=1)


def test_few_images_are_gone_through_more_often() -> None:
    name = "mobilenet_v1-0.5-digits"
    course = NETWORKS[name].course(FULL)
    assert (course.dense_epochs, course.epochs) == (8 * FULL.dense_epochs, 8 * FULL.epochs)
    assert NETWORKS["resnet20"].course(FULL) == FULL
    arrays = arrays_for(NETWORKS[name], QUICK)
    assert arrays.train.images.shape[1:] == (72, 72, 1)
    assert set(arrays.test.labels) == set(range(10))
    measured = _measured(OURS, 2.0, 0, 0.9)
    text = render([replace(measured, case=replace(measured.case, network=name))], QUICK, "", "")
    assert "Images of handwritten digits, 72 x 72 pixels; 8 times as many epochs." in text


def test_a_result_without_a_score_is_none(tmp_path: Path) -> None:
    facts = json.loads(_result(0.5).model_dump_json())
    for wrong in ({**facts, "score": None}, {**facts, "macs": "many"}, {**facts, "more": 1}, []):
        (tmp_path / RESULT).write_text(json.dumps(wrong))
        assert finished(tmp_path) is None
    (tmp_path / RESULT).write_text(json.dumps({**facts, "score": None, "cannot": "it is too small"}))
    assert finished(tmp_path) is not None


def test_the_table_says_who_is_ahead() -> None:
    ours = {2.0: (0.91, 0.92, 0.93), 5.0: (0.80, 0.81, 0.82)}
    theirs = {2.0: (0.90, 0.91, 0.92), 5.0: (0.85, 0.86, 0.87)}
    measured = [
        _measured(name, target, seed, score)
        for name, row in ((OURS, ours), (PEER, theirs))
        for target, scores in row.items()
        for seed, score in enumerate(scores)
    ]
    cannot = _measured(PEER, 10.0, 0, 0.0)
    reason = CaseResult(cannot="stops at 8x", versions={})
    measured.append(replace(cannot, result=reason))
    text = render(measured, QUICK, "make bench", "a machine")
    assert "| PocketKube | 92.00 ± 1.00 (2.00x) | 81.00 ± 1.00 (2.00x) |  |" in text
    assert "| uniform L1 | 91.00 ± 1.00 (2.00x) | 86.00 ± 1.00 (2.00x) | cannot |" in text
    assert "- 2, trained: PocketKube is ahead of uniform L1 by 1.00 points (spread" in text
    assert "- 5, trained: **uniform L1 is ahead of PocketKube by 5.00 points** (spread" in text
    assert "- uniform L1: Cannot: stops at 8x. (10)" in text
    assert "torch 2.0" in text
    assert "without training:" not in text
    assert "| 1.80 | 0.90 |" in text
    drawn = svg(measured)
    assert drawn.count("<path") > 4
    assert "uniform L1" in drawn


def test_pruning_to_a_latency_shows_the_latency_that_was_measured() -> None:
    case = Case("resnet20", 0, 2.0, method_named("PocketKube, by the latency table", "latency"))
    measured = replace(_measured(OURS, 2.0, 0, 0.9), case=case)
    text = render(
        [measured, replace(measured, case=replace(case, target=3.3), latency=None)], QUICK, "", ""
    )
    assert "| PocketKube, by the latency table | 90.00 (1.80x) | 90.00 |" in text
    assert "latency before over after" in svg([measured])


def test_leads_are_told_alike_for_both_sides() -> None:
    def told(ours: list[float], theirs: list[float], **changes: bool) -> str:
        rows = [(OURS, score, seed) for seed, score in enumerate(ours)]
        rows += [(PEER, score, seed) for seed, score in enumerate(theirs)]
        measured = [_measured(name, 2.0, seed, score) for name, score, seed in rows]
        measured[-1] = replace(measured[-1], result=measured[-1].result.model_copy(update=changes))
        return "".join(standings(measured, 2.0))

    for one, other in (([0.90, 0.92], [0.903, 0.923]), ([0.903, 0.923], [0.90, 0.92])):
        assert "0.30 points above" in told(one, other)
        assert "within a third of the spread" in told(one, other)
    # The seed that one of them lacks says nothing of the difference.
    assert "by 1.00 points" in told([0.91, 0.93, 0.80], [0.90, 0.92])
    assert "no spread is known" in told([0.91], [0.90])
    # What has trained is not held against what has not.
    assert told([0.91], [0.90], trained=False) == ""


def test_outputs_that_differ_are_refused() -> None:
    outputs = np.linspace(-3, 3, 20).reshape(2, 10)
    refuse_unequal(outputs, outputs + 1e-5, "the network")
    for other in (outputs + 1e-2, np.full_like(outputs, np.nan)):
        with pytest.raises(ValueError, match="the network answers otherwise"):
            refuse_unequal(other, outputs, "the network")


def test_shifted_batches_move_images_by_whole_pixels() -> None:
    images = np.zeros((4, 9, 9, 1), np.float32)
    images[:, 4, 4] = 1.0
    batches = shifted_batches(Part(images, np.arange(4, dtype=np.int32)), 2, 3, seed=0)
    found = [next(batches) for _ in range(50)]
    assert sorted(np.concatenate([labels for _, labels in found[:2]])) == [0, 1, 2, 3]
    places = {tuple(np.argwhere(image[..., 0])[0]) for moved, _ in found for image in moved}
    assert all(moved.sum() == 2 for moved, _ in found)
    assert {row for row, _ in places} == {column for _, column in places} == set(range(1, 8))


@pytest.fixture(scope="module", params=["resnet20", "mobilenet_v1", "mobilenet_v2"])
def plain(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network with weights at random, and what it answers."""
    import keras

    import pocketkube as pk
    from pocketkube.models import build_model
    from tests.benchmarks.peers.in_keras import built, described

    size = 28 if request.param == "resnet20" else 72
    model = build_model(request.param, (size, size, 1), 10, width=0.25, seed=1)
    rng = np.random.default_rng(0)
    model.set_weights([w + rng.uniform(0.01, 0.1, w.shape) for w in model.get_weights()])
    folder = tmp_path_factory.mktemp(request.param)
    network = described(model)
    assert count_macs(network) == pk.profile(model).macs
    network.write(folder / "network.npz")
    images = rng.random((3, size, size, 1), np.float32)
    again = built(PlainNetwork.read(folder / "network.npz"), keras)
    outputs = model.predict(images, verbose=0)
    np.testing.assert_allclose(again.predict(images, verbose=0), outputs, rtol=1e-5, atol=1e-5)
    np.savez(folder / "answers.npz", images=images, outputs=outputs)
    return folder


_CONVERTED = """
import sys
from pathlib import Path
import numpy as np
from tests.benchmarks.peers.method import refuse_unequal
from tests.benchmarks.peers.plain_network import PlainNetwork
folder, kind = Path(sys.argv[1]), sys.argv[2]
network, answers = PlainNetwork.read(folder / "network.npz"), np.load(folder / "answers.npz")
if kind == "torch":
    from tests.benchmarks.peers.in_torch import built, outputs_of, weights_of
    made = built(network)
    outputs = outputs_of(made, answers["images"])
else:
    import importlib
    from tests.benchmarks.peers.in_keras import built, weights_of
    made = built(network, importlib.import_module(kind))
    outputs = made.predict(answers["images"], verbose=0)
refuse_unequal(outputs, answers["outputs"], "the network")
back = weights_of(network, made)
assert all(np.array_equal(back.weights[name], array) for name, array in network.weights.items())
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("environment", "kind"), [("torch-pruning", "torch"), ("tfmot", "tf_keras"), ("mct", "keras")]
)
def test_converted_networks_answer_as_the_original(plain: Path, environment: str, kind: str) -> None:
    if not is_ready(environment):
        pytest.skip(f"python -m tests.benchmarks.peers setup {environment} makes what this needs")
    command = [str(python_of(environment)), "-c", _CONVERTED, str(plain), kind]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def test_what_runs_in_a_peer_needs_neither_tensorflow_nor_pocketkube() -> None:
    modules = ("job", "method", "metered", "arrays", "plain_network", "in_keras", "keras2_training")
    imports = "; ".join(f"import tests.benchmarks.peers.{name}" for name in modules)
    foreign = "[m for m in ('tensorflow', 'keras', 'pocketkube') if m in sys.modules]"
    program = f"import sys; {imports}; print({foreign})"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def _case(name: str, target: float, seed: int = 0) -> Case:
    return Case("resnet20", seed, target, method_named(name, "channels"))


def _dense() -> DenseFacts:
    return DenseFacts(
        schema_version=1,
        score=0.93,
        macs=2000,
        parameters=900,
        file_bytes=4000,
        versions={"torch": "2.0"},
    )


def _result(score: float) -> CaseResult:
    return CaseResult(
        score=score,
        trained=True,
        macs=1000,
        parameters=300,
        file_bytes=2000,
        step_seconds=1.5,
        step_peak_bytes=10,
        versions={},
    )


def _measured(name: str, target: float, seed: int, score: float) -> Measured:
    latency = LatencyFacts(latency_ms=1.0, dense_latency_ms=1.8, ratio=1.8)
    return Measured(_case(name, target, seed), _result(score), _dense(), latency)
