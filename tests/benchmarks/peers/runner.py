"""Runs cases, each as processes of its own, and those alone that have no whole result yet."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

from pocketkube.errors import UserError
from pocketkube.files.records import read_document
from pocketkube.files.whole import write_text
from pocketkube.processes.children import end_started, started
from tests.benchmarks.peers.budget import Budget
from tests.benchmarks.peers.cases import Case
from tests.benchmarks.peers.environments import OURS, ROOT, is_ready, python_of
from tests.benchmarks.peers.job import Job
from tests.benchmarks.peers.networks import NETWORKS
from tests.benchmarks.peers.result import DENSE_FACTS, LATENCY, DenseFacts, LatencyFacts, finished
from tests.benchmarks.peers.tables import Measured

BUDGET, LOG = "budget.json", "log.txt"
# One core for each process: figures do not depend on what runs beside.
_ALONE = {
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
}
_NO_GPU = {"CUDA_VISIBLE_DEVICES": ""}
# Processes share its memory, and numbers have all their digits.
_ON_GPU = {"TF_FORCE_GPU_ALLOW_GROWTH": "true", "NVIDIA_TF32_OVERRIDE": "0"}


def run_all(
    chosen: Sequence[Case], output: Path, budget: Budget, jobs: int, *, gpu: bool = False
) -> list[str]:
    """Runs what is missing.

    Args:
        chosen: The cases.
        output: Gets a folder for each network, seed and case.
        budget: The data and the training; a folder is for one.
        jobs: Cases at a time, of one thread each.
        gpu: Whether TensorFlow may use the machine's GPU, for networks that take hours without.

    Returns:
        The cases that failed, each in a line. They are run again the next time.

    Raises:
        UserError: If the folder is of another budget, or a peer's environment is not there.
    """
    _claim(output, budget)
    missing = [case for case in chosen if finished(folder_of(case, output)) is None]
    _refuse_missing_environments(missing)
    for network, seed in dict.fromkeys((case.network, case.seed) for case in missing):
        train_dense(output, network, seed, budget, gpu=gpu)
    done = len(chosen) - len(missing)
    failed: list[str] = []
    with ThreadPoolExecutor(jobs) as pool:
        try:
            # What takes as long as another method waits for that one.
            for waits in (False, True):
                some = [case for case in missing if bool(case.method.as_long_as) == waits]
                problems = pool.map(lambda case: run(case, output, budget, gpu=gpu), some)
                for case, problem in zip(some, problems, strict=True):
                    done += 1
                    failed += [problem] if problem else []
                    print(f"[{done}/{len(chosen)}] {_told(case, output, problem)}", flush=True)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            end_started()
            raise
    return failed


def budget_of(output: Path) -> Budget:
    """What a folder is measured with.

    Raises:
        UserError: If nothing has been measured there.
    """
    file = output / BUDGET
    if not file.is_file():
        raise UserError(f"{output}: nothing has been measured there.")
    return Budget(**json.loads(file.read_text("utf-8")))


def measured_of(case: Case, output: Path) -> Measured | None:
    """A case's figures; None where it has no whole result."""
    folder = folder_of(case, output)
    result = finished(folder)
    if result is None:
        return None
    dense = read_document(DenseFacts, dense_folder(output, case.network, case.seed) / DENSE_FACTS)
    latency = folder / LATENCY
    return Measured(
        case, result, dense, read_document(LatencyFacts, latency) if latency.is_file() else None
    )


def folder_of(case: Case, output: Path) -> Path:
    """Where a case's files are."""
    return output / case.network / f"seed-{case.seed}" / case.place


def dense_folder(output: Path, network: str, seed: int) -> Path:
    """Where an uncompressed network is."""
    return output / network / f"seed-{seed}" / "dense"


def train_dense(output: Path, network: str, seed: int, budget: Budget, *, gpu: bool) -> None:
    """Trains the uncompressed network of a seed, where it is not there."""
    folder = dense_folder(output, network, seed)
    if (folder / DENSE_FACTS).is_file():
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    print(f"{network}, seed {seed}: the uncompressed network is trained", flush=True)
    course = NETWORKS[network].course(budget)
    arguments = [str(folder), network, str(seed), json.dumps(course.document())]
    module, log = "tests.benchmarks.peers.dense", folder.parent / "dense.txt"
    problem = _process(OURS, module, arguments, log, gpu=gpu)
    if problem:
        raise UserError(f"{network}, seed {seed}: {problem}")


def run(case: Case, output: Path, budget: Budget, *, gpu: bool) -> str:
    """Runs one case; says what went wrong, or nothing."""
    folder, method = folder_of(case, output), case.method
    seconds = None
    if method.as_long_as:
        other = finished(folder_of(case.named(method.as_long_as), output))
        if other is None or other.step_seconds is None:
            return f"{case.place}: {method.as_long_as} has to be there first."
        seconds = other.step_seconds
    # What an interrupted process has left is no part of the next one's answer.
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    dense = dense_folder(output, case.network, case.seed)
    Job(
        method.module,
        dict(method.settings),
        case.target,
        case.seed,
        case.network,
        NETWORKS[case.network].course(budget),
        dense.resolve(),
        folder.resolve(),
        seconds,
    ).write()
    for environment, module in ((method.environment, "method"), (OURS, "finish")):
        arguments = [str(folder.resolve())]
        whole = f"tests.benchmarks.peers.{module}"
        problem = _process(environment, whole, arguments, folder / LOG, gpu=gpu)
        if problem:
            return f"{folder}: {problem}"
    return ""


def _process(environment: str, module: str, arguments: Sequence[str], log: Path, *, gpu: bool) -> str:
    """Runs a module; gives the last line of what it said where it failed."""
    settings = {"PYTHONPATH": str(ROOT), "TF_USE_LEGACY_KERAS": "", **(_ON_GPU if gpu else _NO_GPU)}
    if environment == "tfmot":
        settings = {**settings, "TF_USE_LEGACY_KERAS": "1"}
    command = [str(python_of(environment)), "-m", module, *arguments]
    with log.open("a") as out:
        process = started(
            command, env=os.environ | _ALONE | settings, cwd=ROOT, stdout=out, stderr=subprocess.STDOUT
        )
        if process.wait() == 0:
            return ""
    lines = [line for line in log.read_text("utf-8", errors="replace").splitlines() if line.strip()]
    return f"{lines[-1] if lines else 'it said nothing'} (see {log})"


def _claim(output: Path, budget: Budget) -> None:
    file = output / BUDGET
    content = json.dumps(asdict(budget), indent=1)
    if not file.is_file():
        write_text(file, content)
    elif budget_of(output) != budget:
        raise UserError(
            f"{output} was measured with another budget ({file}): give another folder with --output."
        )


def _refuse_missing_environments(missing: Iterable[Case]) -> None:
    for name in sorted({case.method.environment for case in missing}):
        if not is_ready(name):
            raise UserError(
                f"The environment {name} is not there, or not as its lock says: run "
                "python -m tests.benchmarks.peers setup, or leave its methods out with --only."
            )


def _told(case: Case, output: Path, problem: str) -> str:
    found = finished(folder_of(case, output))
    if problem or found is None:
        return f"{case.told}: FAILED: {problem}"
    if found.cannot:
        return f"{case.told}: cannot: {found.cannot}"
    return f"{case.told}: {100 * (found.score or 0.0):.2f} % in {found.step_seconds:.1f} s"
