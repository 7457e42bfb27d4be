"""The figures of a course of training, epoch by epoch."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Epoch:
    """The figures of one epoch.

    Attributes:
        number: Its number, from 1.
        epochs: How many there are to be.
        loss: Mean loss on the training examples, teachers' terms included.
        score: Mean score on them as they were trained on, augmented.
        val_loss: Mean loss on the validation examples.
        val_score: Mean score on them.
        learning_rate: The learning rate of its last step.
        examples: How many examples it was trained on, over all workers.
        seconds: How long this process took to train and to judge it, resumed parts not counted.
        workers: How many processes shared it when it ended.
    """

    number: int
    epochs: int
    loss: float
    score: float
    val_loss: float
    val_score: float
    learning_rate: float
    examples: int
    seconds: float
    workers: int


# Called by the first worker at the end of each epoch; True ends training with this epoch.
OnEpoch = Callable[[Epoch], bool | None]


@dataclass(frozen=True)
class History:
    """A course of training, an entry for each epoch.

    Attributes:
        loss: Loss on the training examples, teachers' terms included.
        score: Score on them as they were trained on, augmented.
        val_loss: Loss on the validation examples.
        val_score: Score on them.
        learning_rate: The rate at the end of the epoch.
        seconds: How long training took, in all processes that went on from each other; of one that was
            interrupted up to its last checkpoint.
        earlier_seconds: How much of that earlier processes took.
        workers: How many processes shared it.
        kept_epoch: The epoch whose weights the model has, from 1.
    """

    loss: tuple[float, ...] = ()
    score: tuple[float, ...] = ()
    val_loss: tuple[float, ...] = ()
    val_score: tuple[float, ...] = ()
    learning_rate: tuple[float, ...] = ()
    seconds: float = 0.0
    earlier_seconds: float = 0.0
    workers: int = 1
    kept_epoch: int = 0
