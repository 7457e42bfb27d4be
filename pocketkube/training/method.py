"""What a compression method adds to the training loop."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any

from pocketkube.packing import Form


class Method:
    """A method that changes how a model is trained; this one changes nothing.

    Attributes:
        fingerprint: Identifies it and its settings: a checkpoint of another one is not continued.
        variables: What it has to remember, saved with every checkpoint.
        trained: Keras variables of its own that the optimizer changes beside the model's.
        layers: Layers of its own that compute while a model is trained.
        rate: The part of training's learning rate that suits it.
        notes: Sentences for the user.
    """

    fingerprint: str = ""
    variables: Sequence[Any] = ()
    trained: Sequence[Any] = ()
    layers: Sequence[Any] = ()
    rate: float = 1.0
    notes: Sequence[str] = ()

    def begin(self, rows: int) -> None:
        """Called before a course, whose other parts ask for what it trains, and for its rate.

        Args:
            rows: How many rows of a batch are computed at once, of all workers together.
        """

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

    def computing(self) -> AbstractContextManager[None]:
        """Within it, the model's layers compute as they do in training; a step is traced there."""
        return nullcontext()

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
        self._collect()

    def begin(self, rows: int) -> None:
        """See `Method`."""
        for method in self._methods:
            method.begin(rows)
        self._collect()

    def _collect(self) -> None:
        self.fingerprint = " ".join(method.fingerprint for method in self._methods)
        self.variables = [v for method in self._methods for v in method.variables]
        self.trained = [v for method in self._methods for v in method.trained]
        self.layers = [layer for method in self._methods for layer in method.layers]
        self.rate = min(method.rate for method in self._methods)
        self.notes = [note for method in self._methods for note in method.notes]

    def before_step(self, step: int, steps: int, optimizer: Any) -> None:
        """See `Method`."""
        for method in self._methods:
            method.before_step(step, steps, optimizer)

    def replaced(self) -> Sequence[tuple[Any, Any]]:
        """See `Method`."""
        return [pair for method in self._methods for pair in method.replaced()]

    @contextmanager
    def computing(self) -> Iterator[None]:
        """See `Method`."""
        with ExitStack() as stack:
            for method in self._methods:
                stack.enter_context(method.computing())
            yield

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
