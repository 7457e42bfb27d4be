"""Runs a search's trials as a Katib Experiment, which is started or found again, and followed."""

import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

from pocketkube.errors import UserError
from pocketkube.kube.failures import ApiServerAway, Refused
from pocketkube.kube.katib.experiment import API_VERSION, INJECTION, ExperimentWork, experiment
from pocketkube.kube.katib.trial_jobs import LAUNCHER, PRIMARY
from pocketkube.kube.katib.trials import (
    SUGGESTION,
    TRIAL,
    awaits_score,
    order_of,
    read_trial,
    said_of_failure,
)
from pocketkube.kube.logs import last_lines
from pocketkube.kube.objects import EVENT, POD, Kind, delete, find, get, met_condition, name_of
from pocketkube.kube.pods import Stuck, nothing_happens, why_ended, why_no_pods, why_stuck
from pocketkube.kube.session import Session
from pocketkube.kube.transport import Document
from pocketkube.kube.watching import watch_with_pauses
from pocketkube.launch.cluster_jobs import EndsWhenFollowed, start_or_adopt
from pocketkube.launch.endings import cause_of_waiting, sentence
from pocketkube.launch.lines import lines_by_rank
from pocketkube.launch.outcome import Cause, Outcome, outcome_of_process
from pocketkube.launch.unstarted import Waiting
from pocketkube.search.problem import Problem
from pocketkube.search.trial import Trial
from pocketkube.spec.sections import Cluster

EXPERIMENT = Kind(API_VERSION, "Experiment")
NAMESPACE = Kind("v1", "Namespace")
_OF_EXPERIMENT = "katib.kubeflow.org/experiment={}"
_TRIAL_LABEL = "katib.kubeflow.org/trial"
_OF_TRIAL = f"{_TRIAL_LABEL}={{}}"
_LOOK_S = 2.0
# Why nothing starts is asked for less often.
_REASON_S = 10.0
# A Trial's job that has ended for so long, and Katib does not see it.
_UNSEEN_S = 60.0
# An Experiment that has ended waits so long for the score of a Trial that was stopped early.
_SCORE_S = 30.0
# Its webhook is one pod, which may be moved to another node.
_CONTROLLER_S = 180.0
# Before what an algorithm says to its settings.
_REFUSAL = "ValidateAlgorithmSettings Error: "
_FOR_EVER_S = 1e8
_LINES = 100
_SHOWN_PARAMETERS = 6


def start_experiment(
    session: Session, work: ExperimentWork, problem: Problem, cluster: Cluster
) -> "RunningExperiment":
    """Starts an Experiment, or finds the one of its name; one that has failed is replaced.

    Args:
        session: The cluster, and the namespace.
        work: What is to be found out.
        problem: The search.
        cluster: The pods of its trials.

    Raises:
        UserError: If Katib is not there or refuses, or the API server does.
    """
    document = experiment(work, cluster)
    _check_namespace(session)
    patience = replace(session.server.patience, total_s=_CONTROLLER_S)
    impatient = replace(session, server=replace(session.server, patience=patience))
    try:
        created = start_or_adopt(impatient, document, _has_failed)
    except Refused as refused:
        raise _plainly(refused, session, work, cluster) from refused
    except ApiServerAway as away:
        if "failed calling webhook" not in str(away):
            raise
        raise UserError(
            f"Katib's webhook does not answer; is the Deployment katib-controller up? ({away})"
        ) from away
    return RunningExperiment(session, created.document, problem, cluster, is_adopted=not created.is_new)


