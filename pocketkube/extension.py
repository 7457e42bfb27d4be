"""Adds criteria, data sets, tasks, models, layers and stages from outside this package.

A package adds one by an entry point, whose name is the name in specs::

    [project.entry-points."pocketkube.criteria"]
    largest_weight = "my_package.criteria:LargestWeight"

A script or notebook adds one by a decorator, for its own process::

    from pocketkube import extension

    @extension.criteria.register("largest_weight")
    class LargestWeight(Criterion): ...

Entry points are loaded when their name is looked up, and no sooner.
"""

import importlib.metadata
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

from pocketkube.errors import UserError, first_line, to_use_instead

Added = TypeVar("Added")


@dataclass(frozen=True)
class Origin:
    """Where something that was added comes from.

    Attributes:
        module: The module that holds it.
        who: What messages call who added it: "the package colours 1.0", or "the module __main__".
    """

    module: str
    who: str


class Registry:
    """What is added of one kind, by name.

    Args:
        group: The group of its entry points.
        kind: What messages call one of them.
    """

    def __init__(self, group: str, kind: str) -> None:
        self.group, self.kind = group, kind
        self._found: dict[str, Any] = {}
        self._decorated: dict[str, Origin] = {}

    def register(self, name: str, module: str = "") -> Callable[[Added], Added]:
        """Adds what it decorates in this process; processes that it starts do not know of it.

        Args:
            name: Its name in specs; of a layer the name under which Keras knows its class.
            module: The module that it comes from; by default the one that it was made in.

        Returns:
            A decorator that leaves what it decorates as it is.
        """

        def add(what: Added) -> Added:
            origin = module or getattr(what, "__module__", None) or type(what).__module__
            known = self._found.get(name)
            # A cell of a notebook that runs again says the same once more.
            again = name in self._decorated and self._decorated[name].module == origin
            if known is not None and known is not what and not again:
                raise UserError(
                    f"The module {origin} adds the {self.kind} {name}, which {self.origin(name).who} "
                    "adds, too: give one of them another name."
                )
            self._found[name] = what
            if name not in self._entry_points:
                self._decorated[name] = Origin(origin, f"the module {origin}")
            return what

        return add

    def find(self, name: str, builtin: Collection[str] = (), base: type | None = None) -> Any:
        """What was added under a name.

        Args:
            name: The name; none that is built in.
            builtin: The names of those that this package has itself.
            base: What it has to be a subclass or an object of.

        Returns:
            It; None if there is none of that name.

        Raises:
            UserError: If it cannot be loaded or is something else, or two packages add one of the same
                name.
        """
        self._refuse_taken(builtin)
        if name not in self._found and name in self._entry_points:
            self._found[name] = self._load(name)
        found = self._found.get(name)
        if found is not None and base is not None:
            fits = issubclass(found, base) if isinstance(found, type) else isinstance(found, base)
            if not fits:
                raise UserError(
                    f"The {self.kind} {name} of {self.origin(name).who} is no {base.__name__}: see "
                    f"{base.__module__}.{base.__name__}."
                )
        return found

    def get(self, name: str, builtin: Collection[str] = (), base: type | None = None) -> Any:
        """The same, where there has to be one.

        Raises:
            UserError: Also if there is none of that name; tells those that there are.
        """
        found = self.find(name, builtin, base)
        if found is None:
            raise UserError(
                f"There is no {self.kind} {name}{to_use_instead(name, self.names(builtin))}."
            )
        return found

    def names(self, builtin: Collection[str] = ()) -> tuple[str, ...]:
        """The names of all: those that are built in, and those that were added. Loads none of them.

        Raises:
            UserError: If two packages add one of the same name.
        """
        self._refuse_taken(builtin)
        return (*builtin, *sorted({*self._entry_points, *self._decorated}))

    def origin(self, name: str) -> Origin:
        """Where one of `names` comes from; it need not be loaded."""
        if name in self._decorated:
            return self._decorated[name]
        point = self._entry_points[name]
        return Origin(point.module, _who(point))

    @cached_property
    def _entry_points(self) -> dict[str, importlib.metadata.EntryPoint]:
        found: dict[str, importlib.metadata.EntryPoint] = {}
        for point in importlib.metadata.entry_points(group=self.group):
            if point.name in found:
                raise UserError(
                    f"Both {_who(found[point.name])} and {_who(point)} add the {self.kind} "
                    f"{point.name}: uninstall one of them."
                )
            if not point.pattern.match(point.value):
                raise UserError(
                    f"The {self.kind} {point.name} of {_who(point)} is {point.value!r}, which is no "
                    "module:object: repair or uninstall it."
                )
            found[point.name] = point
        return found

    def _load(self, name: str) -> Any:
        point = self._entry_points[name]
        try:
            return point.load()
        except UserError:
            raise
        except Exception as error:
            raise UserError(
                f"The {self.kind} {name} of {_who(point)} cannot be loaded from {point.value} "
                f"({type(error).__name__}: {first_line(error)}): repair or uninstall it."
            ) from error

    def _refuse_taken(self, builtin: Collection[str]) -> None:
        for name in {*self._entry_points, *self._decorated} & {*builtin}:
            raise UserError(
                f"There is a {self.kind} {name} already: {self.origin(name).who} has to give its own "
                "another name."
            )


def _who(point: importlib.metadata.EntryPoint) -> str:
    distribution = point.dist
    if distribution is None:
        return "a package without a name"
    return f"the package {distribution.metadata['Name']} {distribution.version}"


criteria = Registry("pocketkube.criteria", "criterion")
datasets = Registry("pocketkube.datasets", "data set")
tasks = Registry("pocketkube.tasks", "task")
models = Registry("pocketkube.models", "network")
layers = Registry("pocketkube.layers", "layer")
stages = Registry("pocketkube.stages", "stage")
