"""Makes the layers of a model anew, so that variables which they share stay shared."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from inspect import isfunction
from typing import Any

import keras
import numpy as np

from pocketkube.errors import UserError
from pocketkube.graph.not_made import why_not_made
from pocketkube.graph.walk import is_model
from pocketkube.keras_private import (
    ObjectSharingScope,
    flat_layers,
    record_object_after_deserialization,
    serialize_keras_object,
    set_trainable_alone,
)


class SharedVariables:
    """Variables that several layers or operations of a graph read, told apart by identity.

    A layer that is called twice shares nothing in this sense: it is one layer.
    """

    def __init__(self) -> None:
        self._readers: dict[int, dict[int, str]] = {}

    def read(self, path: str, op: Any, arguments: Any) -> None:
        """Takes note of a call's variables: a layer's weights, those of layers in it, its arguments."""
        for variable in (
            *getattr(op, "weights", ()),
            *_variables_in((arguments.args, arguments.kwargs)),
        ):
            self._readers.setdefault(id(variable), {})[id(op)] = path

    def groups(self) -> list[dict[int, str]]:
        """The layers and operations that share variables with each other: their ids and paths."""
        found: list[dict[int, str]] = []
        for readers in self._readers.values():
            if len(readers) > 1:
                joined = [group for group in found if group.keys() & readers.keys()]
                found = [group for group in found if group not in joined]
                found.append({k: path for group in (*joined, readers) for k, path in group.items()})
        return found


def tied_operations(calls: Iterable[tuple[str, Any]]) -> set[int]:
    """Ids of the layers and operations that share variables with others of them.

    Args:
        calls: Paths and nodes, nested models and what is called in them.
    """
    shared = SharedVariables()
    for path, node in calls:
        if not is_model(node.operation):
            shared.read(path, node.operation, node.arguments)
    return {key for group in shared.groups() for key in group}


_FUNCTIONS = {"activation", "recurrent_activation"}


def _keep_functions(old: Any, new: Any) -> None:
    """Gives a layer the functions of one's own that its config calls by the names of Keras's.

    What a layer makes by itself, as a lambda that reads its weights, is its own, and stays.
    """
    # A recurrent layer shows its cell's as its own.
    for name in vars(old).keys() & _FUNCTIONS:
        was, now = getattr(old, name), getattr(new, name, None)
        if not (isfunction(was) and isfunction(now)) or was is now:
            continue
        is_of_keras = getattr(keras.activations, now.__name__, None) is now
        if is_of_keras and was.__name__ == now.__name__:
            setattr(new, name, was)


class LayerMaker:
    """Makes layers anew, one after the other.

    A layer that holds another one, as a decoder does that reads its encoder's kernel, gets the new one
    of it in its place.

    Args:
        ops: All layers and operations of the model's graph, by their paths.
        changes: What changes in the config of one.
    """

    def __init__(
        self, ops: Mapping[str, Any], changes: Callable[[Any], Mapping[str, Any]] = lambda op: {}
    ) -> None:
        self._changes = changes
        self._paths = {id(op): path for path, op in ops.items()}
        self._ops = {id(op): op for op in ops.values()}
        self._new: dict[int, Any] = {}
        self._pairs: list[tuple[Any, Any]] = []
        self._variables: dict[int, Any] = {}

    def make(self, op: Any) -> Any:
        """The new one of a layer or operation: one for each, however often it is asked for.

        Args:
            op: The layer or operation.

        Raises:
            UserError: If its own config does not make it anew.
        """
        if id(op) not in self._new:
            new = self._made(op)
            _keep_functions(op, new)
            self._new[id(op)] = new
            self._pairs.append((op, new))
            # Two layers may hold a third that is in no graph itself.
            for was, now in paired_layers(op, new):
                if was is not op:
                    _keep_functions(was, now)
                    self._new[id(was)] = now
        return self._new[id(op)]

    def _made(self, op: Any) -> Any:
        held = [x for x in _inner(op) if id(x) in self._ops or id(x) in self._new]
        try:
            if not held:
                return type(op).from_config(_of_any_size({**op.get_config(), **self._changes(op)}))
            new = {id(x): self._held(x) for x in held}
            with ObjectSharingScope():
                for layer in held:
                    # From the second time on, Keras writes down who it is instead of how it is made.
                    serialize_keras_object(layer)
                config = op.get_config()
                for layer_id, made in new.items():
                    if made is not None:
                        record_object_after_deserialization(made, layer_id)
                return type(op).from_config(_of_any_size({**config, **self._changes(op)}))
        except UserError:
            raise
        except Exception as error:
            path = self._paths.get(id(op), op.name)
            raise UserError(why_not_made(path, op, error)) from error

    def _held(self, layer: Any) -> Any:
        """What stands for a layer inside another one; None for a model that is not made yet."""
        return self._new.get(id(layer)) if is_model(layer) else self.make(layer)

    def made(self, model: keras.Model, new: keras.Model) -> None:
        """Takes note of a nested model that was rebuilt."""
        self._new[id(model)] = new

    def arguments(self, args: Any, kwargs: Any) -> tuple[Any, Any]:
        """A call's arguments with the new variables in place of the old ones."""

        def renewed(value: Any) -> Any:
            return self._renewed(value) if isinstance(value, keras.Variable) else value

        return keras.tree.map_structure(renewed, (args, kwargs))

    def _renewed(self, variable: Any) -> Any:
        if id(variable) not in self._variables:
            owner = next(
                (op for op in self._ops.values() if _holds(op, variable)),
                None,
            )
            if owner is None:
                # No layer's: the new model has its own all the same, to be trained alone.
                self._variables[id(variable)] = keras.Variable(
                    np.asarray(variable), trainable=variable.trainable, dtype=variable.dtype
                )
            else:
                new = self.make(owner)
                if not new.built:
                    new.build_from_config(owner.get_build_config())
                self._variables |= {id(was): now for was, now in paired_variables(owner, new)}
        return self._variables[id(variable)]

    def share(self) -> None:
        """Makes the new layers share what the old ones do, and freezes them alike.

        To be called when all are built: attention makes the layers inside it only then.
        """
        first: dict[int, Any] = {}
        for old, new in self._pairs:
            freeze_alike(old, new)
            for was, now in paired_variables(old, new):
                shared = first.setdefault(id(was), now)
                if shared is not now:
                    _replace(new, now, shared)


