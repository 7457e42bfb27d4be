"""A Katib Experiment (kubeflow.org/v1beta1) whose trials each evaluate one assignment of a search."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pocketkube.errors import UserError
from pocketkube.kube.katib.trial_jobs import METRICS, PRIMARY, TrialWork, condition, trial_job
from pocketkube.kube.pod_parts import STAGE_LABEL, Owner, object_metadata
from pocketkube.search.space import Parameter, Space
from pocketkube.spec.sections import Cluster

API_VERSION = "kubeflow.org/v1beta1"
# The label, "enabled", of namespaces that Katib runs Experiments in.
INJECTION = "katib.kubeflow.org/metrics-collector-injection"
STAGE = "search_ratios"
OBJECTIVE = "score"
# How a trial reports the value that a parameter really had under the budget.
APPLIED = "applied."
OUR_ALGORITHMS = "pocketkube-"
GRID = "grid"
# Katib's service lists all of a grid twice; 100,000 points take all of the 100 MiB that it has if it is
# not given more.
MOST_POINTS = 20_000
# It draws doubles by their logarithm, and ends at one that may be 0.
BY_LOGARITHM = "bayesianoptimization"
# Of Katib itself.
LONGEST_NAME = 40
# Of the scores that a trial tells between steps the second is held against the mean of the
# first two of so many that came to their end: one that learns late has not lost by its first.
MEDIANSTOP = {"min_trials_required": 3, "start_step": 2}
# As a trial writes its metrics; Katib's own filter knows no dot and no slash in a name.
METRICS_FORMAT = r"([^\s=]+)=([+-]?[0-9]+\.?[0-9]*([eE][+-]?[0-9]+)?)"
# Its labels come to stand on the pods of the suggestion service, too: network policies that select ours
# by part-of must not find those.
_LABELS = {"app.kubernetes.io/managed-by": "pocketkube", STAGE_LABEL: STAGE}
# Katib joins a trial's words by spaces and gives them to a shell.
_PLAIN = re.compile(r"[A-Za-z0-9_./:=@%+,-]+")


@dataclass(frozen=True)
class Algorithm:
    """What proposes the trials.

    Attributes:
        name: As KatibConfig registers it: pocketkube-ddpg, or random, tpe, grid, … of Katib itself.
        settings: What it is told; ours have `problem`, the search compressed.
    """

    name: str
    settings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ExperimentWork:
    """What an Experiment is to find out.

    Attributes:
        name: The Experiment's; a DNS label of at most `LONGEST_NAME` characters.
        space: What may be chosen.
        algorithm: What proposes the trials.
        prepared: The s3:// address of the bundle that every trial opens.
        costs: What a trial reports beside its score and the assignment: macs, bytes, …
        trials: How many end before the Experiment does.
        parallel: How many run at a time, at most.
        image: Of the trials' pods.
        environment: Variables of the trials, beside what Secrets hold.
        imports: Modules that a trial imports, each as `--import` takes it.
        goal: The score that ends it before; None for none.
        owner: With what the Experiment goes; None where it stays until it is deleted.
    """

    name: str
    space: Space
    algorithm: Algorithm
    prepared: str
    costs: Sequence[str]
    trials: int
    parallel: int
    image: str
    environment: Mapping[str, str] = field(default_factory=dict)
    imports: Sequence[str] = ()
    goal: float | None = None
    owner: Owner | None = None


def experiment(work: ExperimentWork, cluster: Cluster) -> dict[str, Any]:
    """Builds the Experiment.

    A parameter goes from its least level to its greatest, by steps where levels are evenly spaced: a
    trial takes the nearest level, and what the budget leaves of it. For a grid it is the list of its
    levels. Trials are Jobs, or MPIJobs where several processes share one's fine-tuning; their pods and
    logs stay when they have ended.

    Args:
        work: What is to be found out.
        cluster: The pods, and when it is given up.

    Raises:
        UserError: If a name cannot be one of Katib's, a grid has more points than Katib can list or
            fewer than there are to be trials, or Katib's models are not installed.
    """
    models = _models()
    asked = cluster.trials
    _check(work)
    spec = models.V1beta1ExperimentSpec(
        parameters=[_parameter(models, each, work.algorithm.name) for each in work.space.parameters],
        objective=models.V1beta1ObjectiveSpec(
            type="maximize",
            goal=work.goal,
            objectiveMetricName=OBJECTIVE,
            additionalMetricNames=_additional(work),
            # A trial that fine-tunes scores between steps, too; the last one is of what it leaves.
            metricStrategies=[
                models.V1beta1MetricStrategy(name=name, value="latest")
                for name in (OBJECTIVE, *_additional(work))
            ],
        ),
        algorithm=models.V1beta1AlgorithmSpec(
            algorithmName=work.algorithm.name,
            algorithmSettings=[
                models.V1beta1AlgorithmSetting(name=name, value=value)
                for name, value in work.algorithm.settings.items()
            ],
        ),
        earlyStopping=_early_stopping(models) if asked.early_stopping else None,
        parallelTrialCount=min(work.parallel, work.trials),
        maxTrialCount=work.trials,
        maxFailedTrialCount=min(asked.max_failed, work.trials),
        resumePolicy=asked.resume,
        metricsCollectorSpec=models.V1beta1MetricsCollectorSpec(
            collector=models.V1beta1CollectorSpec(kind="File"),
            source=models.V1beta1SourceSpec(
                fileSystemPath=models.V1beta1FileSystemPath(kind="File", path=METRICS, format="TEXT"),
                filter=models.V1beta1FilterSpec(metricsFormat=[METRICS_FORMAT]),
            ),
        ),
        trialTemplate=_template(models, work, cluster),
    )
    document: dict[str, Any] = models.V1beta1Experiment(
        apiVersion=API_VERSION, kind="Experiment", spec=spec
    ).to_dict()
    return {**document, "metadata": object_metadata(work.name, _LABELS, work.owner)}


def _early_stopping(models: Any) -> Any:
    return models.V1beta1EarlyStoppingSpec(
        algorithmName="medianstop",
        algorithmSettings=[
            models.V1beta1EarlyStoppingSetting(name=name, value=str(value))
            for name, value in MEDIANSTOP.items()
        ],
    )


def _additional(work: ExperimentWork) -> list[str]:
    return [*work.costs, *(f"{APPLIED}{name}" for name in work.space.names)]


def _template(models: Any, work: ExperimentWork, cluster: Cluster) -> Any:
    # Names of trial parameters, unlike those of parameters, are taken apart at dots.
    handles = {name: f"p{number}" for number, name in enumerate(work.space.names)}
    given = [f"{name}=${{trialParameters.{handle}}}" for name, handle in handles.items()]
    is_ours = work.algorithm.name.startswith(OUR_ALGORITHMS)
    job = trial_job(
        TrialWork(
            STAGE, work.prepared, given, is_ours, work.image, work.environment, tuple(work.imports)
        ),
        cluster,
    )
    succeeded, failed = condition(job)
    return models.V1beta1TrialTemplate(
        primaryContainerName=PRIMARY,
        primaryPodLabels=job.primary_labels or None,
        successCondition=succeeded,
        failureCondition=failed,
        retain=True,
        trialParameters=[
            models.V1beta1TrialParameterSpec(name=handle, reference=name, description=name)
            for name, handle in handles.items()
        ],
        trialSpec=job.document,
    )


def _parameter(models: Any, parameter: Parameter, algorithm: str) -> Any:
    least, step = min(parameter.levels), step_of(parameter.levels)
    is_whole = parameter.decides == "bits"
    if algorithm == BY_LOGARITHM and least == 0 and len(parameter.levels) > 1:
        # Nearest to the level 0 all the same.
        least, step = sorted(parameter.levels)[1] / 4, None
    written = (lambda value: f"{value:.0f}") if is_whole else (lambda value: f"{value:.10g}")
    if algorithm == GRID:
        # Of a double, it wants to be told a step, which levels need not have.
        texts = [written(level) for level in sorted(parameter.levels)]
        return models.V1beta1ParameterSpec(
            name=parameter.name,
            parameterType="discrete",
            feasibleSpace=models.V1beta1FeasibleSpace(list=texts),
        )
    return models.V1beta1ParameterSpec(
        name=parameter.name,
        parameterType="int" if is_whole else "double",
        feasibleSpace=models.V1beta1FeasibleSpace(
            min=written(least),
            max=written(max(parameter.levels)),
            step=written(step) if step else None,
        ),
    )


def step_of(levels: Iterable[float]) -> float | None:
    """What lies between levels; None where they are not evenly spaced, or there is only one."""
    gaps = np.diff(np.sort(np.array(list(levels), float)))
    if not len(gaps) or not np.allclose(gaps, gaps[0], rtol=1e-6, atol=0):
        return None
    return float(gaps[0])


def _check(work: ExperimentWork) -> None:
    if not re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", work.name) or len(work.name) > LONGEST_NAME:
        raise UserError(
            f"An Experiment's name has at most {LONGEST_NAME} small letters, digits and hyphens, and "
            f"begins with a letter; received {work.name!r}."
        )
    if work.algorithm.name == GRID:
        _check_grid(work)
    for what, words in (("parameter", work.space.names), ("place", (work.prepared,))):
        for word in words:
            if not _PLAIN.fullmatch(word):
                raise UserError(
                    f"Katib hands a trial's command to a shell, which would take the {what} {word!r} "
                    "apart: letters, digits and _./:=@%+,- pass. Rename the layer, or search with "
                    "cluster.trials.launcher: inline."
                    if what == "parameter"
                    else f"Katib hands a trial's command to a shell, which would take {word!r} apart: "
                    "let cluster.object_store.work hold only letters, digits and _./:=@%+,-."
                )


def _check_grid(work: ExperimentWork) -> None:
    points = math.prod(len(each.levels) for each in work.space.parameters)
    if points > MOST_POINTS:
        raise UserError(
            f"Katib's grid lists all combinations of levels, {points:.3g} here, and its service has "
            f"memory for {MOST_POINTS}: tie layers together (search.tie: stage), or use another "
            "sampler."
        )
    if points < work.trials:
        raise UserError(
            f"search.trials: the grid has {points} combinations of levels; received {work.trials}."
        )


def _models() -> Any:
    # Here, because the models take most of a second.
    try:
        from kubeflow_katib_api import models
    except ImportError:
        raise UserError(
            "an Experiment is built with the package kubeflow-katib-api, which is missing: pip install "
            "'.[cluster]' in PocketKube's checkout."
        ) from None
    return models
