"""Turns an Experiment's file into plain data, by the rules of Katib's admission webhook."""

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from pocketkube.search.local_katib.algorithms import check_algorithm
from pocketkube.search.local_katib.document import Problem, Source, Steps, read_source
from pocketkube.search.local_katib.experiment import (
    Algorithm,
    Collector,
    Experiment,
    MedianStop,
    Objective,
    Strategy,
    Template,
)
from pocketkube.search.local_katib.parameter_reading import parameter_problems, parameters_of
from pocketkube.search.local_katib.template_checks import template_problems

if TYPE_CHECKING:
    from kubeflow_katib_api.models import V1beta1ExperimentSpec, V1beta1ObjectiveSpec

SPEC = ("spec",)
DEFAULT_PARALLEL = 3
DEFAULT_METRICS_FILE = "/var/log/katib/metrics.log"


def read_experiment(path: Path) -> Experiment:
    """Reads an experiment.

    Args:
        path: A YAML file.

    Raises:
        UserError: If it is wrong, Katib would refuse it, or it cannot be run here; names the file and,
            of each thing that is wrong, the line.
    """
    source = read_source(path)
    source.refuse(list(_problems(source)))
    spec = source.model.spec
    metadata = source.model.metadata
    assert spec is not None
    assert metadata is not None
    objective = spec.objective
    assert objective is not None
    experiment = Experiment(
        name=metadata.name or "",
        namespace=metadata.namespace or "default",
        folder=path.resolve().parent,
        parameters=parameters_of(spec.parameters or []),
        objective=_objective(objective),
        algorithm=_algorithm(spec),
        early_stopping=_early_stopping(spec),
        parallel=spec.parallel_trial_count or DEFAULT_PARALLEL,
        max_trials=spec.max_trial_count,
        max_failed=spec.max_failed_trial_count,
        collector=_collector(spec),
        template=_template(spec),
        resumes=spec.resume_policy in ("LongRunning", "FromVolume"),
    )
    source.refuse([Problem(steps, text) for steps, text in check_algorithm(experiment)])
    return experiment


def _objective(objective: "V1beta1ObjectiveSpec") -> Objective:
    maximize = objective.type == "maximize"
    given = {each.name: each.value for each in objective.metric_strategies or []}
    metric = objective.objective_metric_name or ""
    additional = tuple(objective.additional_metric_names or ())
    usual = "max" if maximize else "min"
    strategies = {name: cast(Strategy, given.get(name, usual)) for name in (metric, *additional)}
    goal = None if objective.goal is None else float(objective.goal)
    return Objective(maximize, goal, metric, additional, strategies)


def _algorithm(spec: "V1beta1ExperimentSpec") -> Algorithm:
    algorithm = spec.algorithm
    assert algorithm is not None
    settings = {each.name or "": each.value or "" for each in algorithm.algorithm_settings or []}
    return Algorithm(algorithm.algorithm_name or "", settings)


def _early_stopping(spec: "V1beta1ExperimentSpec") -> MedianStop | None:
    if spec.early_stopping is None:
        return None
    settings = {
        each.name: int(each.value or 0) for each in spec.early_stopping.algorithm_settings or []
    }
    usual = MedianStop()
    return MedianStop(
        settings.get("min_trials_required", usual.min_trials),
        settings.get("start_step", usual.start_step),
    )


def _collector(spec: "V1beta1ExperimentSpec") -> Collector:
    collecting = spec.metrics_collector_spec
    kind = collecting and collecting.collector and collecting.collector.kind
    source = collecting and collecting.source
    filters = tuple((source and source.filter and source.filter.metrics_format) or ())
    if kind != "File":
        return Collector("StdOut", "", is_json=False, filters=filters)
    place = source and source.file_system_path
    path = (place and place.path) or DEFAULT_METRICS_FILE
    return Collector("File", path, bool(place and place.format == "JSON"), filters)


def _template(spec: "V1beta1ExperimentSpec") -> Template:
    template = spec.trial_template
    assert template is not None
    parameters = {each.name or "": each.reference or "" for each in template.trial_parameters or []}
    return Template(
        template.trial_spec or {},
        parameters,
        template.primary_container_name or "",
        template.primary_pod_labels or {},
    )


def _problems(source: Source) -> Iterator[Problem]:
    metadata, spec = source.model.metadata, source.model.spec
    name = (metadata and metadata.name) or ""
    if not re.fullmatch("[a-z]([-a-z0-9]*[a-z0-9])?", name) or len(name) > 40:
        yield Problem(
            ("metadata", "name"),
            "must be at most 40 small letters, digits or -, beginning with a letter; received "
            f"{name!r:.60}",
        )
    if spec is None:
        yield Problem(SPEC, "is missing")
        return
    yield from _count_problems(spec)
    yield from _objective_problems(spec)
    if spec.algorithm is None or not spec.algorithm.algorithm_name:
        yield Problem((*SPEC, "algorithm", "algorithmName"), "is missing")
    else:
        place = (*SPEC, "algorithm", "algorithmSettings")
        yield from _twice(place, "setting", _names(spec.algorithm.algorithm_settings))
    yield from _early_stopping_problems(spec)
    if spec.resume_policy not in (None, "", "Never", "LongRunning", "FromVolume"):
        yield Problem(
            (*SPEC, "resumePolicy"),
            f"must be Never, LongRunning or FromVolume; received {spec.resume_policy}",
        )
    if spec.nas_config is not None:
        yield Problem((*SPEC, "nasConfig"), "searches for architectures are not run on one machine")
    elif not spec.parameters:
        yield Problem((*SPEC, "parameters"), "is missing")
    yield from _twice((*SPEC, "parameters"), "parameter", _names(spec.parameters))
    for index, parameter in enumerate(spec.parameters or []):
        yield from parameter_problems(parameter, (*SPEC, "parameters", index))
    yield from template_problems(spec)
    yield from _collector_problems(spec)


