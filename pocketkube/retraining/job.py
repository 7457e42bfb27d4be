"""Runs the job that makes a version, each of its steps at most once, also where it was interrupted."""

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from pocketkube.files.whole import replaced_folder
from pocketkube.spec import Spec
from pocketkube.stages.cache import kept_place
from pocketkube.stages.call import StageCall
from pocketkube.stages.plan import BASELINE, MEASURED, REPORTED, RESULT, plan
from pocketkube.stages.run import Ran, run_stage
from pocketkube.stages.whole_job import run_steps
from pocketkube.storage import Location, add_folder, is_whole

Say = Callable[[str], None]


@dataclass(frozen=True)
class Elsewhere:
    """What a job needs whose machine may be lost: others go on where it was.

    Attributes:
        kept_at: Where finished steps are kept.
        run: Runs a step that is not.
    """

    kept_at: Location
    run: Callable[[StageCall], None]


@dataclass(frozen=True)
class Made:
    """The folders of a finished job.

    Attributes:
        model: The bundle of the compressed model.
        litert: Its LiteRT file, with the test examples and what is known of it.
        baseline: The same of the uncompressed model; None where it was not asked for.
    """

    model: Path
    litert: Path
    baseline: Path | None


def run_job(
    spec: Spec,
    work: Path,
    cache: Path,
    say: Say,
    *,
    baseline: bool,
    elsewhere: Elsewhere | None = None,
) -> Made:
    """Runs a spec's steps up to its LiteRT file.

    Args:
        spec: The job, its paths absolute.
        work: Folder for the steps' outputs.
        cache: Folder of finished steps; see `run_stage`.
        say: Told when a step begins and ends.
        baseline: Whether the uncompressed model's file is wanted, too.
        elsewhere: Where else steps are kept and run, if they are.

    Raises:
        UserError: If a step refuses its input.
    """
    left_out = {MEASURED, REPORTED} | (set() if baseline else {BASELINE})
    steps = [step for step in plan(spec) if step.key not in left_out]
    outputs = run_steps(steps, work, say, lambda call: _run(call, cache, elsewhere))
    last = next(step for step in steps if step.key == RESULT)
    return Made(outputs[last.inputs["model"]], outputs[RESULT], outputs.get(BASELINE))


def _run(call: StageCall, cache: Path, elsewhere: Elsewhere | None) -> Ran:
    if elsewhere is None or not call.definition.cached:
        return run_stage(call, cache)
    here = kept_place(cache, call)
    there = elsewhere.kept_at.below(here.name)
    if not here.is_dir() and is_whole(there):
        with there.fetched(sealed=True) as folder, replaced_folder(here) as aside:
            shutil.copytree(folder, aside, dirs_exist_ok=True)
    began, was_kept = time.monotonic(), here.is_dir()
    if not was_kept:
        elsewhere.run(replace(call, output=str(here)))
        add_folder(here, there)
    run_stage(call, cache)
    return Ran(was_kept, time.monotonic() - began)
