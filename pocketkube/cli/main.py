"""Reads the command line, calls what it asks for, and turns a user's mistake into one line."""

import argparse
from collections.abc import Sequence

from pocketkube import __version__
from pocketkube.cli import commands, retraining
from pocketkube.cli.cluster_options import add_cluster_commands
from pocketkube.cli.ending import plain_ending
from pocketkube.cli.experiments import add_experiment_commands
from pocketkube.cli.files import add_file_commands
from pocketkube.cli.options import (
    add_command,
    add_image_size,
    add_imports,
    add_json,
    add_value_range,
    path_here,
)
from pocketkube.console.quiet import quiet_libraries
from pocketkube.pruning.criteria import BUILT_IN

EPILOG = """\
A first run:   pocketkube run examples/digits.yaml --output runs/digits
Exit codes:    0 done; 2 something in the request is wrong (one line says what); 1 the machine lacks
               memory or space, a run that was followed has failed, or a fault of this program, whose
               traceback is in the file that the line names; 130 interrupted.
Warnings:      those of libraries are shown where TF_CPP_MIN_LOG_LEVEL=0 is in the environment.
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line and exits.

    Args:
        arguments: The words after the program's name; the process's own if None.
    """
    quiet_libraries()
    with plain_ending():
        options = command_parser().parse_args(arguments)
        options.command(options)


