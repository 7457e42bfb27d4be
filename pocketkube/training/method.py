"""What a compression method adds to the training loop."""

from collections.abc import Sequence
from typing import Any


class Method:
    """A method that changes how a model is trained; this one changes nothing.

    Attributes:
        told: What identifies it and its settings: a checkpoint of another one is not continued.
        variables: What it has to remember, saved with every checkpoint.
    """

    told: str = ""
    variables: Sequence[Any] = ()

    def before_step(self, step: int, steps: int, optimizer: Any) -> None:
        """Called before each step.

        Args:
            step: Its number, from 0.
            steps: How many there are.
            optimizer: The optimizer; its state may be changed.
        """

    def gradients(self, gradients: Sequence[Any], variables: Sequence[Any]) -> Sequence[Any]:
        """What the optimizer is given instead of `gradients`, which belong to `variables`.

        It is part of a `tf.function`.
        """
        return gradients

    def finish(self) -> None:
        """Called after the last step, before the model is judged."""
