"""`pocketkube experiment`: its options, and what it does."""

import json
import sys
from argparse import Namespace
from typing import TYPE_CHECKING

from pocketkube.cli.ending import show
from pocketkube.cli.options import add_json, path_here
from pocketkube.errors import UserError

if TYPE_CHECKING:
    from pocketkube.search.local_katib.results import Result


class FailedExperiment(UserError):
    """An experiment was run, and has failed as Katib would say it."""

    EXIT_CODE = 1


def add_experiment_commands(sub) -> None:  # type: ignore[no-untyped-def]
    """Adds the commands.

    Args:
        sub: The subparsers of the command line.
    """
    text = "Run a Katib Experiment on this machine, to try it before it is sent."
    experiment = sub.add_parser("experiment", help=text, description=text)
    commands = experiment.add_subparsers(metavar="COMMAND", required=True)
    run = commands.add_parser(
        "run",
        help=text,
        description=text,
        epilog="Trials are processes of this machine, in the folder of the file; their image is not "
        "used. The same command goes on with an experiment that was interrupted. Exit code 1: the "
        "experiment has failed, as Katib would say it.",
    )
    run.set_defaults(command=run_experiment)
    run.add_argument("file", type=path_here, help="a kubeflow.org/v1beta1 Experiment, a YAML file")
    run.add_argument("--output", "-o", type=path_here, help="folder for results (default: runs/NAME)")
    add_json(run, "print experiment.json instead of the table")


def run_experiment(options: Namespace) -> None:
    """`pocketkube experiment run`: an experiment on this machine."""
    from pocketkube.search.local_katib import run_experiment

    result = run_experiment(options.file, options.output, _say)
    if options.json:
        print(json.dumps(result.to_dict(), indent=1))
    else:
        _show(result)
    assert result.ending is not None
    if not result.ending.succeeded:
        raise FailedExperiment(f"{result.name} has failed: {result.ending.message}")


def _show(result: "Result") -> None:
    from rich.table import Table

    metrics = list(result.strategies)
    table = Table("trial", "state", *result.parameters, *metrics, "seconds", "")
    for trial in result.trials:
        values = [result.metric(trial, name) for name in metrics]
        table.add_row(
            trial.name,
            trial.state,
            *(trial.assignment[name] for name in result.parameters),
            *("" if value is None else f"{value:.6g}" for value in values),
            f"{trial.seconds:.1f}",
            "best" if trial is result.best else trial.cause,
        )
    show(table)
    assert result.ending is not None
    if result.ending.succeeded:
        print(f"{result.name} has succeeded: {result.ending.message}")
    if result.best is not None:
        best = " ".join(f"{name}={value}" for name, value in result.best.assignment.items())
        print(f"Best:    {result.best.name} {best}")
    else:
        print("Best:    no trial has a value.")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