class RunningExperiment(EndsWhenFollowed):
    """An Experiment on the cluster; see `Job`.

    Attributes:
        name: Its name.
        algorithm: What proposes its trials.

    Args:
        session: The cluster, and the Experiment's namespace.
        document: The Experiment.
        problem: The search.
        cluster: How long pods may wait, and whether it goes when it is cancelled.
        is_adopted: Whether it was there before.
    """

    def __init__(
        self,
        session: Session,
        document: Document,
        problem: Problem,
        cluster: Cluster,
        *,
        is_adopted: bool,
    ) -> None:
        self.name, self._uid = name_of(document), document["metadata"]["uid"]
        self._session, self._problem, self._cluster = session, problem, cluster
        self._is_adopted = is_adopted
        self.algorithm = str(document["spec"]["algorithm"]["algorithmName"])
        self._count = int(document["spec"]["maxTrialCount"])
        self._order: tuple[str, ...] = ()
        self._made_by_others: list[str] = []
        self._trials: dict[str, Trial] = {}
        self._documents: dict[str, Document] = {}
        self._waiting = Waiting(cluster.workers.pending_seconds)
        self._reasoned = time.monotonic()
        self._ended: float | None = None

    @property
    def trials(self) -> tuple[Trial, ...]:
        """Those that are known, by their numbers."""
        return tuple(sorted(self._trials.values(), key=lambda trial: trial.number))

    def follow(self) -> Iterator[str]:
        """See `Job`: a line for each trial that has ended, and for what keeps others."""
        if self._outcome is not None:
            return
        what = "is there already, and followed" if self._is_adopted else "is created"
        yield f"Experiment {self.name} {what}: algorithm={self.algorithm} trials={self._count}"
        for seen in watch_with_pauses(
            self._session,
            TRIAL,
            labels=_OF_EXPERIMENT.format(self.name),
            seconds=_FOR_EVER_S,
            pause_s=_LOOK_S,
        ):
            if seen is None:
                yield from self._look()
                if self._outcome is not None:
                    return
            elif not seen.is_gone:
                yield from self._see(seen.document)

    def cancel(self) -> None:
        """See `Job`; trials that run go with it. It stays where the section says so."""
        if self._outcome is None and self._cluster.trials.remove_when_cancelled:
            self._outcome = Outcome(143, Cause.INTERRUPTED, "It was cancelled.")
            # Whoever is ended has a second, and Kubernetes does the rest without it.
            delete(self._session, EXPERIMENT, self.name, seconds=0)

    def _see(self, document: Document) -> Iterator[str]:
        """Takes in a Trial's new state."""
        name = name_of(document)
        known = self._trials.get(name)
        if known is not None and known.state != "running":
            return
        trial = read_trial(document, self._number(name), self._problem, self.algorithm)
        if trial.state == "failed":
            trial = replace(trial, cause=self._cause(document))
        self._trials[name], self._documents[name] = trial, document
        if trial.state != "running":
            self._waiting.forget()
            yield self._line(trial)

    def _number(self, name: str) -> int:
        if name not in self._order:
            self._order = order_of(get(self._session, SUGGESTION, self.name))
        if name in self._order:
            return self._order.index(name)
        # A Trial that somebody else made is behind all others, and keeps its number.
        if name not in self._made_by_others:
            self._made_by_others.append(name)
        return self._count + self._made_by_others.index(name)

    def _line(self, trial: Trial) -> str:
        ended = [each for each in self._trials.values() if each.state != "running"]
        scores = [each.score for each in ended if each.score is not None]
        words = [f"trial={trial.number + 1}"]
        words += [f"score={trial.score:.4f}"] if trial.score is not None else ["failed"]
        words += [f"best={max(scores):.4f}"] if scores else []
        words += [f"done={len(ended)}/{self._count}", f"seconds={trial.seconds:.0f}"]
        values = self._problem.space.values(trial.choice)  # type: ignore[arg-type]
        shown = [f"{name}={value:g}" for name, value in values.items()][:_SHOWN_PARAMETERS]
        words += [*shown, *(["…"] if len(values) > len(shown) else [])]
        return " ".join(words) + (f' cause="{trial.cause}"' if trial.cause else "")

    def _look(self) -> Iterator[str]:
        """Asks what has become of the Experiment; gives it up where its pods do not start."""
        document = get(self._session, EXPERIMENT, self.name)
        if document is None or document["metadata"]["uid"] != self._uid:
            reason = f"Experiment {self.name} was deleted while it ran."
            self._outcome = Outcome(1, Cause.INTERRUPTED, reason)
            return
        if condition := met_condition(document, "Succeeded", "Failed"):
            for trial in find(self._session, TRIAL, _OF_EXPERIMENT.format(self.name)):
                yield from self._see(trial)
            if condition["type"] == "Succeeded":
                if self._awaits_scores():
                    return
                yield f"Experiment {self.name}: {condition.get('message', 'done')}"
                self._outcome = Outcome(0, Cause.DONE)
            else:
                self._outcome = self._failure(condition)
            return
        if time.monotonic() - self._reasoned < _REASON_S:
            return
        self._reasoned = time.monotonic()
        if unseen := self._unseen_end():
            self._give_up(Outcome(1, Cause.FAULT, unseen))
            return
        stuck, goes_on = self._why_waiting()
        if goes_on:
            self._waiting.forget()
        yield from self._waiting.because(stuck)
        if (found := self._waiting.given_up) is not None:
            self._give_up(Outcome(1, cause_of_waiting(found), sentence(found)))

    def _awaits_scores(self) -> bool:
        """Whether a Trial's score is still to come, though the Experiment has ended."""
        self._ended = self._ended or time.monotonic()
        late = [
            name
            for name, trial in self._trials.items()
            if trial.state == "running" and awaits_score(self._documents[name])
        ]
        return bool(late) and time.monotonic() - self._ended < _SCORE_S

    def _give_up(self, outcome: Outcome) -> None:
        self._outcome = outcome
        delete(self._session, EXPERIMENT, self.name, seconds=0)

    def _failure(self, condition: Document) -> Outcome:
        """Why an Experiment failed, whose own condition does not say."""
        suggestion = get(self._session, SUGGESTION, self.name)
        failed = met_condition(suggestion, "Failed") if suggestion else None
        if failed is not None:
            said = str(failed.get("message") or failed.get("reason") or "").rstrip(". ")
            said = said.rpartition(_REFUSAL)[2]
            return Outcome(2, Cause.USER_ERROR, f"The algorithm {self.algorithm} refuses: {said}.")
        causes = [trial for trial in self.trials if trial.state == "failed"]
        if causes:
            last = causes[-1]
            many = "trial has" if len(causes) == 1 else "trials have"
            reason = (
                f"{len(causes)} {many} failed, which is all that cluster.trials.max_failed allows; "
                f"trial {last.number + 1}: {last.cause.rstrip('. ')}."
            )
            return Outcome(1, Cause.FAULT, reason)
        return Outcome(1, Cause.FAULT, f"Experiment {self.name}: {condition.get('message', '')}")

    def _cause(self, trial: Document) -> str:
        """Why a Trial failed, from its pod, which stays."""
        pods = find(self._session, POD, _OF_TRIAL.format(name_of(trial)))
        # Of an MPIJob's pods, workers are ended with the launcher.
        launchers = [pod for pod in pods if LAUNCHER.items() <= pod["metadata"]["labels"].items()]
        for pod in launchers or pods:
            ending = why_ended(pod)
            if ending is None or ending.is_success:
                continue
            code = _exit_code(pod)
            # Where the trial's own program failed at once, Katib's sidecar has failed for that.
            if code and ending.reason != "OOMKilled" and ending.container:
                written = last_lines(self._session, name_of(pod), PRIMARY, _LINES)
                lines = tuple(text for _, text in lines_by_rank(f"{line}\n" for line in written))
                return outcome_of_process(code, lines, oom_killed=False).reason
            if not ending.container:
                return str(ending)
            return ": ".join(
                [str(ending), *last_lines(self._session, name_of(pod), ending.container, 1)]
            )
        return said_of_failure(trial)

    def _why_waiting(self) -> tuple[Stuck | None, bool]:
        """What keeps pods from starting, and whether a trial's pod runs."""
        pods = find(self._session, POD, _OF_EXPERIMENT.format(self.name))
        service = [pod for pod in pods if _TRIAL_LABEL not in pod["metadata"]["labels"]]
        goes_on = any(
            pod["status"].get("phase") == "Running" and pod not in service and not why_ended(pod)
            for pod in pods
        )
        for pod in pods:
            if why_ended(pod) is None and (stuck := why_stuck(self._session, pod)):
                return stuck, goes_on
        running = [name for name, trial in self._trials.items() if trial.state == "running"]
        # A warning stays when what it tells of has passed, as a quota that was full for a moment.
        have_pods = {pod["metadata"]["labels"].get(_TRIAL_LABEL) for pod in pods}
        for name in running:
            if name not in have_pods and (stuck := why_no_pods(self._session, self._documents[name])):
                return stuck, goes_on
        begins = any(pod["status"].get("phase") == "Pending" for pod in service)
        suggestion = None if running or begins else get(self._session, SUGGESTION, self.name)
        if suggestion and (stuck := why_no_pods(self._session, suggestion)):
            return stuck, goes_on
        if service:
            return None, goes_on
        stuck = self._why_no_service()
        if stuck is None and not pods and not self._trials:
            stuck = nothing_happens(EXPERIMENT, self.name, self._session)
        return stuck, goes_on

    def _why_no_service(self) -> Stuck | None:
        """Why the algorithm's service has no pod, as Kubernetes notes at its ReplicaSet."""
        refused = [
            event
            for event in find(
                self._session, EVENT, fields="involvedObject.kind=ReplicaSet,type=Warning"
            )
            if event["involvedObject"]["name"].startswith(f"{self.name}-{self.algorithm}-")
        ]
        if not refused:
            return None
        last = max(refused, key=lambda event: event.get("lastTimestamp") or "")
        what = f"the service of {self.algorithm}"
        return Stuck(what, last.get("reason", ""), last.get("message", ""))

    def _unseen_end(self) -> str:
        """Which Trial's job has ended without that Katib takes notice; empty where there is none."""
        for name, trial in self._trials.items():
            if trial.state != "running":
                continue
            run = self._documents[name]["spec"]["runSpec"]
            job = get(self._session, Kind(run["apiVersion"], run["kind"]), name)
            ended = met_condition(job, "Succeeded", "Complete", "Failed") if job else None
            if ended is None or _age_s(ended) < _UNSEEN_S:
                continue
            group, _, version = run["apiVersion"].partition("/")
            return (
                f"{run['kind']} {name} has ended, and Katib takes no notice: KatibConfig's "
                f"trialResources need {run['kind']}.{version}.{group} (and then a restart of "
                "katib-controller), and katib-db-manager has to be up."
            )
        return ""


