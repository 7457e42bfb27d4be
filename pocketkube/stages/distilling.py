"""The stage that trains a small network of another architecture, the uncompressed one its teacher."""

import time
from collections.abc import Mapping
from pathlib import Path

from pocketkube.bundle import NOW, Bundle, load_scores, save_bundle
from pocketkube.data import load_dataset
from pocketkube.facts import load_facts
from pocketkube.spec.sections import DistillModel
from pocketkube.spec.spec import Spec
from pocketkube.stages.comparison import remedies, warning
from pocketkube.stages.facts import after_stage, judge
from pocketkube.stages.networks import network
from pocketkube.stages.tasks import settled_task
from pocketkube.stages.teaching import lesson_of, load_teachers
from pocketkube.training.loop import train
from pocketkube.training.workers import workers


def distill_model(
    spec: Spec, position: int, inputs: Mapping[str, Path], output: Path, scratch: Path
) -> None:
    """Trains the student and writes its bundle, which later stages go on with."""
    began = time.monotonic()
    settings = spec.stages[position]
    assert isinstance(settings, DistillModel)
    dataset = load_dataset(spec.dataset)
    model = network("student", settings.student, settings.width, dataset, spec.seed + 1)
    task = settled_task(spec, model, dataset)
    lesson = lesson_of(spec, model, task, load_teachers(spec, inputs["teacher"], dataset))
    course = spec.training.model_copy(
        update={
            "epochs": settings.epochs or spec.training.epochs,
            "learning_rate": settings.learning_rate or spec.training.learning_rate,
        }
    )
    history = train(
        model,
        dataset,
        task,
        course,
        seed=spec.seed + 1,
        stage=settings.name,
        lesson=lesson,
        checkpoints=scratch,
    )
    begun = load_facts(inputs["model"]) | {"model": settings.student, "task": task.told}
    judged = judge(model, dataset, task)
    scores = judged.validation.each
    facts = after_stage(
        begun,
        settings.name,
        judged,
        began,
        history=history,
        notes=lesson.notes,
        warnings=warning(
            load_scores(inputs["model"]).get(NOW),
            scores,
            task.measure.wording,
            remedies(settings, course),
            "by the uncompressed network",
        ),
    )
    if workers().rank == 0:
        save_bundle(output, Bundle(model, facts, scores={NOW: scores}))
