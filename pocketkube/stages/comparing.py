"""Runs several samplers on one search, at equal trials and budget, and shows how far each comes."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from pocketkube.console.quiet import quiet_tensorflow
from pocketkube.errors import UserError
from pocketkube.files.layout import (
    COMPARISON_CURVES,
    COMPARISON_FILE,
    COMPARISON_PAGE,
    COMPARISON_TABLE,
    STEPS,
)
from pocketkube.files.records import text_of
from pocketkube.files.whole import write_text
from pocketkube.report.comparison import comparison_markdown, comparison_page, comparison_svg
from pocketkube.search.comparison import ComparisonFacts, run_facts
from pocketkube.search.experiment import run_experiment
from pocketkube.search.samplers import SAMPLERS, sampler_named
from pocketkube.search.trial import Trial
from pocketkube.spec import Spec
from pocketkube.spec.searched import OF_A_FRONT_ALONE
from pocketkube.stages.configs import SearchRatiosConfig
from pocketkube.stages.plan import SEARCH, steps_to
from pocketkube.stages.searching import pool_of, shared_by_trials
from pocketkube.stages.whole_job import run_inline


def results_of_comparison(output: Path, spec: Spec) -> list[Path]:
    """Files and folders that a comparison of samplers replaces in its output folder."""
    names = (COMPARISON_FILE, COMPARISON_PAGE, COMPARISON_CURVES, COMPARISON_TABLE)
    *before, _ = (f"{STEPS}/{step.key}" for step in steps_to(spec, SEARCH))
    return [output / name for name in (*names, *before)]


def compare_samplers(
    spec: Spec,
    samplers: Sequence[str],
    seeds: int,
    output: Path,
    *,
    cache: Path,
    say: Callable[[str], None] = lambda line: print(line, file=sys.stderr, flush=True),
) -> ComparisonFacts:
    """Compares samplers; goes on where an interrupted comparison of the same search ended.

    An assignment that several of them try is evaluated once.

    Args:
        spec: The job, with a section search, whose sampler plays no part.
        samplers: Their names.
        seeds: How often each is run: with the spec's seed, and those after it.
        output: Gets comparison.html, comparison.svg, comparison.md and comparison.json.
        cache: See `run_stage`.
        say: Told what begins and ends.

    Returns:
        How far each came.

    Raises:
        UserError: If a step refuses its input, all trials fail, or it is a front that is searched.
    """
    if spec.search and spec.search.front:
        raise UserError(
            "search.front: samplers are compared by their best scores at one budget; leave front out"
        )
    alone = sorted({*samplers} & {*OF_A_FRONT_ALONE})
    if alone:
        raise UserError(f"--compare: {alone[0]} searches a front, and not at one budget; leave it out")
    if unknown := [name for name in samplers if name not in SAMPLERS]:
        known = ", ".join(name for name in SAMPLERS if name not in OF_A_FRONT_ALONE)
        raise UserError(f"--compare: there is no sampler {unknown[0]}; there are: {known}.")
    named = {name: sampler_named(name) for name in samplers}
    *before, search = steps_to(spec, SEARCH)
    folders = run_inline(spec, output / STEPS, say, cache=cache, steps=before)
    quiet_tensorflow()
    config, inputs = search.config, {name: folders[key] for name, key in search.inputs.items()}
    assert isinstance(config, SearchRatiosConfig)
    work = output / ".comparison"
    shared = shared_by_trials(config, inputs, work)
    evaluated: dict[tuple[int, ...], Trial] = {}
    runs = []
    with pool_of(shared, config.search.parallel) as pool:
        for seed in range(spec.seed, spec.seed + seeds):
            for name, sampler in named.items():
                say(f"{name}, seed {seed}")
                trials = run_experiment(
                    shared.problem,
                    sampler,
                    pool,
                    trials=config.search.trials,
                    seed=seed,
                    folder=work / f"{name}-{seed}",
                    remembered=evaluated.values(),
                )
                runs.append(run_facts(shared.problem, name, seed, trials))
                evaluated = {t.choice: t for t in trials if t.state == "done"} | evaluated
    found = ComparisonFacts(
        cost=shared.problem.limit.cost,
        most=shared.problem.limit.most,
        trials=config.search.trials,
        score_name=shared.score_name,
        whole_score=shared.whole_score,
        runs=tuple(runs),
        evaluated=len(evaluated),
        seconds=sum(trial.seconds for trial in evaluated.values()),
    )
    write_text(output / COMPARISON_FILE, text_of(found))
    write_text(output / COMPARISON_PAGE, comparison_page(found))
    write_text(output / COMPARISON_CURVES, comparison_svg(found))
    write_text(output / COMPARISON_TABLE, comparison_markdown(found))
    return found
