"""Reads a split's examples as they come, and says which one cannot be read, and why."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from pocketkube.data.dataset import Examples, Explain
from pocketkube.errors import DataError

# How tf.data tells of what a function in Python has raised: in the last line of its traceback.
_OURS = re.compile(r"^pocketkube\.[\w.]+: (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Batches:
    """Batches of a split, read when they are asked for.

    Attributes:
        stream: The batches as tf.data has them.
        examples: The split that they are of.
    """

    stream: tf.data.Dataset
    examples: Examples

    def __iter__(self) -> Iterator[Any]:
        return read(self.stream, self.examples.explain)

    def __len__(self) -> int:
        return len(self.stream)


def read(stream: Iterable[Any], explain: Explain | None) -> Iterator[Any]:
    """The elements of a stream of examples.

    Args:
        stream: The stream, as tf.data has it.
        explain: See `Examples`.

    Raises:
        DataError: If an example cannot be read: which one, and why.
    """
    try:
        yield from stream
    except tf.errors.OpError as error:
        said = _OURS.findall(error.message)
        why = said[-1] if said else explain() if explain else None
        if why is None:
            raise
        raise DataError(why) from error


def reason_of(error: tf.errors.OpError) -> str:
    """What an operation says is wrong, without the names of operations around it."""
    text = re.sub(r"\{\{.*?\}\}|\[Op:.*?\]|name: *$", "", error.message.splitlines()[0])
    return text.strip(" .") or type(error).__name__
