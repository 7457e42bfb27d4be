"""What the commands do that speak to a cluster: read options, call the library, show what came out."""

import json
import sys
from argparse import Namespace
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pocketkube.cli.options import imports_of
from pocketkube.errors import UserError
from pocketkube.files.whole import temporary_folder

if TYPE_CHECKING:
    from pocketkube.kube.doctor.finding import Finding
    from pocketkube.kube.kfp.backend import Backend
    from pocketkube.kube.kfp.package import Package
    from pocketkube.kube.kfp.schedules import Applied
    from pocketkube.kube.kfp.versions import Version

# Which option says a setting of a recurring run, where it is not called as that.
_OPTIONS = {"cron": "--every", "parameters": "--parameter"}


def submit(options: Namespace) -> None:
    """`pocketkube submit`: a spec's job as a run, or a recurring run."""
    if options.every is None and (options.catch_up or options.max_concurrency is not None):
        raise UserError("--catch-up, --max-concurrency: only with --every, for recurring runs.")
    if options.every is not None and options.follow:
        raise UserError("--follow: a recurring run has no end; leave out --follow or --every.")
    if options.package is not None:
        if options.imports:
            raise UserError("--import: a package is compiled already; give the spec instead.")
        _submit_package(options, options.package, options.package.stem)
        return
    from pocketkube.kube.kfp.compiled import compile_job

    with temporary_folder() as folder:
        package = folder / f"{options.spec.stem}.yaml"
        compile_job(options.spec, package, imports_of(options))
        _submit_package(options, package, options.spec.stem)


def _submit_package(options: Namespace, file: Path, name: str) -> None:
    from pocketkube.kube.kfp.package import arguments_of, read_package

    package = read_package(file)
    arguments = arguments_of(package, options.parameter)
    if options.every is None:
        _run_once(options, package, arguments, options.name or name)
    else:
        _run_again_and_again(options, package, arguments, options.name or name)


def _run_once(options: Namespace, package: "Package", arguments: dict[str, Any], name: str) -> None:
    from pocketkube.kube.kfp.runs import start_run
    from pocketkube.kube.kfp.submission import wait_for_run
    from pocketkube.kube.kfp.versions import upload

    backend = _backend(options)
    version = upload(backend, package)
    run = start_run(backend, version, arguments, name, options.experiment, options.service_account)
    document = {"version": asdict(version), "run": asdict(run)}
    if not options.json:
        print(
            f"{_line(version)}\nimage:   {', '.join(package.images)}\nrun:     {run.link}", flush=True
        )
    if options.follow:
        ending = wait_for_run(backend, run, package.titles, _say)
        document["ending"] = {"state": ending.state, "seconds": ending.seconds}
        if not options.json:
            print(f"done in {ending.seconds:.0f} s")
    if options.json:
        print(json.dumps(document, indent=1))


def _run_again_and_again(
    options: Namespace, package: "Package", arguments: dict[str, Any], name: str
) -> None:
    from pocketkube.kube.kfp.schedules import schedule_of
    from pocketkube.kube.kfp.submission import upload_all

    settings = {
        "name": name,
        "pipeline": package.name,
        "cron": options.every,
        "parameters": arguments,
        "catch_up": options.catch_up,
        "max_concurrency": 1 if options.max_concurrency is None else options.max_concurrency,
        "service_account": options.service_account,
        "experiment": options.experiment,
    }
    schedule = schedule_of(settings, lambda key: _OPTIONS.get(key, f"--{key.replace('_', '-')}"))
    _show(options, *_both(upload_all(_backend(options), [package], [schedule])))


def upload(options: Namespace) -> None:
    """`pocketkube upload`: compiled pipelines and recurring runs."""
    from pocketkube.kube.kfp.package import packages_in
    from pocketkube.kube.kfp.schedules import load_schedules
    from pocketkube.kube.kfp.submission import refuse_unfit, upload_all

    packages = packages_in(options.packages)
    schedules = load_schedules(options.schedules) if options.schedules else ()
    refuse_unfit(packages, schedules)
    _show(options, *_both(upload_all(_backend(options), packages, schedules)))


def _both(uploaded: Any) -> tuple[tuple["Version", ...], tuple["Applied", ...]]:
    return uploaded.versions, uploaded.recurring


def _show(
    options: Namespace, versions: tuple["Version", ...], recurring: tuple["Applied", ...]
) -> None:
    if options.json:
        document = {"versions": list(map(asdict, versions)), "recurring": list(map(asdict, recurring))}
        print(json.dumps(document, indent=1))
        return
    for version in versions:
        print(_line(version))
    for each in recurring:
        print(f"recurring run {each.name}: {each.change}: {each.link}")


def doctor(options: Namespace) -> None:
    """`pocketkube doctor`: what is right of a cluster, and what is not."""
    from pocketkube.kube.doctor.examination import Question, examine, is_wrong
    from pocketkube.kube.doctor.needs import needs_of, usual_needs
    from pocketkube.kube.session import connect
    from pocketkube.spec import load_spec

    needs = needs_of(load_spec(options.spec)) if options.spec else usual_needs()
    backend = _backend_or_why(options)
    own = "" if isinstance(backend, UserError) else backend.namespace
    # With one user's back end, runs are where Kubeflow is.
    session = connect(options.namespace or own or options.kubeflow)
    found: list[Finding] = []
    asked = Question(
        session,
        needs,
        backend,
        options.kubeflow,
        options.service_account,
        options.try_images,
    )
    for finding in examine(asked):
        found.append(finding)
        if not options.json:
            print(_text(finding), flush=True)
    if options.json:
        print(json.dumps([asdict(finding) for finding in found], indent=1))
    wrong = sum(map(is_wrong, found))
    if wrong:
        raise UserError(f"{wrong} of {len(found)} findings are wrong; below each is what mends it.")


def _text(finding: "Finding") -> str:
    remedy = f"\n       {finding.remedy}" if finding.remedy else ""
    return f"{finding.level:5}  {finding.subject}: {finding.sentence}{remedy}"


def _line(version: "Version") -> str:
    return f"version: {version.name} ({'new' if version.is_new else 'there already'})"


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _backend(options: Namespace) -> "Backend":
    from pocketkube.kube.kfp.backend import connect

    return connect(options.endpoint, options.namespace, options.token_file)


def _backend_or_why(options: Namespace) -> "Backend | UserError":
    try:
        return _backend(options)
    except UserError as error:
        return error
