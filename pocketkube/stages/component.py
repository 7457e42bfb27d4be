"""What every KFP component does: brings its parameters back into shape and runs its stage."""

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pocketkube.console.last_words import last_words
from pocketkube.console.terminal import visible, visible_output
from pocketkube.errors import UserError
from pocketkube.facts import OutputScore, load_exported, load_facts
from pocketkube.files.layout import LITERT_FILE, SEARCH_FILE
from pocketkube.files.records import read_document
from pocketkube.kube.own_pod import TASK_POD
from pocketkube.kube.session import connect
from pocketkube.processes.children import end_with
from pocketkube.processes.interruption import interrupt_at_sigterm
from pocketkube.search.facts import SearchFacts
from pocketkube.spec import parse_settings
from pocketkube.spec.sections import Cluster
from pocketkube.stages.call import StageCall, config_of
from pocketkube.stages.configs import OnNodesConfig
from pocketkube.stages.on_cluster import run_on_cluster
from pocketkube.stages.on_nodes import asks_for_others, measure_on_nodes
from pocketkube.stages.run import run_stage

# Names a folder where components that run on one machine keep what they have finished.
CACHE = "POCKETKUBE_CACHE"
# The process that runs a pipeline on this machine: shells are between it and its components.
RUN_PROCESS = "POCKETKUBE_RUN_PROCESS"


def run_component(
    stage: str,
    parameters: Mapping[str, Any],
    output: str,
    inputs: Mapping[str, Any] | None = None,
    *,
    cluster: Mapping[str, Any] | None = None,
) -> None:
    """Runs a stage inside a KFP component; ends the process where the stage refuses.

    KFP hands numbers over as it likes (2.0 as 2 on a back end, 2 as 2.0 on one machine): they are
    brought back to what the stage declares. A parameter that is empty has its default.

    Args:
        stage: The stage.
        parameters: Its config, a parameter for each field.
        output: The folder to write.
        inputs: An artifact for each input; None where an optional one is left out.
        cluster: Where a stage that trains runs, as the spec's section of that name has it; None for
            others. It counts on a back end only: on one machine all runs there.
    """
    cache = os.environ.get(CACHE)
    with ending_in_one_line():
        document = given(parameters)
        folders = {
            name: str(Path(artifact.path).resolve())
            for name, artifact in (inputs or {}).items()
            if artifact is not None
        }
        config = config_of(stage, document)
        if isinstance(config, OnNodesConfig) and TASK_POD not in os.environ:
            config = config.anywhere()
        call = StageCall(stage, config, folders, str(Path(output).resolve()))
        if isinstance(config, OnNodesConfig) and asks_for_others(config):
            measure_on_nodes(connect(), call)
        elif cluster is not None and TASK_POD in os.environ:
            run_on_cluster(call, parse_settings(Cluster, given(cluster), "cluster"))
        elif run_stage(call, Path(cache) if cache else None).cached:
            print("unchanged since the last run", file=sys.stderr)


@contextmanager
def ending_in_one_line() -> Iterator[None]:
    """Ends the process where the block fails or is interrupted, with the cause as its last line."""
    # A run that is ended ends what it has started.
    interrupt_at_sigterm()
    if RUN_PROCESS in os.environ:
        end_with(int(os.environ[RUN_PROCESS]))
    with visible_output():
        try:
            yield
        except KeyboardInterrupt:
            sys.exit(f"{UserError.PREFIX}interrupted; the task goes on from here when it runs again.")
        except Exception as error:
            # A back end shows no more than the last line of standard error.
            sys.exit(visible(last_words(error).line))


def given(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of a component that say something; one that is empty has its default."""
    return {name: value for name, value in parameters.items() if value not in EMPTY}


EMPTY: tuple[Any, ...] = (None, "", {}, [])


def metrics_of(folder: str) -> dict[str, float]:
    """The figures of the model of a bundle, for KFP to show."""
    facts = load_facts(Path(folder))
    score_name, made = facts.task.score_name, facts.made
    shown: dict[str, float | None] = {
        score_name: made.score,
        f"validation_{score_name}": made.val_score,
        **(_of_heads(made.heads) if len(made.heads) > 1 else {}),
        "macs" if made.macs_bound == "exact" else "macs_at_least": made.macs,
        "parameters": made.parameters,
        "seconds": made.seconds,
    }
    return {name: float(value) for name, value in shown.items() if value is not None}


def file_metrics_of(folder: str) -> dict[str, float]:
    """The figures of the LiteRT file of an exported bundle, for KFP to show."""
    facts = load_exported(Path(folder))
    shown = {
        "size_bytes": (Path(folder) / LITERT_FILE).stat().st_size,
        "agreement": facts.agreement.share,
        "seconds": facts.export.seconds,
    }
    return {name: float(value) for name, value in shown.items() if value is not None}


def search_metrics_of(folder: str) -> dict[str, float]:
    """The figures of the best trial of a search, for KFP to show."""
    facts = read_document(SearchFacts, Path(folder) / SEARCH_FILE)
    best = facts.best_trial
    assert best.score is not None
    return {facts.score_name: best.score, **best.costs, "seconds": facts.seconds}


def format_of(folder: str) -> str:
    """What the numbers of the LiteRT file of an exported bundle are."""
    return str(load_exported(Path(folder)).format)


def _of_heads(heads: Sequence[OutputScore]) -> dict[str, float]:
    return {f"{head.name}_{head.score_name}": head.score for head in heads}
