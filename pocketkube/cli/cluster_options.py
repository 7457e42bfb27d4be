"""The options of the commands that speak to a cluster."""

import argparse

from pocketkube.cli import cluster_commands as commands
from pocketkube.cli.options import add_command, add_imports, add_json, path_here

ACCESS = (
    "KFP's own settings hold: the back end is named by --endpoint or KF_PIPELINES_ENDPOINT, its pages "
    "by KF_PIPELINES_UI_ENDPOINT; a token is read from --token-file or KF_PIPELINES_SA_TOKEN_PATH, "
    "inside a pod from "
    "/var/run/secrets/kubeflow/pipelines/token; SSL_CERT_FILE names certificates to trust."
)


def add_cluster_commands(sub) -> None:  # type: ignore[no-untyped-def]
    """Adds submit, upload and doctor to a parser's commands."""
    _add_submit(sub)
    _add_upload(sub)
    _add_doctor(sub)


def _add_submit(sub) -> None:  # type: ignore[no-untyped-def]
    submit = _command(sub, "submit", commands.submit, "Run a spec's job on Kubeflow Pipelines.")
    what = submit.add_mutually_exclusive_group(required=True)
    what.add_argument("spec", nargs="?", type=path_here, help="the spec, compiled by this checkout")
    what.add_argument("--package", type=path_here, help="a compiled pipeline (.yaml) instead")
    submit.add_argument(
        "--parameter",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a parameter of the pipeline; of lists and mappings as YAML",
    )
    submit.add_argument("--name", help="what the run is called (default: as the file)")
    submit.add_argument(
        "--experiment", default="pocketkube", help="the group of runs (default: pocketkube)"
    )
    submit.add_argument("--service-account", default="", help="what its pods run as (default: KFP's)")
    submit.add_argument("--follow", action="store_true", help="wait for its end, and say how it ended")
    submit.add_argument(
        "--every",
        metavar="CRON",
        help="do not run it now but again and again: second, minute, hour, day of month, month, day of "
        "week, as in '0 0 3 * * 1'; replaces the recurring run of the same name",
    )
    submit.add_argument("--catch-up", action="store_true", help="with --every: make up for missed runs")
    submit.add_argument(
        "--max-concurrency",
        type=int,
        help="with --every: runs at a time, 1 to 10 (default: 1)",
    )
    add_imports(submit)
    _add_access(submit)
    add_json(submit)


def _add_upload(sub) -> None:  # type: ignore[no-untyped-def]
    upload = _command(
        sub,
        "upload",
        commands.upload,
        "Bring compiled pipelines and recurring runs to Kubeflow Pipelines.",
    )
    upload.add_argument(
        "packages",
        nargs="+",
        type=path_here,
        metavar="PACKAGE",
        help="a compiled pipeline (.yaml), or a folder",
    )
    upload.add_argument(
        "--schedules",
        type=path_here,
        help="a YAML file, schedules: [{name, pipeline, cron, parameters, catch_up, max_concurrency, "
        "enabled, service_account, experiment}]; those that changed are replaced",
    )
    _add_access(upload)
    add_json(upload)


def _add_doctor(sub) -> None:  # type: ignore[no-untyped-def]
    doctor = _command(
        sub,
        "doctor",
        commands.doctor,
        "Look at a cluster: what is right, what is not, and what mends it.",
    )
    doctor.add_argument("spec", nargs="?", type=path_here, help="the spec whose needs are looked for")
    doctor.add_argument(
        "--service-account", help="the account of tasks, whose rights are looked at (default: your own)"
    )
    doctor.add_argument(
        "--kubeflow", default="kubeflow", help="Kubeflow's namespace (default: kubeflow)"
    )
    doctor.add_argument(
        "--try-images", action="store_true", help="start a pod of each image, and remove it"
    )
    _add_access(doctor)
    add_json(doctor)


def _add_access(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--endpoint", metavar="URL", help="the back end, as in http://localhost:8888")
    parser.add_argument(
        "--namespace", help="where runs belong; submit and upload: multi-user mode only"
    )
    parser.add_argument("--token-file", type=path_here, help="a file with a token for the back end")


def _command(sub, name, function, text):  # type: ignore[no-untyped-def]
    return add_command(sub, name, function, text, ACCESS)
