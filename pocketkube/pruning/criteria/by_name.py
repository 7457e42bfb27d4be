"""Which criteria there are, by name. Asking which imports none of them, nor TensorFlow."""

from collections.abc import Mapping
from dataclasses import dataclass
from pkgutil import resolve_name
from types import MappingProxyType
from typing import TYPE_CHECKING

from pocketkube.extension import criteria

if TYPE_CHECKING:
    from pocketkube.pruning.criteria.base import Criterion


@dataclass(frozen=True)
class BuiltIn:
    """A criterion of this package before it is loaded.

    Attributes:
        place: Where its class is.
        needs_data: Whether it looks at examples.
        always_fits: Whether weights are fitted to what is left whether that is asked for or not.
    """

    place: str
    needs_data: bool = False
    always_fits: bool = False


# Module names in full: what a stage's output depends on is found by them.
BUILT_IN: Mapping[str, BuiltIn] = MappingProxyType(
    {
        "l1": BuiltIn("pocketkube.pruning.criteria.l1:L1"),
        "l2": BuiltIn("pocketkube.pruning.criteria.l2:L2"),
        "bn_scale": BuiltIn("pocketkube.pruning.criteria.bn_scale:BatchNormScale"),
        "fpgm": BuiltIn("pocketkube.pruning.criteria.fpgm:GeometricMedian"),
        "taylor": BuiltIn("pocketkube.pruning.criteria.taylor:Taylor", needs_data=True),
        "lasso": BuiltIn("pocketkube.pruning.criteria.lasso:Lasso", needs_data=True, always_fits=True),
        "dcp": BuiltIn("pocketkube.pruning.criteria.dcp:DiscriminationAware", needs_data=True),
    }
)


def criterion_names() -> tuple[str, ...]:
    """The names of all criteria: those of this package first, then those that were added."""
    return criteria.names(tuple(BUILT_IN))


def criterion_named(name: str) -> "Criterion":
    """The criterion of a name.

    Raises:
        UserError: If there is none of that name; it lists the names there are.
    """
    return _class_named(name)()


def always_fits(name: str) -> bool:
    """Whether weights are fitted to what a criterion leaves, whether that is asked for or not."""
    return BUILT_IN[name].always_fits if name in BUILT_IN else _class_named(name).always_fits


def _class_named(name: str) -> "type[Criterion]":
    from pocketkube.pruning.criteria.base import Criterion

    kind: type[Criterion] = (
        resolve_name(BUILT_IN[name].place)
        if name in BUILT_IN
        else criteria.get(name, tuple(BUILT_IN), Criterion)
    )
    return kind
