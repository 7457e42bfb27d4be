"""Which of Keras's classes a layer computes as: its own, or the one that it inherits that from."""

from typing import Any

# What a subclass may have of its own without computing anything else.
_HARMLESS = frozenset(
    {"build", "compute_output_shape", "compute_output_spec", "get_config", "from_config"}
)
_KERAS = "keras."
# Its classes hand on masks otherwise than their parents, and compute the same.
_OF_MASKS = "pocketkube.older_keras.masks"


def computes_as(op: Any) -> type:
    """The class whose rules hold for a layer or operation.

    Args:
        op: The layer or operation.

    Returns:
        Its own class; of a user's class that overrides nothing its parent computes with, as `call`, the
        parent of Keras's.
    """
    kind = type(op)
    return next((each for each in alike(kind) if is_of_keras(each)), kind)


def is_one_of(op: Any, kinds: type | tuple[type, ...]) -> bool:
    """Whether a layer or operation computes as one of these classes of Keras's does.

    Args:
        op: The layer or operation. A user's class that computes something of its own is none of them.
        kinds: The classes.
    """
    kind = computes_as(op)
    return is_of_keras(kind) and issubclass(kind, kinds)


def name_of(op: Any) -> str:
    """The name of Keras's class that a layer or operation computes as; empty where there is none."""
    kind = computes_as(op)
    return kind.__name__ if is_of_keras(kind) else ""


def is_of_keras(kind: type) -> bool:
    """Whether a class is one of Keras's own."""
    return kind.__module__.startswith(_KERAS)


def alike(kind: type) -> tuple[type, ...]:
    """A class, and those of its parents that compute the same, up to the first of Keras's."""
    found = [kind]
    for place, parent in enumerate(kind.__mro__[1:], start=1):
        if is_of_keras(found[-1]) or overridden(kind.__mro__[:place], parent):
            break
        found.append(parent)
    return tuple(found)


def overridden(kinds: tuple[type, ...], parent: type) -> tuple[str, ...]:
    """What a parent computes with and classes before it have of their own, as "call"."""
    others = [kind for kind in kinds if kind.__module__ != _OF_MASKS]
    names = dict.fromkeys(name for kind in others for name in vars(kind))
    # What every class has, as __doc__, is none of it.
    own = (name for name in names if name == "__call__" or not name.startswith("__"))
    return tuple(name for name in own if name not in _HARMLESS and hasattr(parent, name))


def first_of_keras(kind: type) -> type | None:
    """The nearest of a class's parents that is Keras's; None of a class that has none."""
    return next((each for each in kind.__mro__[1:] if is_of_keras(each)), None)
