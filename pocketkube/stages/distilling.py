"""The stage that trains a small network of another architecture, the uncompressed one its teacher."""

import time
from collections.abc import Mapping
from pathlib import Path

from pocketkube.bundle import NOW, Bundle, load_bundle, load_scores, save_bundle
from pocketkube.data import load_dataset
from pocketkube.facts import load_facts, merged
from pocketkube.spec.sections import DistillModel, Training
from pocketkube.stages.assessment import assess, first_facts, stage_facts, task_of
from pocketkube.stages.comparison import remedies, warning
from pocketkube.stages.configs import DistillModelConfig
from pocketkube.stages.examples import labelled
from pocketkube.stages.networks import network_with_notes
from pocketkube.stages.sizes import at_size_of
from pocketkube.stages.tasks import settled_task
from pocketkube.stages.teaching import distillation_term, load_teachers, teacher_parents, uncompressed
from pocketkube.training.loop import train


def distill_model(
    config: DistillModelConfig, inputs: Mapping[str, Path], output: Path, scratch: Path
) -> None:
    """Trains the student and writes its bundle, which later stages go on with."""
    began = time.monotonic()
    settings = config.settings
    bundle = load_bundle(uncompressed(inputs))
    first = bundle.facts
    dataset = labelled(load_dataset(config.dataset), task_of(first), bundle)
    came = network_with_notes(
        "student", settings.student, settings.width, dataset, config.seed + 1, like=bundle.model
    )
    sized = at_size_of(dataset, came.model)
    model = sized.model
    task = settled_task(config, model, dataset)
    teachers = load_teachers(config, bundle, dataset)
    term = distillation_term(config, model, task, teachers, dataset)
    course = student_course(config.training, settings)
    history = train(
        model,
        dataset,
        task,
        course,
        seed=config.seed + 1,
        stage=settings.name,
        distillation=term,
        checkpoints=scratch,
    )
    found = assess(model, dataset, task)
    scores = found.validation.each
    stage = stage_facts(
        settings.name,
        teacher_parents(config, first),
        task,
        found,
        began,
        history=history,
        notes=(*came.notes, *sized.notes, *term.notes),
        warnings=warning(
            load_scores(inputs["model"]).get(NOW),
            scores,
            task.measure.wording,
            remedies(settings, course),
            "by the uncompressed network",
        ),
    )
    before = merged(first.stages, load_facts(inputs["model"]).stages)
    facts = first_facts(
        settings.student,
        dataset.name,
        task,
        config.seed,
        stage,
        found,
        before,
        sizes=sized.sizes,
        skipped=dataset.skipped,
    )
    save_bundle(output, Bundle(model, facts, scores={NOW: scores}))


def student_course(training: Training, settings: DistillModel) -> Training:
    """How a student is trained: as a network is, where its settings say nothing else."""
    return training.model_copy(
        update={
            "epochs": settings.epochs or training.epochs,
            "learning_rate": settings.learning_rate or training.learning_rate,
        }
    )