def freeze_alike(old: Any, new: Any) -> None:
    """Freezes in a layer or model made anew, once it is built, what is frozen in the old one."""
    for was, now in paired_layers(old, new):
        set_trainable_alone(now, was.trainable)
    for was, now in paired_variables(old, new):
        now.trainable = was.trainable


def paired_layers(old: Any, new: Any) -> Iterator[tuple[Any, Any]]:
    """A layer and those inside it, outer ones first, each with that of the layer made anew."""
    if not isinstance(old, keras.layers.Layer):
        return
    was, now = [old, *_inner(old)], [new, *_inner(new)]
    # Another class of one's own may make itself anew in another way.
    alike = [type(x) for x in was] == [type(x) for x in now]
    yield from zip(was, now, strict=True) if alike else [(old, new)]


def paired_variables(old: Any, new: Any) -> Iterator[tuple[Any, Any]]:
    """The variables of a layer, each with that of the layer made anew."""
    if not isinstance(old, keras.layers.Layer):
        return
    if len(old.variables) == len(new.variables):
        yield from zip(old.variables, new.variables, strict=True)
        return
    # A variable that was assigned in place of another leaves that one behind, of no use to anybody.
    for was, now in zip([old, *_inner(old)], [new, *_inner(new)], strict=True):
        for name, variable in vars(was).items():
            if isinstance(variable, keras.Variable):
                yield variable, vars(now)[name]


def _of_any_size(config: Any) -> Any:
    """A config whose initializers hold no arrays: all weights are assigned afterwards."""
    if isinstance(config, Mapping):
        if config.get("class_name") == "Constant" and not np.isscalar(config["config"].get("value")):
            return {**config, "class_name": "Zeros", "config": {}}
        return {key: _of_any_size(value) for key, value in config.items()}
    return config


def compute_from_variables(op: Any) -> None:
    """Lets a layer whose variables were assigned compute from them, and those within it.

    Keras's Normalization computes from copies of its mean and variance, which nothing but its own
    loading brings up to date.
    """
    for layer in flat_layers(op) if isinstance(op, keras.layers.Layer) else ():
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()


def layers_inside(op: Any) -> list[Any]:
    """The layers that a layer holds; those of a nested model stand in its own graph."""
    return [] if is_model(op) else _inner(op)


def _inner(op: Any) -> list[Any]:
    if not isinstance(op, keras.layers.Layer):
        return []
    return flat_layers(op, include_self=False)


def _holds(op: Any, variable: Any) -> bool:
    return any(variable is x for x in getattr(op, "variables", ()))


def _variables_in(structure: Any) -> Iterable[Any]:
    return (x for x in keras.tree.flatten(structure) if isinstance(x, keras.Variable))


def _replace(layer: Any, variable: Any, shared: Any) -> None:
    """Puts a shared variable in the place of a layer's own one, wherever it keeps it."""
    for part in [layer, *_inner(layer)]:
        # Keras forbids new state in a layer that is built; this is none.
        for value in vars(part).values():
            if isinstance(value, list):
                places = [i for i, x in enumerate(value) if x is variable]
                for place in places:
                    list.__setitem__(value, place, shared)
        for name in [name for name, value in vars(part).items() if value is variable]:
            vars(part)[name] = shared
