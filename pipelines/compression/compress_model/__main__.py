"""Runs the pipeline on this machine, or compiles it for a cluster."""

import argparse
import os
from contextlib import suppress
from pathlib import Path

import psutil
from kfp import local

from pipelines.compiling import compile_spec
from pipelines.compression.compress_model.pipeline import compress_model
from pipelines.local_inputs import optional_inputs
from pipelines.local_log import plain, short_log
from pocketkube.cli.ending import plain_ending, show_job
from pocketkube.console.quiet import quiet_libraries
from pocketkube.errors import UserError
from pocketkube.files.layout import KFP_RUNS
from pocketkube.files.output_folder import alone_in
from pocketkube.files.overwriting import refuse_overwriting
from pocketkube.spec import Spec, load_spec, resolve_paths
from pocketkube.stages.component import CACHE, RUN_PROCESS
from pocketkube.stages.outputs import (
    collect_files,
    collect_search,
    refuse_models_of_others,
    results_of_job,
)
from pocketkube.stages.outside import read_by_job, refuse_missing


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.compression.compress_model")
    parser.add_argument("spec", type=Path, help="the spec, a YAML file")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--output", type=Path, help="run on this machine; folder for results")
    where.add_argument("--compile", type=Path, help="write the pipeline's IR YAML instead")
    options = parser.parse_args()
    with plain_ending():
        spec = load_spec(options.spec)
        if options.compile:
            refuse_overwriting([("the spec", options.spec)], [options.compile])
            print(compile_spec(spec, options.compile))
        else:
            output = options.output.resolve()
            spec = resolve_paths(spec, options.spec.resolve().parent)
            refuse_missing(spec)
            refuse_overwriting(read_by_job(spec, options.spec), results_of_job(output, spec))
            refuse_models_of_others(output)
            with alone_in(output):
                run_locally(spec, output)


def run_locally(spec: Spec, output: Path) -> None:
    """Runs the pipeline's components one after the other on this machine.

    Args:
        spec: The job, its paths absolute.
        output: Folder for results.

    Raises:
        UserError: If a component failed; what it said stands above.
    """
    os.environ[RUN_PROCESS] = str(os.getpid())
    os.environ.setdefault(CACHE, str(output / ".cache"))
    quiet_libraries()
    local.init(local.SubprocessRunner(use_venv=False), pipeline_root=str(output / KFP_RUNS))
    try:
        with short_log(), optional_inputs():
            run = compress_model(spec)()
    except KeyboardInterrupt:
        # kfp.local leaves the component that it waits for running.
        _end_children()
        raise
    except RuntimeError as error:
        raise UserError(f"The pipeline stopped: {plain(str(error))}") from error
    outputs = run.outputs
    if spec.search:
        collect_search(Path(outputs["ratios"].path), output)
    result = collect_files(
        output,
        model=Path(outputs["model"].path),
        baseline=Path(outputs["baseline"].path),
        litert=Path(outputs["litert"].path),
        report=Path(outputs["report"].path),
        result=Path(outputs["figures"].path),
    )
    show_job(result, output)


def _end_children() -> None:
    """They end as they like to, or at once where that takes too long, as on a machine that is busy."""
    children = psutil.Process().children(recursive=True)
    for end in (psutil.Process.terminate, psutil.Process.kill):
        for child in children:
            with suppress(psutil.NoSuchProcess):
                end(child)
        _, children = psutil.wait_procs(children, timeout=10)


if __name__ == "__main__":
    main()
