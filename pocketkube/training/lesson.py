"""What teachers add to the training loop."""

from collections.abc import Sequence
from typing import Any

from pocketkube.data.dataset import Examples
from pocketkube.spec.sections import Training
from pocketkube.training.workers import Alone


class Lesson:
    """What a model is taught beside its task; this one teaches nothing.

    Attributes:
        told: What identifies it and its settings: a checkpoint of another one is not continued.
        teachers: Models whose weights identify it, too.
        trained: Variables of its own that the optimizer changes beside the model's.
        notes: Sentences for the user: what was chosen by itself.
    """

    told: str = ""
    teachers: Sequence[Any] = ()
    trained: Sequence[Any] = ()
    notes: Sequence[str] = ()

    def prepared(self, examples: Examples, settings: Training, ranks: Alone) -> Examples:
        """The training examples, with all that is known beforehand of the teachers' answers."""
        return examples

    def answers(self, inputs: Sequence[Any], labels: Sequence[Any]) -> tuple[Sequence[Any], Any]:
        """What the teachers say to a batch of prepared examples.

        It is part of a `tf.function`.

        Returns:
            The labels alone, and the answers in the form that `loss` takes.
        """
        return labels, None

    def observe(self, model: Any, inputs: Any, *, training: bool) -> tuple[Any, Any]:
        """Calls the model that is taught.

        It is part of a `tf.function`, and may run where variables are replaced.

        Returns:
            Its outputs, and what else `loss` wants to see of it.
        """
        return model(inputs, training=training), None

    def loss(self, loss: Any, outputs: Any, seen: Any, answers: Any) -> Any:
        """The loss with the teachers' terms, `[batch]`; `loss` is the task's.

        It is part of a `tf.function`; gradients go through it.
        """
        return loss
