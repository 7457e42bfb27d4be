"""The steps that a spec asks for, and what flows between them: the same here and on a cluster."""

from collections.abc import Mapping
from dataclasses import dataclass

from pocketkube.errors import UserError
from pocketkube.spec.model_files import is_model_file
from pocketkube.spec.sections import FineTune, Quantize, QuantizeWeights
from pocketkube.spec.spec import Spec
from pocketkube.spec.stage_settings import StageSettings
from pocketkube.stages.call import StageCall
from pocketkube.stages.configs import StageConfig
from pocketkube.stages.registry import RATIOS, SEARCHED, TEACHER, stage_named

CHECKED, TRAINED, SEARCH, BASELINE, RESULT, MEASURED, REPORTED = (
    "check_export",
    "train_model",
    "search",
    "baseline",
    "result",
    "benchmark",
    "report",
)


@dataclass(frozen=True)
class Step:
    """One stage of a job.

    Attributes:
        key: Its own name in the job.
        stage: Which stage it is.
        config: The stage's config.
        inputs: For each of the stage's inputs, the key of the step that gives it; none gives two.
        title: What a run prints when it begins.
        after: Keys of steps that run before, without giving an input.
    """

    key: str
    stage: str
    config: StageConfig
    inputs: Mapping[str, str]
    title: str
    after: tuple[str, ...] = ()

    def call(self, outputs: Mapping[str, str], output: str) -> StageCall:
        """The step as a call.

        Args:
            outputs: Places of other steps' outputs, by their keys.
            output: Place of its own.
        """
        inputs = {name: outputs[key] for name, key in self.inputs.items()}
        return StageCall(self.stage, self.config, inputs, output)


def plan(spec: Spec) -> tuple[Step, ...]:
    """The steps of a spec's job, each after those it needs."""

    def step(
        key: str,
        stage: str,
        inputs: Mapping[str, str],
        title: str = "",
        settings: StageSettings | None = None,
        after: tuple[str, ...] = (),
    ) -> Step:
        config = stage_named(stage).config.of(spec, settings)
        return Step(key, stage, config, inputs, title or stage, after)

    steps = [
        step(CHECKED, "check_export", {}),
        step(TRAINED, "train_model", {}, first_stage(spec.model), after=(CHECKED,)),
    ]
    over = spec.search.over if spec.search else ()
    model, quantize = TRAINED, None
    for number, settings in enumerate(spec.stages, start=1):
        if isinstance(settings, Quantize | QuantizeWeights):
            quantize = settings
        if isinstance(settings, Quantize):
            continue
        stage = "fine_tune_model" if isinstance(settings, FineTune) else settings.name
        key = f"{number}_{settings.name}"
        # A back end of Kubeflow Pipelines refuses one output as two inputs of a task.
        teacher = {TEACHER: TRAINED} if model != TRAINED else {}
        decided = {RATIOS: SEARCH} if settings.name in over else {}
        if decided and not any(each.key == SEARCH for each in steps):
            steps.append(step(SEARCH, "search_ratios", {"model": model} | teacher))
        taught = teacher if TEACHER in stage_named(stage).optional else {}
        steps.append(step(key, stage, {"model": model} | taught | decided, settings=settings))
        model = key
    return (
        *steps,
        step(BASELINE, "export_litert", {"model": TRAINED}, "export_litert (baseline)"),
        step(RESULT, "export_litert", {"model": model}, "export_litert (result)", quantize),
        step(MEASURED, "benchmark_litert", {"baseline": BASELINE, "result": RESULT}),
        step(
            REPORTED,
            "build_report",
            {"uncompressed": TRAINED, "baseline": BASELINE, "result": RESULT, "measured": MEASURED}
            | ({SEARCHED: SEARCH} if spec.search else {}),
        ),
    )


def steps_to(spec: Spec, key: str) -> tuple[Step, ...]:
    """The steps that a step of a spec's job needs, and itself.

    Args:
        spec: The job.
        key: The step's.
    """
    steps = {step.key: step for step in plan(spec)}
    needed, waiting = {key}, [key]
    while waiting:
        step = steps[waiting.pop()]
        before = {*step.inputs.values(), *step.after} - needed
        needed |= before
        waiting += before
    return tuple(step for step in steps.values() if step.key in needed)


def step_named(spec: Spec, name: str) -> Step:
    """The step of a spec's job that a person names.

    Args:
        spec: The job.
        name: A step's key, or the stage of one step alone.

    Raises:
        UserError: If no step is called so, or several are.
    """
    steps = plan(spec)
    found = [step for step in steps if step.key == name] or [s for s in steps if s.stage == name]
    if not found:
        raise UserError(
            f"The spec's job has no step {name}; use one of {', '.join(step.key for step in steps)}."
        )
    if len(found) > 1:
        raise UserError(
            f"The spec's job has several steps {name}; use one of "
            f"{', '.join(step.key for step in found)}."
        )
    return found[0]


def first_stage(model: str) -> str:
    """What the first stage is called: it trains a built-in network, or loads a file.

    Args:
        model: The spec's model.
    """
    return "load_model" if is_model_file(model) else "train_model"
