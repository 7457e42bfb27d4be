"""`pocketkube retrain` and `pocketkube deployed`: what each does."""

import json
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from pocketkube.cli.ending import show
from pocketkube.cli.options import imports_of
from pocketkube.errors import UserError
from pocketkube.files.overwriting import refuse_overwriting

if TYPE_CHECKING:
    from pocketkube.retraining.lineage import VersionFacts
    from pocketkube.retraining.registry import Registry
    from pocketkube.retraining.settings import RetrainingJob


def retrain(options: Namespace) -> None:
    """`pocketkube retrain`: one scheduled run."""
    from pocketkube.retraining.settings import Retraining, load_retraining, read_by_retraining

    if options.explain:
        from pocketkube.spec import explain

        print(explain(Retraining))
        return
    if options.file is None or options.output is None:
        raise UserError("Give a retraining.yaml and --output, or --explain.")
    from pocketkube.console.quiet import quiet_tensorflow
    from pocketkube.files.records import text_of
    from pocketkube.spec import with_imports

    job = load_retraining(options.file)
    job = replace(job, spec=with_imports(job.spec, imports_of(options)))
    quiet_tensorflow()
    from pocketkube.retraining.run import OUTCOME_FILE, results_in, retrain

    output = options.output.resolve()
    refuse_overwriting(read_by_retraining(job, options.file), results_in(output))
    outcome = retrain(job, output)
    if options.json:
        print(text_of(outcome))
        return
    from pocketkube.retraining.report import RESULTS

    version = f" ({outcome.made.version})" if outcome.made else ""
    print(f"{job.settings.name}: {RESULTS[outcome.result]}{version}")
    print(f"Report:  {output / 'report.html'}\nFigures: {output / OUTCOME_FILE}")


def deployed(options: Namespace) -> None:
    """`pocketkube deployed`: which version is deployed; another one on demand."""
    from pocketkube.retraining.registry import Registry
    from pocketkube.retraining.settings import load_retraining

    job = load_retraining(options.file)
    registry = Registry(job.registry)
    if options.roll_back or options.to is not None:
        facts = registry.roll_back() if options.roll_back else registry.choose(options.to)
        _tell(job, registry, facts)
        if not options.json:
            print(f"{facts.version} is deployed")
            return
    pointer = registry.deployed()
    current = pointer.version if pointer else None
    versions = [registry.facts(version) for version in registry.versions()]
    if options.json:
        documents = [facts.model_dump(mode="json") for facts in versions]
        print(json.dumps({"deployed": current, "versions": documents}, indent=1))
        return
    _show_versions(versions, current)


def _tell(job: "RetrainingJob", registry: "Registry", facts: "VersionFacts") -> None:
    """Tells a Model Registry of the version that is deployed now.

    Raises:
        UserError: If it cannot be told; to roll back again would go one version too far.
    """
    from pocketkube.retraining.model_registry import tell_model_registry

    try:
        tell_model_registry(job, facts, registry.at(facts.version), deployed=True)
    except UserError as error:
        raise UserError(
            f"{facts.version} is deployed, but the Model Registry does not know: {error} Tell it by "
            f"--to {facts.version}."
        ) from error


def _show_versions(versions: "Sequence[VersionFacts]", current: str | None) -> None:
    from rich import box
    from rich.table import Table

    from pocketkube.figures import milliseconds, size
    from pocketkube.measures import wording_of

    headings = ("", "version", "made", "score", "file", "latency p50", "gate")
    table = Table(*headings, box=box.SIMPLE, padding=(0, 1, 0, 0))
    for column in table.columns[:2]:
        column.no_wrap = True
    for facts in versions:
        table.add_row(
            "deployed" if facts.version == current else "",
            facts.version,
            facts.made_at[:16].replace("T", " "),
            wording_of(facts.score_name).shown(facts.score),
            size(facts.size_bytes),
            milliseconds(facts.latency_ms),
            "passed" if facts.gate.passed else "not passed",
        )
    show(table)