def _exit_code(pod: Document) -> int:
    """The exit code of the trial's own program; 0 where it has not failed."""
    for container in pod["status"].get("containerStatuses", ()):
        if container["name"] == PRIMARY and (ended := container["state"].get("terminated")):
            return int(ended["exitCode"])
    return 0


def _has_failed(document: Document) -> bool:
    return met_condition(document, "Failed") is not None


def _check_namespace(session: Session) -> None:
    """Refuses a namespace without Katib's label, where one may look at it."""
    try:
        found = get(session, NAMESPACE, session.namespace)
    except Refused:
        return
    labels = (found or {}).get("metadata", {}).get("labels") or {}
    if found is not None and labels.get(INJECTION) != "enabled":
        raise _without_label(session)


def _without_label(session: Session) -> UserError:
    return UserError(
        f"Katib runs no Experiment in namespace {session.namespace}, which lacks its label: kubectl "
        f"label namespace {session.namespace} {INJECTION}=enabled"
    )


def _plainly(refused: Refused, session: Session, work: ExperimentWork, cluster: Cluster) -> UserError:
    """What the refusal of an Experiment means."""
    said = refused.said
    if refused.status == 404 and "could not find the requested resource" in said:
        return UserError(
            "Katib is not on this cluster, which knows no Experiment of kubeflow.org/v1beta1: install "
            "it, or let cluster.trials.launcher be inline."
        )
    if INJECTION in said:
        return _without_label(session)
    if "Suggestion config data" in said:
        return UserError(
            f"Katib does not know the algorithm {work.algorithm.name}: its ConfigMap katib-config has "
            "to register it under runtime.suggestions, as manifests/katib does."
        )
    if "EarlyStopping config data" in said:
        return UserError(
            "Katib does not know medianstop: its ConfigMap katib-config has to register it under "
            "runtime.earlyStoppings, or let cluster.trials.early_stopping be false."
        )
    return refused


def _age_s(condition: Document) -> float:
    began = datetime.fromisoformat(condition["lastTransitionTime"])
    return (datetime.now(UTC) - began).total_seconds()