def command_parser() -> argparse.ArgumentParser:
    """What reads the command line; its parts say what each command and option does."""
    parser = argparse.ArgumentParser(
        prog="pocketkube",
        description="Makes trained Keras networks small and fast enough for phones.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"pocketkube {__version__}")
    sub = parser.add_subparsers(metavar="COMMAND", required=True)

    run = add_command(sub, "run", commands.run, "Do all that a spec asks for, on this machine.")
    run.add_argument(
        "spec", type=path_here, help="the spec, a YAML file; see: pocketkube spec --explain"
    )
    run.add_argument("--output", "-o", type=path_here, required=True, help="folder for results")
    run.add_argument(
        "--measure-again",
        action="store_true",
        help="measure the latency again where nothing has changed, as after a measurement on a busy "
        "machine",
    )
    add_imports(run)
    add_json(run, "print result.json instead of the table")

    search = add_command(
        sub,
        "search",
        commands.search,
        "Find layers' ratios and bits as a spec asks, and stop there; or compare samplers.",
    )
    search.add_argument("spec", type=path_here, help="the spec, a YAML file with a section search")
    search.add_argument("--output", "-o", type=path_here, required=True, help="folder for results")
    search.add_argument(
        "--compare",
        nargs="+",
        metavar="SAMPLER",
        help="run these instead, each with the spec's budget and number of trials: ddpg, tpe, gp, "
        "cmaes, random, milp, uniform",
    )
    search.add_argument("--seeds", type=int, help="with --compare: how often each is run (default: 3)")
    add_imports(search)
    add_json(search, "print search.json, or comparison.json, instead")

    profile = add_command(sub, "profile", commands.profile, "Show what a model costs, layer by layer.")
    profile.add_argument("model", help="a .keras file, or one of Keras 2 as import takes it")
    add_image_size(profile)
    add_imports(profile)
    add_json(profile)

    of_data = ", ".join(name for name, each in BUILT_IN.items() if each.needs_data)
    prune = add_command(sub, "prune", commands.prune, "Cut the channels of a model, without training.")
    prune.add_argument("model", help="a .keras file, or one of Keras 2 as import takes it")
    add_image_size(prune)
    add_imports(prune)
    prune.add_argument("--speedup", type=float, required=True, help="MACs before over MACs after")
    prune.add_argument(
        "--criterion",
        default="l2",
        help=f"how a channel's importance is judged: {', '.join(BUILT_IN)}, or what a package adds; "
        f"{of_data} need --dataset (default: l2)",
    )
    prune.add_argument(
        "--dataset", help="a built-in name, or an .npz with x, and y or none, to calibrate on"
    )
    prune.add_argument("--round-to", type=int, default=8, help="channel counts are multiples of this")
    prune.add_argument("--output", "-o", type=path_here, required=True, help="the .keras file to write")
    add_json(prune)

    unpack = add_command(sub, "unpack", commands.unpack, "Restore the Keras model of a packed file.")
    unpack.add_argument("packed", type=path_here, help="a model.packed")
    unpack.add_argument(
        "--output", "-o", type=path_here, required=True, help="the .keras file to write"
    )
    add_imports(unpack)

    add_file_commands(sub)

    benchmark = add_command(
        sub, "benchmark", commands.benchmark, "Measure LiteRT files side by side, or a latency table."
    )
    benchmark.add_argument(
        "files",
        nargs="+",
        type=path_here,
        help=".tflite files; the first is the baseline (with --table: a .keras file, or a folder of "
        "prepare_latency_table's)",
    )
    benchmark.add_argument(
        "--samples",
        type=path_here,
        help="an .npz with x (or x0, x1, …) and y: real inputs; with x_test and y_test those are taken",
    )
    add_value_range(benchmark, "--samples")
    benchmark.add_argument(
        "--runs",
        type=int,
        help="timed runs of each, and up to ten times as many until the ratio is sure (default: 100)",
    )
    benchmark.add_argument(
        "--threads", type=int, nargs="+", help="thread counts (default: 1 2; of a table: 1)"
    )
    benchmark.add_argument(
        "--table",
        action="store_true",
        help="measure how long each layer of a network takes here at which number of channels",
    )
    benchmark.add_argument(
        "--output", "-o", type=path_here, help="with --table: the .json file to write, or to go on with"
    )
    benchmark.add_argument(
        "--cluster",
        metavar="SPEC",
        type=path_here,
        help="with --table: measure on a node that this spec's cluster.benchmark asks for, in the "
        "cluster that KUBECONFIG names",
    )
    add_image_size(benchmark)
    add_imports(benchmark)
    add_json(benchmark)

    report = add_command(sub, "report", commands.report, "Write the HTML report of a result.json anew.")
    report.add_argument("result", type=path_here, help="result.json, or the folder of a run")
    report.add_argument("--output", "-o", type=path_here, help="the .html file (default: beside it)")

    spec = add_command(sub, "spec", commands.spec, "Explain or check specs.")
    spec.add_argument("file", nargs="?", type=path_here, help="a spec to check")
    spec.add_argument("--explain", action="store_true", help="every field, its default and meaning")
    spec.add_argument("--schema", action="store_true", help="the JSON Schema, for editors")

    add_cluster_commands(sub)

    retrain = add_command(
        sub,
        "retrain",
        retraining.retrain,
        "Retrain a deployed model on the newest data, where it has to be; for cron.",
    )
    retrain.add_argument("file", nargs="?", type=path_here, help="the settings, a retraining.yaml")
    retrain.add_argument(
        "--output",
        "-o",
        type=path_here,
        help="folder for the report and finished steps; needed to retrain",
    )
    retrain.add_argument(
        "--explain", action="store_true", help="every setting, its default and meaning"
    )
    add_imports(retrain)
    add_json(retrain, "print retraining.json instead of a summary")

    deployed = add_command(
        sub, "deployed", retraining.deployed, "Show a model's versions, or deploy another one."
    )
    deployed.add_argument("file", type=path_here, help="the settings, a retraining.yaml")
    change = deployed.add_mutually_exclusive_group()
    change.add_argument(
        "--roll-back", action="store_true", help="deploy the version that was deployed before"
    )
    change.add_argument("--to", metavar="VERSION", help="deploy this version, whatever its gate said")
    add_json(deployed, "print the versions and which one is deployed, for programs")

    add_experiment_commands(sub)

    stage = add_command(
        sub,
        "stage",
        commands.stage,
        "Run one stage of a spec; for launchers.",
        "The server of s3:// places is named by AWS_ENDPOINT_URL_S3, and its keys by AWS_ACCESS_KEY_ID "
        "and AWS_SECRET_ACCESS_KEY.",
    )
    stage.add_argument(
        "name",
        help="train_model, prune_channels, …; or a step of the spec's job, as 2_fine_tune or result",
    )
    source = stage.add_mutually_exclusive_group(required=True)
    source.add_argument("--spec", type=path_here, help="the spec whose job it is a step of")
    source.add_argument(
        "--config", metavar="JSON", help="all that the stage is told, as launchers write it"
    )
    stage.add_argument(
        "--input",
        action="append",
        default=[],
        metavar="NAME=PLACE",
        help="an input by its name: a folder, or s3://bucket/key",
    )
    stage.add_argument(
        "--output", "-o", metavar="PLACE", required=True, help="the folder or s3://bucket/key to write"
    )
    stage.add_argument(
        "--checkpoints",
        metavar="S3_PLACE",
        default="",
        help="where checkpoints are copied to, for the same command on another machine to go on from",
    )

    trial = add_command(
        sub,
        "trial",
        commands.trial,
        "Evaluate one assignment of a search; for Katib and other launchers.",
        "Values are brought to the nearest levels, and onto the search's budget; what was really used "
        "is told as applied.NAME. With fine-tuning the score is told between steps, too.",
    )
    trial.add_argument(
        "given", nargs="*", metavar="NAME=VALUE", help="a value for each of the search's parameters"
    )
    trial.add_argument(
        "--prepared", metavar="PLACE", required=True, help="the prepared search: a folder, or s3://…"
    )
    trial.add_argument(
        "--metrics",
        metavar="FILE",
        type=path_here,
        required=True,
        help="where lines name=value are written",
    )
    trial.add_argument(
        "--as-given",
        action="store_true",
        help="take values within the budget as they are; else what they leave of it is spent",
    )
    for opens_models in (stage, trial):
        add_imports(opens_models)
    return parser
