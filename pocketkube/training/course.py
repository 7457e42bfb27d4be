"""What stays the same while a model is trained, however many processes share the work."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from pocketkube.data.dataset import Dataset
from pocketkube.spec.sections import Training
from pocketkube.training.distillation_term import DistillationTerm
from pocketkube.training.method import Method
from pocketkube.training.task import Task

# Of what a checkpoint holds beside a course's variables; one of another form is not gone on from.
_FORM = 2


@dataclass(frozen=True)
class Course:
    """A course of training.

    Attributes:
        model: The model that is trained.
        dataset: Its training and validation examples.
        task: The loss and the score.
        settings: Epochs, batch size, learning rate and so on.
        seed: Of the order of examples, of augmentation and of dropout.
        optimizer: Built for `trained`.
        method: The compression method that takes part.
        distillation: What teachers add to the loss.
        checkpoints: Folder of checkpoints, or None.
        identity: Two courses with one identity end with the same weights: it covers the settings that
            count, the data set's name and size, and the weights of model, method and teachers at the
            start.
    """

    model: keras.Model
    dataset: Dataset
    task: Task
    settings: Training
    seed: int
    optimizer: Any
    method: Method
    distillation: DistillationTerm
    checkpoints: Path | None
    identity: str

    @property
    def batch_size(self) -> int:
        """Examples of a batch over all workers."""
        return min(self.settings.batch_size, self.dataset.train.size)

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches of an epoch; the examples left over differ from epoch to epoch."""
        return self.dataset.train.size // self.batch_size

    @property
    def steps(self) -> int:
        """Steps of all epochs."""
        return self.steps_per_epoch * self.settings.epochs

    @property
    def checkpoint(self) -> Path | None:
        """The file of this course alone, so that any number of courses can share a folder."""
        return self.checkpoints / f"checkpoint-{self.identity[:16]}.npz" if self.checkpoints else None

    @property
    def trained(self) -> list[Any]:
        """The variables that the optimizer changes."""
        return [*self.model.trainable_variables, *self.method.trained, *self.distillation.trained]

    @property
    def judged(self) -> list[Any]:
        """The variables that the validation score depends on."""
        return [*self.model.variables, *self.method.trained, *self.method.variables]

    @property
    def variables(self) -> list[Any]:
        """All variables that training changes."""
        return [
            *self.model.variables,
            *self.optimizer.variables,
            *self.method.trained,
            *self.method.variables,
            *self.distillation.trained,
        ]


def rows_together(settings: Training, examples: int) -> int:
    """How many rows of a batch are computed at once, however many workers share them.

    Args:
        settings: The course.
        examples: How many training examples there are.
    """
    return min(settings.batch_size, examples) // settings.gradient_accumulation_steps


def course_identity(
    model: keras.Model,
    dataset: Dataset,
    settings: Training,
    seed: int,
    method: Method,
    distillation: DistillationTerm,
) -> str:
    """See `Course.identity`; to be computed before the first step."""
    # Neither changes what is learnt.
    counted = settings.model_dump(exclude={"checkpoint_steps", "workers"})
    data = (dataset.name, dataset.train.size)
    parts = (_FORM, counted, seed, data, distillation.fingerprint, method.fingerprint)
    digest = hashlib.sha256(repr(parts).encode())
    weights = [w for source in (model, *distillation.teachers) for w in source.weights]
    for weight in (*weights, *method.trained, *method.variables):
        digest.update(np.ascontiguousarray(weight).tobytes())
    return digest.hexdigest()
