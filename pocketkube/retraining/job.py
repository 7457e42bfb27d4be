"""Runs the job that makes a version, each of its steps at most once, also where it was interrupted."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pocketkube.files import replaced_folder
from pocketkube.spec import Spec
from pocketkube.stages.cache import kept_place
from pocketkube.stages.call import StageCall
from pocketkube.stages.plan import BASELINE, MEASURED, REPORTED, RESULT, Step, plan
from pocketkube.stages.run import Ran, run_stage
from pocketkube.storage import Location, add_folder, is_whole

Say = Callable[[str], None]


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
    spec: Spec, work: Path, cache: Path, kept_at: Location | None, say: Say, *, baseline: bool
) -> Made:
    """Runs a spec's steps up to its LiteRT file, in this process.

    Args:
        spec: The job, its paths absolute.
        work: Folder for the steps' outputs.
        cache: Folder of finished steps; see `run_stage`.
        kept_at: Where finished steps are kept besides, for a machine that comes later.
        say: Told when a step begins and ends.
        baseline: Whether the uncompressed model's file is wanted, too.

    Raises:
        UserError: If a step refuses its input.
    """
    left_out = {MEASURED, REPORTED} | (set() if baseline else {BASELINE})
    steps = [step for step in plan(spec) if step.key not in left_out]
    outputs: dict[str, str] = {}
    for number, step in enumerate(steps, start=1):
        say(f"[{number}/{len(steps)}] {step.title}")
        outputs[step.key] = str(work / step.key)
        ran = _run(step.call(outputs, outputs[step.key]), cache, kept_at)
        say(f"[{number}/{len(steps)}] {'unchanged' if ran.cached else f'{ran.seconds:.1f} s'}")
    return Made(
        Path(outputs[_last(steps).inputs["model"]]),
        Path(outputs[RESULT]),
        Path(outputs[BASELINE]) if baseline else None,
    )


def _last(steps: list[Step]) -> Step:
    return next(step for step in steps if step.key == RESULT)


def _run(call: StageCall, cache: Path, kept_at: Location | None) -> Ran:
    if kept_at is None or not call.definition.cached:
        return run_stage(call, cache)
    here = kept_place(cache, call)
    there = kept_at.below(here.name)
    if not here.is_dir() and is_whole(there):
        with there.fetched(sealed=True) as folder, replaced_folder(here) as aside:
            shutil.copytree(folder, aside, dirs_exist_ok=True)
    ran = run_stage(call, cache)
    add_folder(here, there)
    return ran
