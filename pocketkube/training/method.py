"""What a compression method adds to the training loop."""

from collections.abc import Mapping, Sequence
from typing import Any

from pocketkube.packing import Form


class Method:
    """A method that changes how a model is trained; this one changes nothing.

    Attributes:
        fingerprint: Identifies it and its settings: a checkpoint of another one is not continued.
        variables: What it has to remember, saved with every checkpoint.
        trained: Keras variables of its own that the optimizer changes beside the model's.
    """

    fingerprint: str = ""
    variables: Sequence[Any] = ()
    trained: Sequence[Any] = ()

    def before_step(self, step: int, steps: int, optimizer: Any) -> None:
        """Called before each step.

        Args:
            step: Its number, from 0.
            steps: How many there are.
            optimizer: The optimizer; its state may be changed.
        """

    def replaced(self) -> Sequence[tuple[Any, Any]]:
        """What the model computes with: variables of it and the tensor that takes the place of each.

        It is part of a `tf.function`; gradients go through the tensors.
        """
        return ()

    def gradients(self, gradients: Sequence[Any], variables: Sequence[Any]) -> Sequence[Any]:
        """What the optimizer is given instead of `gradients`, which belong to `variables`.

        It is part of a `tf.function`.
        """
        return gradients

    def has_final_form(self, step: int, steps: int) -> bool:
        """Whether the model has the form that it is to end in, as sparse or coarse as is asked for.

        Epochs that end before are not kept, however well the model does: it is not yet what is asked.

        Args:
            step: How many steps are done, 1 to `steps`.
            steps: How many there are.
        """
        return True

    def finish(self) -> None:
        """Gives the model what it has computed with.

        Called after each epoch, for the model is judged as it would be if training ended there; what
        it does to variables is then taken back. Called for good after the last step.
        """

    @property
    def forms(self) -> Mapping[str, Form]:
        """The forms of weights that it leaves with few values, by the weight's path."""
        return {}


class CombinedMethod(Method):
    """Several methods at once; each sees what those before it made of the gradients.

    Args:
        methods: They replace different variables.
    """

    def __init__(self, methods: Sequence[Method]) -> None:
        self._methods = methods
        self.fingerprint = " ".join(method.fingerprint for method in methods)
        self.variables = [v for method in methods for v in method.variables]
        self.trained = [v for method in methods for v in method.trained]

    def before_step(self, step: int, steps: int, optimizer: Any) -> None:
        """See `Method`."""
        for method in self._methods:
            method.before_step(step, steps, optimizer)

    def replaced(self) -> Sequence[tuple[Any, Any]]:
        """See `Method`."""
        return [pair for method in self._methods for pair in method.replaced()]

    def gradients(self, gradients: Sequence[Any], variables: Sequence[Any]) -> Sequence[Any]:
        """See `Method`."""
        for method in self._methods:
            gradients = method.gradients(gradients, variables)
        return gradients

    def has_final_form(self, step: int, steps: int) -> bool:
        """See `Method`."""
        return all(method.has_final_form(step, steps) for method in self._methods)

    def finish(self) -> None:
        """See `Method`."""
        for method in self._methods:
            method.finish()

    @property
    def forms(self) -> Mapping[str, Form]:
        """See `Method`."""
        return {path: form for method in self._methods for path, form in method.forms.items()}