def _count_problems(spec: "V1beta1ExperimentSpec") -> Iterator[Problem]:
    most = spec.max_trial_count
    counts = {
        "maxTrialCount": (most, 1),
        "parallelTrialCount": (spec.parallel_trial_count, 1),
        "maxFailedTrialCount": (spec.max_failed_trial_count, 0),
    }
    for key, (count, least) in counts.items():
        if count is not None and count < least:
            yield Problem((*SPEC, key), f"must be at least {least}; received {count}")
        elif count is not None and most is not None and count > most:
            yield Problem((*SPEC, key), f"must be at most maxTrialCount, {most}; received {count}")
    if most is not None and spec.parallel_trial_count is None and most < DEFAULT_PARALLEL:
        yield Problem(
            (*SPEC, "maxTrialCount"),
            f"must be at least parallelTrialCount, which is {DEFAULT_PARALLEL} where it is not given; "
            f"received {most}",
        )


def _objective_problems(spec: "V1beta1ExperimentSpec") -> Iterator[Problem]:
    place = (*SPEC, "objective")
    objective = spec.objective
    if objective is None:
        yield Problem(place, "is missing")
        return
    if objective.type not in ("minimize", "maximize"):
        yield Problem((*place, "type"), f"must be minimize or maximize; received {objective.type}")
    if objective.goal is not None and not math.isfinite(objective.goal):
        yield Problem((*place, "goal"), f"must be a finite number; received {objective.goal}")
    if not objective.objective_metric_name:
        yield Problem((*place, "objectiveMetricName"), "is missing")
    if objective.objective_metric_name in (objective.additional_metric_names or ()):
        yield Problem(
            (*place, "additionalMetricNames"),
            f"must not hold objectiveMetricName, {objective.objective_metric_name}",
        )
    for index, strategy in enumerate(objective.metric_strategies or []):
        if strategy.value not in ("min", "max", "latest"):
            yield Problem(
                (*place, "metricStrategies", index, "value"),
                f"must be min, max or latest; received {strategy.value}",
            )


def _early_stopping_problems(spec: "V1beta1ExperimentSpec") -> Iterator[Problem]:
    stopping, place = spec.early_stopping, (*SPEC, "earlyStopping")
    if stopping is None:
        return
    if stopping.algorithm_name != "medianstop":
        yield Problem(
            (*place, "algorithmName"), f"must be medianstop; received {stopping.algorithm_name}"
        )
    known = ("min_trials_required", "start_step")
    for index, each in enumerate(stopping.algorithm_settings or []):
        here = (*place, "algorithmSettings", index)
        if each.name not in known:
            yield Problem(
                here, f"medianstop has the settings {' and '.join(known)}; received {each.name}"
            )
        elif not re.fullmatch("[0-9]+", each.value or "") or int(each.value or 0) < 1:
            yield Problem(
                here, f"{each.name} must be a whole number, at least 1; received {each.value}"
            )


def _collector_problems(spec: "V1beta1ExperimentSpec") -> Iterator[Problem]:
    collecting, place = spec.metrics_collector_spec, (*SPEC, "metricsCollectorSpec")
    if collecting is None:
        return
    kind = collecting.collector.kind if collecting.collector else "StdOut"
    if kind not in ("StdOut", "File"):
        yield Problem(
            (*place, "collector", "kind"),
            f"metrics are collected from StdOut and File on one machine; received {kind}"
            + (", whose trials send them to Katib's database" if kind in ("Push", "None") else ""),
        )
        return
    source = collecting.source
    filters = (source and source.filter and source.filter.metrics_format) or []
    for index, each in enumerate(filters):
        if text := _filter_problem(each):
            yield Problem((*place, "source", "filter", "metricsFormat", index), text)
    if kind == "StdOut":
        return
    file = source and source.file_system_path
    here = (*place, "source", "fileSystemPath")
    if file is None:
        return
    if file.kind not in (None, "", "File"):
        yield Problem((*here, "kind"), f"must be File; received {file.kind}")
    if file.path and not file.path.startswith("/"):
        yield Problem((*here, "path"), f"must be absolute; received {file.path}")
    if file.format not in (None, "", "TEXT", "JSON"):
        yield Problem((*here, "format"), f"must be TEXT or JSON; received {file.format}")
    if file.format == "JSON" and source and source.filter:
        yield Problem((*place, "source", "filter"), "a file of JSON has no filter; leave it out")


def _filter_problem(text: str) -> str:
    if "[[:" in text:
        return f"POSIX classes are not read here; write [a-z] for [[:lower:]]: {text}"
    try:
        groups = re.compile(text).groups
    except re.error as error:
        return f"is no regular expression ({error}): {text}"
    return "" if groups >= 2 else f"needs two groups, the metric's name and its value: {text}"


def _names(items: Sequence[Any] | None) -> list[str]:
    return [each.name or "" for each in items or []]


def _twice(place: Steps, what: str, names: Sequence[str]) -> Iterator[Problem]:
    counts: Mapping[str, int] = Counter(names)
    for index, name in enumerate(names):
        if not name:
            yield Problem((*place, index), f"a {what} needs a name")
        elif counts[name] > 1 and names.index(name) != index:
            yield Problem((*place, index), f"the {what} {name} is given twice")
