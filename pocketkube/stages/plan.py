"""The steps that a spec asks for, and what flows between them: the same here and on a cluster."""

from collections.abc import Mapping
from dataclasses import dataclass

from pocketkube.spec.sections import FineTune, Quantize, QuantizeWeights
from pocketkube.spec.spec import Spec

CHECKED, TRAINED, BASELINE, RESULT, MEASURED, REPORTED = (
    "check_export",
    "train_model",
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
        position: Place of its settings in the spec's stages, or -1.
        inputs: For each of the stage's inputs, the key of the step that gives it.
        title: What people are told that it does.
        after: Keys of steps that come first, though nothing is taken from them.
    """

    key: str
    stage: str
    position: int
    inputs: Mapping[str, str]
    title: str
    after: tuple[str, ...] = ()


def plan(spec: Spec) -> tuple[Step, ...]:
    """The steps of a spec's job, each after those it needs."""
    steps = [
        Step(CHECKED, "check_export", -1, {}, "check_export"),
        Step(TRAINED, "train_model", -1, {}, first_stage(spec), after=(CHECKED,)),
    ]
    model, quantize = TRAINED, -1
    for position, settings in enumerate(spec.stages):
        if isinstance(settings, Quantize):
            quantize = position
            continue
        if isinstance(settings, QuantizeWeights):
            quantize = position
        stage = "fine_tune_model" if isinstance(settings, FineTune) else settings.name
        key = f"{position + 1}_{settings.name}"
        steps.append(Step(key, stage, position, {"model": model, "teacher": TRAINED}, stage))
        model = key
    return (
        *steps,
        Step(BASELINE, "export_litert", -1, {"model": TRAINED}, "export_litert (baseline)"),
        Step(RESULT, "export_litert", quantize, {"model": model}, "export_litert (result)"),
        Step(
            MEASURED,
            "benchmark_litert",
            -1,
            {"baseline": BASELINE, "result": RESULT},
            "benchmark_litert",
        ),
        Step(
            REPORTED,
            "build_report",
            -1,
            {
                "teacher": TRAINED,
                "model": model,
                "baseline": BASELINE,
                "result": RESULT,
                "benchmark": MEASURED,
            },
            "build_report",
        ),
    )


def first_stage(spec: Spec) -> str:
    """What the first stage is called: it trains a built-in network, or loads a file."""
    return "load_model" if spec.model.endswith(".keras") else "train_model"
