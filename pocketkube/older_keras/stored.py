"""What a file of an older Keras says of a model, before anything is built of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class StoredWeight:
    """A weight as it stands in a file.

    Attributes:
        name: Its own name, as "kernel", without those of the layers around it.
        value: Its value.
    """

    name: str
    value: np.ndarray


@dataclass(frozen=True)
class StoredModel:
    """A model as it stands in a file.

    Attributes:
        config: Its class_name and config, as Keras wrote them.
        weights: The weights of each layer of the model itself, those of nested models in their layer's;
            trainable ones come first.
        training: Loss and optimizer that it was compiled with; None where it was not.
        keras_version: Of the Keras that wrote the file, as "2.4.0".
    """

    config: Mapping[str, Any]
    weights: Mapping[str, tuple[StoredWeight, ...]]
    training: Mapping[str, Any] | None
    keras_version: str


def own_name(path: str) -> str:
    """The last part of a weight's path: "conv/kernel:0" is the kernel."""
    return path.rsplit("/", 1)[-1].split(":")[0]


def plain(node: Any) -> Any:
    """JSON of Keras 2 with its tuples, shapes and arrays as lists and numbers."""
    if isinstance(node, list):
        return [plain(each) for each in node]
    if not isinstance(node, dict):
        return node
    if node.get("class_name") in ("__tuple__", "TensorShape"):
        return plain(node["items"])
    if node.get("type") == "ndarray":
        return node["value"]
    return {key: plain(value) for key, value in node.items()}
