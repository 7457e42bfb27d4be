"""Compares pruning criteria: runs one spec for every criterion, speed-up and seed.

    python examples/compare_criteria.py examples/fashion_mnist.yaml --output runs/criteria

Writes table.md, the score on the test set as mean ± standard deviation over the seeds, in percent
unless it is a regression's. What is finished already is not run again, so that it can be interrupted
and started anew.
"""

import argparse
import itertools
import os
from pathlib import Path
from typing import Any

from jobs import mean_and_spread, results_of

from pocketkube.cli.ending import plain_ending
from pocketkube.files.whole import write_text
from pocketkube.measures import wording_of
from pocketkube.report.result import Result
from pocketkube.spec import Spec, document_of, load_spec, resolve_paths
from pocketkube.spec.sections import PruneChannels

CRITERIA = ("taylor", "l2", "lasso", "dcp", "fpgm", "l1", "bn_scale")
SPEEDUPS = (2.5, 3.3, 5.0)
SEEDS = (0, 1, 2)


def main() -> None:
    """Runs what is missing, as many at a time as there are cores, and tells all of it."""
    options = _options()
    with plain_ending():
        results = _results(options)
        table = render(results)
        write_text(options.output / "table.md", table)
        print(table)


def _results(options: argparse.Namespace) -> dict[tuple[str, float, int], Result]:
    """Figures by criterion, speed-up and seed."""
    spec = resolve_paths(load_spec(options.spec), options.spec.resolve().parent)
    # Seeds turn fastest: jobs that run at once do not train the same network.
    runs = list(itertools.product(options.criteria, options.speedups, options.seeds))
    specs = {f"{run[0]}-{run[1]:g}-{run[2]}": _job(spec, *run) for run in runs}
    return dict(zip(runs, results_of(specs, options.output, options.jobs).values(), strict=True))


def _job(spec: Spec, criterion: str, speedup: float, seed: int) -> dict[str, Any]:
    stages = tuple(
        stage.model_copy(update={"criterion": criterion}) if isinstance(stage, PruneChannels) else stage
        for stage in spec.stages
    )
    job = document_of(spec.model_copy(update={"stages": stages}))
    return job | {"target": {"speedup": speedup}, "seed": seed}


def render(results: dict[tuple[str, float, int], Result]) -> str:
    """A Markdown table: a row for each criterion, a column for each speed-up.

    Args:
        results: Figures by criterion, speed-up and seed.
    """
    criteria, speedups, _ = (tuple(dict.fromkeys(column)) for column in zip(*results, strict=True))
    wording = wording_of(next(iter(results.values())).task.score_name)
    dense = {seed: result.before.score or 0.0 for (_, _, seed), result in results.items()}
    lines = [
        "| criterion | " + " | ".join(_reached(results, speedup) for speedup in speedups) + " |",
        "| --- |" + " --- |" * len(speedups),
        f"| (dense) | {mean_and_spread(dense.values(), wording)} |" + " |" * (len(speedups) - 1),
    ]
    for criterion in criteria:
        cells = (
            mean_and_spread(
                [
                    result.after.score or 0.0
                    for (ours, factor, _), result in results.items()
                    if (ours, factor) == (criterion, speedup)
                ],
                wording,
            )
            for speedup in speedups
        )
        lines.append(f"| {criterion} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Compares pruning criteria on one spec.")
    parser.add_argument("spec", type=Path, help="the job; its stages have to hold prune_channels")
    parser.add_argument(
        "-o", "--output", type=Path, required=True, help="folder for all runs and the table"
    )
    parser.add_argument(
        "--criteria", nargs="+", choices=CRITERIA, default=CRITERIA, help="default: all"
    )
    parser.add_argument(
        "--speedups", nargs="+", type=float, default=SPEEDUPS, help="default: 2.5 3.3 5"
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=SEEDS, help="default: 0 1 2")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="runs at once")
    return parser.parse_args()


def _reached(results: dict[tuple[str, float, int], Result], speedup: float) -> str:
    reached = [result.speedup for (_, factor, _), result in results.items() if factor == speedup]
    return f"{min(reached):.2f}–{max(reached):.2f}x"


if __name__ == "__main__":
    main()
