"""Compares samplers to the end: what each found after some trials, before and after equal fine-tuning.

    python examples/compare_searches.py examples/search_fashion_mnist.yaml --output runs/searches

For each seed `pocketkube search --compare` runs, and the best of the first trials goes through the
spec's stages, fine-tuning among them; so does the spec without its search. Writes table.md: the
trial's score on validation examples, then the score on the test set, in percent unless it is an
error. What is finished is not run again.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobs import mean_and_spread, results_of

from pocketkube.cli.ending import plain_ending
from pocketkube.files.whole import write_text
from pocketkube.measures import wording_of
from pocketkube.report.result import Result
from pocketkube.search.facts import best_of
from pocketkube.search.journal import Journal
from pocketkube.search.problem import Problem
from pocketkube.search.ratios import ratios_of
from pocketkube.spec import document_of, load_spec, resolve_paths, settings_document, yaml_of

SAMPLERS = ("milp", "uniform", "random", "tpe", "gp", "ddpg")
# The key of a stage's settings that takes what was found.
TAKES = {"prune_channels": "ratios", "sparsify_weights": "ratios", "quantize_weights": "layers"}
WITHOUT = "no search"

Case = tuple[str, int, int]


@dataclass(frozen=True)
class Found:
    """The best of the first trials: its score, and a spec that does what it says."""

    score: float | None
    spec: dict[str, Any]


def main() -> None:
    """Searches, fine-tunes what was found, and tells all of it."""
    options = _options()
    with plain_ending():
        found = {case: each for seed in options.seeds for case, each in _found(options, seed).items()}
        # Samplers that found the same share a run.
        names: dict[str, str] = {}
        for case, each in found.items():
            names.setdefault(yaml_of(each.spec), "-".join(map(str, case)).replace(" ", "_"))
        specs = {names[yaml_of(each.spec)]: each.spec for each in found.values()}
        results = results_of(specs, options.output, options.jobs)
        table = render(found, {case: results[names[yaml_of(found[case].spec)]] for case in found})
        write_text(options.output / "table.md", table)
        print(table)


def _found(options: argparse.Namespace, seed: int) -> dict[Case, Found]:
    """By sampler, number of trials and seed."""
    spec = resolve_paths(load_spec(options.spec), options.spec.resolve().parent)
    document = document_of(spec) | {"seed": seed}
    plain = {key: value for key, value in document.items() if key != "search"}
    folder = options.output / f"search-{seed}"
    if not (folder / "comparison.json").is_file():
        write_text(folder / "spec.yaml", yaml_of(document))
        _search(folder, options.samplers, options.output / "cache")
    work = folder / ".comparison"
    problem = Problem.from_json((work / "prepared" / "problem.json").read_text("utf-8"))
    found = {(WITHOUT, 0, seed): Found(None, plain)}
    for sampler in options.samplers:
        trials = Journal(work / f"{sampler}-{seed}").trials()
        for count in options.best_of:
            if count <= len(trials):
                best = best_of(problem, trials[:count])
                parts = settings_document(ratios_of(problem, best.choice))
                found[sampler, count, seed] = Found(best.score, _with_parts(plain, parts))
    return found


def _with_parts(document: dict[str, Any], parts: Mapping[str, Any]) -> dict[str, Any]:
    stages = []
    for stage in document["stages"]:
        name, settings = (stage, {}) if isinstance(stage, str) else next(iter(stage.items()))
        more = {TAKES[name]: parts[name]} if parts.get(name) else {}
        stages.append({name: settings | more})
    # Ratios already say how much is cut.
    return {key: value for key, value in document.items() if key != "target"} | {"stages": stages}


def _search(folder: Path, samplers: Sequence[str], cache: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "pocketkube",
        "search",
        str(folder / "spec.yaml"),
        "-o",
        str(folder),
    ]
    environment = os.environ | {"POCKETKUBE_CACHE": str(cache.resolve())}
    done = subprocess.run(
        [*command, "--compare", *samplers, "--seeds", "1"], env=environment, check=False
    )
    if done.returncode:
        sys.exit(done.returncode)


def render(found: Mapping[Case, Found], results: Mapping[Case, Result]) -> str:
    """A Markdown table: a row for each sampler, columns for the numbers of trials.

    Args:
        found: What was found, by sampler, number of trials and seed.
        results: What came of it, by the same.
    """
    wording = wording_of(next(iter(results.values())).task.score_name)
    counts = sorted({count for _, count, _ in found} - {0})

    def cell(sampler: str, count: int) -> str:
        cases = [case for case in found if case[:2] == (sampler, count)]
        if not cases:
            return ""
        after = mean_and_spread([results[case].after.score or 0.0 for case in cases], wording)
        trials = [score for case in cases if (score := found[case].score) is not None]
        return f"{mean_and_spread(trials, wording)} → {after}" if trials else after

    dense = mean_and_spread(
        [results[case].before.score or 0.0 for case in found if not case[1]], wording
    )
    lines = [
        "| sampler | " + " | ".join(f"best of {count}" for count in counts) + " |",
        "| --- |" + " --- |" * len(counts),
        f"| (dense) | {dense} |" + " |" * (len(counts) - 1),
        f"| ({WITHOUT}) | {cell(WITHOUT, 0)} |" + " |" * (len(counts) - 1),
    ]
    for sampler in dict.fromkeys(sampler for sampler, count, _ in found if count):
        lines.append(f"| {sampler} | " + " | ".join(cell(sampler, count) for count in counts) + " |")
    return "\n".join(lines) + "\n"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Compares samplers on one spec, fine-tuning included.")
    parser.add_argument("spec", type=Path, help="the job; it has to hold a section search")
    parser.add_argument(
        "-o", "--output", type=Path, required=True, help="folder for all runs and the table"
    )
    parser.add_argument(
        "--samplers", nargs="+", default=SAMPLERS, help=f"default: {' '.join(SAMPLERS)}"
    )
    parser.add_argument("--best-of", nargs="+", type=int, default=(1, 10, 30), help="default: 1 10 30")
    parser.add_argument("--seeds", nargs="+", type=int, default=(0, 1, 2), help="default: 0 1 2")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="runs at once")
    return parser.parse_args()


if __name__ == "__main__":
    main()
