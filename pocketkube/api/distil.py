"""Trains a small network with a larger one as its teacher."""

from typing import Unpack

import keras

from pocketkube.api.data import Data, dataset_of, labelled_by
from pocketkube.api.keywords import CourseKeywords, settings_of, settings_shown, split
from pocketkube.api.learning import Teachers, copied, several, teachers_of
from pocketkube.api.network import AppliedStage, ModelLike, Network, network_of
from pocketkube.api.value_range import refuse_unknown_range
from pocketkube.errors import UserError
from pocketkube.spec.sections import DistillModel
from pocketkube.stages.configs import Learning
from pocketkube.stages.distilling import student_course
from pocketkube.stages.networks import network_with_notes
from pocketkube.stages.tasks import settled_task
from pocketkube.stages.teaching import distillation_term
from pocketkube.training.loop import train


@settings_shown
def distil(
    student: ModelLike | str,
    data: Data,
    *,
    teacher: Teachers,
    width: float = 1.0,
    **settings: Unpack[CourseKeywords],
) -> Network:
    """Trains a small network of any architecture with a trained one as its teacher.

    Args:
        student: A Keras model, which is left as it is; or the name of a built-in network, as "lenet".
        data: As for `fine_tune`.
        teacher: The trained model, or several.
        width: Width multiplier of a built-in student.
        settings: Those of a spec's distill_model: epochs (training's if unset, 8 if that says
            nothing), learning_rate; and training, distillation, task and seed as a spec has them.

    Returns:
        The trained student. Its costs are compared with those of the first teacher.

    Raises:
        UserError: As for `fine_tune`.

    Example:
        >>> import numpy as np, pocketkube as pk
        >>> from pocketkube.models import build_model
        >>> model = build_model("lenet", (28, 28, 1), 2)
        >>> x, y = np.random.default_rng(0).random((64, 28, 28, 1)), np.arange(64) % 2
        >>> small = pk.distil("lenet", (x, y), teacher=model, width=0.25, epochs=1)
        >>> small.speedup > 4
        True
    """
    own, others = split(settings, DistillModel, Learning)
    name = student if isinstance(student, str) else "student"
    parsed = settings_of("distil", DistillModel, {**own, "student": name, "width": width})
    if width != 1 and not isinstance(student, str):
        raise UserError(
            f'distil: width={width!r} goes with the name of a built-in network, as "lenet": a model as '
            "student is trained as it is; leave width out, or give a smaller model."
        )
    learning = settings_of("distil", Learning, others)
    known = None if isinstance(student, str) else network_of("distil", student)
    networks = several(teacher, "distil", known and known.model)
    if not networks or not learning.distillation.teaches:
        raise UserError(
            "distil: needs a teacher, whose terms of distillation count; give teacher=model."
        )
    model: keras.Model
    teaching = networks[0]
    first = teaching.model
    if known is None:
        dataset = labelled_by(first, dataset_of(data, first, "distil"), learning, "distil")
        model = network_with_notes("student", name, width, dataset, learning.seed + 1).model
    else:
        model = copied(known)
        dataset = labelled_by(first, dataset_of(data, model, "distil"), learning, "distil")
    refuse_unknown_range("distil", teaching, dataset, learning)
    task = settled_task(learning, model, dataset)
    teachers = teachers_of("distil", networks, learning, task, dataset)
    term = distillation_term(learning, model, task, teachers, dataset)
    history = train(
        model,
        dataset,
        task,
        student_course(learning.training, parsed),
        seed=learning.seed + 1,
        stage="distil",
        distillation=term,
    )
    step = AppliedStage(parsed, tuple(term.notes), history)
    return Network(model, teachers[0].model, (step,), task=task)
