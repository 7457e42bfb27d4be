"""The stage that trains a small network of another architecture, the uncompressed one its teacher."""

import time
from collections.abc import Mapping
from pathlib import Path

from pocketkube.bundle import NOW, Bundle, load_scores, save_bundle
from pocketkube.data import load_dataset
from pocketkube.facts import load_facts
from pocketkube.stages.comparison import remedies, warning
from pocketkube.stages.configs import DistillModelConfig
from pocketkube.stages.facts import after_stage, judge
from pocketkube.stages.networks import network
from pocketkube.stages.tasks import settled_task
from pocketkube.stages.teaching import lesson_of, load_teachers, uncompressed
from pocketkube.training.loop import train
from pocketkube.training.workers import workers


def distill_model(
    config: DistillModelConfig, inputs: Mapping[str, Path], output: Path, scratch: Path
) -> None:
    """Trains the student and writes its bundle, which later stages go on with."""
    began = time.monotonic()
    settings = config.settings
    dataset = load_dataset(config.dataset)
    model = network("student", settings.student, settings.width, dataset, config.seed + 1)
    task = settled_task(config, model, dataset)
    lesson = lesson_of(config, model, task, load_teachers(config, uncompressed(inputs), dataset))
    course = config.training.model_copy(
        update={
            "epochs": settings.epochs or config.training.epochs,
            "learning_rate": settings.learning_rate or config.training.learning_rate,
        }
    )
    history = train(
        model,
        dataset,
        task,
        course,
        seed=config.seed + 1,
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
