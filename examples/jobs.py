"""Runs many specs, several at a time and each of them once, for comparisons."""

import os
import statistics
import subprocess
import sys
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from pocketkube.files.whole import write_text
from pocketkube.measures import Wording, wording_of
from pocketkube.report.result import Result, load_result
from pocketkube.spec import yaml_of


def results_of(specs: Mapping[str, Mapping[str, Any]], output: Path, jobs: int) -> dict[str, Result]:
    """Runs what is missing and tells all of it.

    Args:
        specs: What each run's spec file is to hold, by the run's name.
        output: Gets a folder for each run, and what they have in common.
        jobs: Runs at once, of one thread each.

    Returns:
        Each run's figures, by its name.
    """
    with ThreadPoolExecutor(jobs) as pool:

        def result(name: str) -> Result:
            try:
                return _result(name, specs[name], output)
            except BaseException:
                # One that failed or was interrupted is the last: none of those that wait begins.
                pool.shutdown(wait=False, cancel_futures=True)
                raise

        started = {name: pool.submit(result, name) for name in specs}
        return {name: job.result() for name, job in started.items()}


def mean_and_spread(scores: Iterable[float], wording: Wording) -> str:
    """Mean ± standard deviation of scores, in percent unless they are a regression's."""
    read = [wording.read(score) * (100 if wording.is_share else 1) for score in scores]
    spread = f" ± {statistics.stdev(read):.2f}" if len(read) > 1 else ""
    return f"{statistics.mean(read):.2f}{spread}"


def _result(name: str, spec: Mapping[str, Any], output: Path) -> Result:
    folder = output / name
    file = folder / "result.json"
    if not file.is_file():
        write_text(folder / "spec.yaml", yaml_of(spec))
        _run(folder, output / "cache")
    result = load_result(file)
    wording = wording_of(result.task.score_name)
    before, after = (wording.shown(side.score or 0.0) for side in (result.before, result.after))
    print(f"{name}: {before} -> {after}", flush=True)
    return result


def _run(folder: Path, cache: Path) -> None:
    command = [sys.executable, "-m", "pocketkube", "run", str(folder / "spec.yaml")]
    # Several jobs of one thread each are faster than one job of several threads.
    alone = {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1", "OMP_NUM_THREADS": "1"}
    environment = os.environ | alone | {"POCKETKUBE_CACHE": str(cache.resolve())}
    with (folder / "log.txt").open("w") as log:
        done = subprocess.run(
            [*command, "--output", str(folder)], env=environment, stdout=log, stderr=log, check=False
        )
    if done.returncode:
        sys.exit(f"{folder.name} failed: {(folder / 'log.txt').read_text('utf-8').splitlines()[-1]}")
