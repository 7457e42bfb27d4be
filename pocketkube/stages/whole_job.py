"""Runs a spec's whole job in this process, step after step."""

import shutil
import sys
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from pocketkube.spec import Spec
from pocketkube.stages.cache import kept_place
from pocketkube.stages.call import StageCall
from pocketkube.stages.plan import Step, plan
from pocketkube.stages.run import Ran, run_stage


def run_inline(
    spec: Spec,
    work: Path,
    say: Callable[[str], None] = lambda line: print(line, file=sys.stderr),
    *,
    cache: Path | None = None,
    steps: Sequence[Step] | None = None,
    anew: Collection[str] = (),
) -> dict[str, Path]:
    """Runs all steps of a spec, or some.

    Args:
        spec: The job, its paths absolute.
        work: Folder for the steps' outputs.
        say: Told when a step begins and ends.
        cache: See `run_stage`.
        steps: Those of its steps to run, each after those it needs; all if None.
        anew: Stages that run even where nothing that they depend on has changed.

    Returns:
        The output folder of each step, by its key.

    Raises:
        UserError: If a step refuses its input.
    """

    def run(call: StageCall) -> Ran:
        if cache is not None and call.stage in anew:
            shutil.rmtree(kept_place(cache, call), ignore_errors=True)
        return run_stage(call, cache)

    return run_steps(steps or plan(spec), work, say, run)


def run_steps(
    steps: Sequence[Step],
    work: Path,
    say: Callable[[str], None],
    run: Callable[[StageCall], Ran],
) -> dict[str, Path]:
    """Runs steps of a job, one after the other.

    Args:
        steps: Each after those it needs.
        work: Folder for their outputs.
        say: Told when a step begins and ends.
        run: Runs one.

    Returns:
        The output folder of each step, by its key.

    Raises:
        UserError: If a step refuses its input.
    """
    outputs: dict[str, str] = {}
    for number, step in enumerate(steps, start=1):
        say(f"[{number}/{len(steps)}] {step.title}")
        outputs[step.key] = str(work / step.key)
        ran = run(step.call(outputs, outputs[step.key]))
        say(f"[{number}/{len(steps)}] {'unchanged' if ran.cached else f'{ran.seconds:.1f} s'}")
    return {key: Path(folder) for key, folder in outputs.items()}
