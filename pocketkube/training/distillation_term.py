"""What distillation adds to the training loop."""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from pocketkube.data.dataset import Examples
from pocketkube.spec.sections import Training
from pocketkube.training.workers import Workers


class DistillationTerm:
    """What teachers add to the loss of a task; this one adds nothing.

    Attributes:
        fingerprint: Identifies it and its settings: a checkpoint of another one is not continued.
        teachers: Models whose weights identify it, too.
        task_share: What the task's own loss is multiplied by.
        trained: Variables of its own that the optimizer changes beside the model's.
        notes: Sentences for the user about what was chosen automatically.
    """

    fingerprint: str = ""
    teachers: Sequence[Any] = ()
    task_share: float = 1.0
    trained: Sequence[Any] = ()
    notes: Sequence[str] = ()

    def prepared(self, examples: Examples, settings: Training, workers: Workers) -> Examples:
        """The training examples, with all of the teachers' answers that can be computed beforehand.

        Called once for each group of workers, before its first step.
        """
        return examples

    def answers(self, inputs: Sequence[Any], labels: Sequence[Any]) -> tuple[Sequence[Any], Any]:
        """What the teachers answer to a batch of prepared examples.

        It is part of a `tf.function`.

        Returns:
            The task's labels alone, and the answers in the form that `terms` takes.
        """
        return labels, None

    def observe(self, model: Any, inputs: Any, *, training: bool) -> tuple[Any, Any]:
        """Calls the student.

        It is part of a `tf.function`, and may run where variables are replaced.

        Returns:
            The student's outputs, and what else `terms` needs to see of it.
        """
        return model(inputs, training=training), None

    def terms(self, outputs: Any, seen: Any, answers: Any, labels: Any) -> Any:
        """What the teachers add to the loss, `[batch]`; labels tell which positions count.

        It is part of a `tf.function`; gradients go through it.
        """
        return tf.zeros(())
