"""Reads a SavedModel folder that Keras 2 wrote: its layers' settings and their weights."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import saved_model_pb2, trackable_object_graph_pb2
from tensorflow.python.keras.protobuf import saved_metadata_pb2

from pocketkube.errors import UserError, first_line
from pocketkube.older_keras.stored import StoredModel, StoredWeight, own_name, plain
from pocketkube.spec.model_files import SAVED_MODEL

METADATA = "keras_metadata.pb"
_OBJECTS, _VALUE = "_CHECKPOINTABLE_OBJECT_GRAPH", "VARIABLE_VALUE"
_MODELS = ("_tf_keras_network", "_tf_keras_sequential", "_tf_keras_model")


def is_saved_model(path: Path) -> bool:
    """Whether a folder is a SavedModel, of whatever origin."""
    return (path / SAVED_MODEL).is_file()


def read_saved_model(path: Path) -> StoredModel:
    """Reads a model's configuration and weights; its graph is not loaded, and nothing of it is run.

    Args:
        path: The folder.

    Raises:
        UserError: If it is damaged, or holds functions alone: no layers that Keras could make again.
    """
    try:
        graph = saved_model_pb2.SavedModel.FromString((path / SAVED_MODEL).read_bytes())
        objects = graph.meta_graphs[0].object_graph_def.nodes
        metadata = _metadata(path, objects)
        root = metadata.get("root")
        if root is None or not _is_described(root[1]):
            raise UserError(
                f"{path} holds functions without the layers that they were made of"
                f"{_whose(root)}: save the model as net.keras where its code is; a LiteRT file is made "
                "of such a folder by tf.lite.TFLiteConverter.from_saved_model."
            )
        layers = {name.split(".")[1]: node for name, node in metadata.items() if name.count(".") == 1}
        values = _Values(path, objects)
        weights = {
            text["name"]: tuple(values.of_layer(number))
            for place, (number, text) in layers.items()
            if place.startswith("layer")
        }
    except UserError:
        raise
    except (DecodeError, OSError, KeyError, IndexError, ValueError, tf.errors.OpError) as error:
        raise UserError(f"{path} is damaged or incomplete: {first_line(error)}") from error
    described = root[1]
    config = {"class_name": described["class_name"], "config": described["config"]}
    training = described.get("training_config")
    return StoredModel(config, weights, training, str(described.get("keras_version", "2")))


def _metadata(path: Path, objects: Any) -> dict[str, tuple[int, Mapping[str, Any]]]:
    """What Keras says of each of its objects, by the object's path: its number and its settings."""
    file = path / METADATA
    if file.is_file():
        found = saved_metadata_pb2.SavedMetadata.FromString(file.read_bytes())
        return {each.node_path: (each.node_id, _json(each.metadata)) for each in found.nodes}
    # Before TensorFlow 2.5 it stood in the graph itself.
    paths = {0: "root"}
    for number, node in enumerate(objects):
        for child in node.children:
            if number in paths and child.node_id not in paths:
                paths[child.node_id] = f"{paths[number]}.{child.local_name}"
    told = {
        paths[number]: (number, _json(node.user_object.metadata))
        for number, node in enumerate(objects)
        if number in paths and node.user_object.metadata
    }
    return {name: each for name, each in told.items() if "class_name" in each[1]}


def _json(text: str) -> Mapping[str, Any]:
    try:
        told = plain(json.loads(text))
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def _is_described(settings: Mapping[str, Any]) -> bool:
    config = settings.get("config")
    return isinstance(config, list) or (isinstance(config, dict) and "layers" in config)


def _whose(root: tuple[int, Mapping[str, Any]] | None) -> str:
    name = root[1].get("class_name") if root else None
    return f" (the class {name} has its own code)" if name else ""


class _Values:
    """The values of variables, by their place in the graph of objects."""

    def __init__(self, path: Path, objects: Any):
        self._objects = objects
        self._reader = tf.train.load_checkpoint(str(path / "variables" / "variables"))
        kept = trackable_object_graph_pb2.TrackableObjectGraph.FromString(
            self._reader.get_tensor(_OBJECTS)
        ).nodes
        self._keys: dict[int, str] = {}
        # Both graphs are walked by names side by side: only these are sure to be the same in both.
        waiting, met = [(0, 0)], {0}
        while waiting:
            ours, theirs = waiting.pop()
            for attribute in kept[theirs].attributes:
                if attribute.name == _VALUE:
                    self._keys[ours] = attribute.checkpoint_key
            there = {child.local_name: child.node_id for child in kept[theirs].children}
            for child in objects[ours].children:
                if child.local_name in there and child.node_id not in met:
                    met.add(child.node_id)
                    waiting.append((child.node_id, there[child.local_name]))

    def of_layer(self, number: int) -> Iterator[StoredWeight]:
        """All weights of a layer, trainable ones first."""
        if not any(child.local_name == "variables" for child in self._objects[number].children):
            # Layers of preprocessing do not list theirs.
            yield from map(self._weight, self._held(number))
            return
        trainable = self._listed(number, "trainable_variables")
        yield from map(self._weight, trainable)
        yield from (
            self._weight(each) for each in self._listed(number, "variables") if each not in trainable
        )

    def _listed(self, number: int, name: str) -> list[int]:
        children = {child.local_name: child.node_id for child in self._objects[number].children}
        if name not in children:
            return []
        listed = self._objects[children[name]].children
        return [child.node_id for child in sorted(listed, key=lambda child: int(child.local_name))]

    def _held(self, number: int) -> list[int]:
        # A variable may be held by two names.
        held = dict.fromkeys(child.node_id for child in self._objects[number].children)
        return [each for each in held if self._objects[each].WhichOneof("kind") == "variable"]

    def _weight(self, number: int) -> StoredWeight:
        value = np.asarray(self._reader.get_tensor(self._keys[number]))
        return StoredWeight(own_name(self._objects[number].variable.name), value)
