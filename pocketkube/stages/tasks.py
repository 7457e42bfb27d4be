"""Settles what a job's model is to learn, before anything is trained."""

import keras

from pocketkube.data.batches import materialize
from pocketkube.data.dataset import Dataset
from pocketkube.errors import UserError
from pocketkube.measures import Points
from pocketkube.spec.schema import Spec
from pocketkube.training.task import Task, infer_task, landmark_task


def settled_task(spec: Spec, model: keras.Model, dataset: Dataset) -> Task:
    """The task that a spec names, or else that of the model and its labels.

    Args:
        spec: The job.
        model: The uncompressed model.
        dataset: Its examples; all labels are looked at where the spec names a task.

    Raises:
        UserError: If model, labels and task do not fit each other.
    """
    if spec.task is None:
        return infer_task(model, dataset.num_classes)
    if dataset.num_classes is not None:
        raise UserError(
            f"task: landmarks are floats, [N, K, 2] or [N, 2K], but the labels of {dataset.name} are "
            "class numbers."
        )
    points = Points(spec.task.landmarks.normalize_by)
    task = landmark_task(model, points)
    shapes = [tuple(output.shape) for output in model.outputs]
    for split, examples in (
        ("training", dataset.train),
        ("validation", dataset.validation),
        ("test", dataset.test),
    ):
        _, labels = materialize(examples, None, 0)
        points.refuse_unfit(labels, shapes, f"{dataset.name} ({split})", model.name)
    return task
