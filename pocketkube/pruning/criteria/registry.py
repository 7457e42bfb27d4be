"""Which criteria there are, by name; to ask that loads neither them nor TensorFlow."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeVar

from pocketkube.errors import UserError

if TYPE_CHECKING:
    from pocketkube.pruning.criteria.base import Criterion

Kind = TypeVar("Kind", bound="type[Criterion]")


@dataclass(frozen=True)
class Registered:
    """A criterion before it is loaded.

    Attributes:
        name: Its name in specs and on the command line.
        needs_data: Whether it looks at examples.
        always_fits: Whether weights are fitted to what is left whether that is asked for or not.
        load: Gives the criterion.
    """

    name: str
    needs_data: bool
    always_fits: bool
    load: "Callable[[], Criterion]"


def known_criteria() -> Mapping[str, Registered]:
    """All criteria by name: those of the package first, then others as they were registered."""
    return MappingProxyType(_KNOWN)


def criterion_named(name: str) -> "Criterion":
    """The criterion of a name.

    Raises:
        UserError: If there is none of that name; it lists the names there are.
    """
    if name not in _KNOWN:
        raise UserError(f"There is no criterion {name!r}; there are: {', '.join(_KNOWN)}.")
    return _KNOWN[name].load()


def register(kind: Kind) -> Kind:
    """Makes a criterion known by its name; a decorator of its class.

    Args:
        kind: A subclass of `Criterion` that is made without arguments.

    Returns:
        The class itself.

    Raises:
        UserError: If another criterion has that name.
    """
    if kind.name in _KNOWN:
        raise UserError(f"There is a criterion {kind.name!r} already: give yours another name.")
    _KNOWN[kind.name] = Registered(kind.name, kind.needs_data, kind.always_fits, kind)
    return kind


def _of_package(
    module: str, kind: str, *, needs_data: bool = False, always_fits: bool = False
) -> Registered:
    def load() -> "Criterion":
        criterion: Criterion = getattr(import_module(f"{__package__}.{module}"), kind)()
        return criterion

    return Registered(module, needs_data, always_fits, load)


_KNOWN = {
    each.name: each
    for each in (
        _of_package("l1", "L1"),
        _of_package("l2", "L2"),
        _of_package("bn_scale", "BatchNormScale"),
        _of_package("fpgm", "GeometricMedian"),
        _of_package("taylor", "Taylor", needs_data=True),
        _of_package("lasso", "Lasso", needs_data=True, always_fits=True),
        _of_package("dcp", "DiscriminationAware", needs_data=True),
    )
}
