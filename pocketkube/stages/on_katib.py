"""Searches for a task on a cluster whose trials are pods of a Katib Experiment."""

import os
import time
from dataclasses import dataclass
from pathlib import Path

from pocketkube.console.quiet import quiet_tensorflow
from pocketkube.errors import UserError
from pocketkube.facts import load_facts
from pocketkube.files.whole import temporary_folder
from pocketkube.importing import import_all
from pocketkube.kube.katib.experiment import OUR_ALGORITHMS, Algorithm, ExperimentWork
from pocketkube.kube.own_pod import own_pod
from pocketkube.kube.pod_parts import Owner
from pocketkube.kube.session import Session, connect
from pocketkube.launch.cluster_jobs import store_of
from pocketkube.launch.katib import start_experiment
from pocketkube.launch.outcome import Cause
from pocketkube.launch.tuning import tuning_of
from pocketkube.launch.waiting import show
from pocketkube.search.facts import search_facts
from pocketkube.search.found import write_found
from pocketkube.search.problem import Problem
from pocketkube.search.trial import Trial
from pocketkube.spec.searched import OF_KATIB, OURS_UNDER_KATIB, check_trials
from pocketkube.spec.sections import Cluster
from pocketkube.stages.call import StageCall
from pocketkube.stages.configs import SearchRatiosConfig
from pocketkube.stages.own_place import OwnPlace, own_place
from pocketkube.storage import (
    S3Location,
    add_folder,
    fetch_folder,
    is_whole,
    parse_uri,
    patiently,
    remove_if_possible,
)

# NumPy's RandomState knows so many. Katib takes a larger one, and its algorithms then fail at every
# question, which it asks for ever.
KATIBS_SEEDS = 2**32


def search_on_katib(call: StageCall, cluster: Cluster) -> None:
    """Runs the stage that searches, its trials as pods.

    What trials share is prepared here and sent to `cluster.object_store.work`; a task that begins again
    in another pod takes it from there, and follows the Experiment that it had started.

    Args:
        call: The call, its places folders on this machine.
        cluster: Where trials run.

    Raises:
        UserError: If there is nothing to search, or the cluster, Katib or the object store refuses.
    """
    began = time.monotonic()
    config = call.config
    assert isinstance(config, SearchRatiosConfig)
    _check(config, cluster)
    there = _reached(cluster)
    place = own_place(call, cluster.object_store)
    quiet_tensorflow()
    import_all(config.imports)
    with temporary_folder() as folder:
        problem, whole_score = _prepared(call, config, place, folder / "prepared")
    prepared_seconds = time.monotonic() - began
    trials = _searched(config, cluster, there, place, problem)
    facts = search_facts(
        problem,
        trials,
        sampler=config.search.sampler,
        seed=config.seed,
        score_name=load_facts(Path(call.inputs["model"])).task.score_name,
        whole_score=whole_score,
        seconds=time.monotonic() - began,
        prepared_seconds=prepared_seconds,
    )
    write_found(Path(call.output), problem, facts)
    # An Experiment that is resumed has trials that open it again.
    if cluster.trials.resume == "Never":
        remove_if_possible(place.address)


def algorithm_of(sampler: str, problem: Problem, seed: int) -> Algorithm:
    """What proposes the trials that a sampler would.

    Args:
        sampler: Its name in a spec.
        problem: The search, of which our own are told.
        seed: Theirs.
    """
    if sampler in OURS_UNDER_KATIB:
        settings = {"problem": problem.to_setting(), "seed": str(seed)}
        return Algorithm(f"{OUR_ALGORITHMS}{sampler}", settings)
    return Algorithm(OF_KATIB[sampler], {"random_state": str(seed % KATIBS_SEEDS)})


def _check(config: SearchRatiosConfig, cluster: Cluster) -> None:
    # A task may be given another section than its spec's.
    try:
        check_trials(config.search, cluster.trials)
    except ValueError as error:
        raise UserError(f"{error}.") from None


@dataclass(frozen=True)
class _Reached:
    """The cluster of trials, their image, and what their Experiment goes with."""

    session: Session
    image: str
    owner: Owner | None


def _reached(cluster: Cluster) -> _Reached:
    session = connect()
    pod = own_pod(session)
    image = cluster.image or (pod.image if pod else "")
    if not image:
        raise UserError("cluster.image: name the image of trials; this process is in no pod.")
    return _Reached(session, image, pod.owner if pod else None)


def _prepared(
    call: StageCall, config: SearchRatiosConfig, place: OwnPlace, folder: Path
) -> tuple[Problem, float]:
    """What trials share, as it lies on the object store: the search, and the score before."""
    from pocketkube.search.prepared import open_prepared
    from pocketkube.stages.preparing import prepare

    there = parse_uri(_address(place))
    if patiently("look", lambda: is_whole(S3Location(there))):
        patiently("fetch", lambda: fetch_folder(there, folder))
    else:
        inputs = {name: Path(given) for name, given in call.inputs.items()}
        prepare(config, inputs, folder)
        add_folder(folder, S3Location(there))
    evaluator = open_prepared(folder, remembers=False)
    return evaluator.problem, evaluator.whole_score


def _searched(
    config: SearchRatiosConfig,
    cluster: Cluster,
    there: _Reached,
    place: OwnPlace,
    problem: Problem,
) -> tuple[Trial, ...]:
    """The trials that have ended."""
    work = ExperimentWork(
        name=place.name,
        space=problem.space,
        algorithm=algorithm_of(config.search.sampler, problem, config.seed),
        prepared=_address(place),
        imports=tuple(each.word() for each in config.imports),
        costs=problem.cost_names,
        trials=config.search.trials,
        parallel=config.search.parallel,
        image=there.image,
        environment={**tuning_of(os.environ), **store_of(cluster)},
        owner=there.owner,
    )
    running = start_experiment(there.session, work, problem, cluster)
    # Whoever comes next finds the Experiment: a cluster that is away has not ended it.
    outcome = show(running, outlives=(UserError,))
    if outcome.cause is not Cause.DONE:
        raise UserError(outcome.reason)
    return tuple(trial for trial in running.trials if trial.state != "running")


def _address(place: OwnPlace) -> str:
    return f"{place.address}/prepared"
