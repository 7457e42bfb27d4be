"""A model's configuration as Keras 2 wrote it, in the words of Keras 3."""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import keras

from pocketkube.errors import UserError
from pocketkube.keras_private import CustomScaleLayer, LayerScale, StochasticDepth
from pocketkube.older_keras.activations import hard_sigmoid_of_keras_2
from pocketkube.older_keras.mask_of import MaskOf
from pocketkube.older_keras.masks import MERGING, STAND_INS, UNMASKED
from pocketkube.older_keras.operations import LayerCall, NotRewritten, Reference, as_layer

Config = dict[str, Any]
_FUNCTIONAL = ("Functional", "Model")
_MODELS = (*_FUNCTIONAL, "Sequential")
_RENAMED = {
    "BatchNormalizationV1": "BatchNormalization",
    "BatchNormalizationV2": "BatchNormalization",
    "SyncBatchNormalization": "BatchNormalization",
}
# Those of keras.applications, which are no layers of keras.layers and are registered nowhere.
_OF_APPLICATIONS = {each.__name__: each for each in (CustomScaleLayer, LayerScale, StochasticDepth)}
# Configurations of layers within layers.
_INNER = ("layer", "backward_layer", "cell")
# What says how something is computed, or what is told elsewhere, and not what.
_WITHOUT_MEANING = (
    "batch_input_shape",
    "input_length",
    "input_dtype",
    "implementation",
    "rng_type",
    # What an attention was built for follows from its inputs.
    "query_shape",
    "key_shape",
    "value_shape",
    # Layers that do not take it have nothing to train.
    "trainable",
)
# Layers that know masks in Keras 3 alone.
_WITHOUT_MASKS = ("Identity", "Normalization", "Rescaling")
# Layers that take their state beside the sequence.
_RECURRENT = (
    "RNN",
    "SimpleRNN",
    "LSTM",
    "GRU",
    "ConvLSTM1D",
    "ConvLSTM2D",
    "ConvLSTM3D",
    "Bidirectional",
)
_ABSENT: tuple[Any, ...] = (None, False, 1, [], {}, "")
_CONSTANT = "_CONSTANT_VALUE"


def adapted(config: Mapping[str, Any], path: str, is_masked: Callable[[str], bool]) -> Config:
    """The configuration of a model in the words of Keras 3, for `keras.saving`.

    What computes is built-in layers and classes that were registered, and nothing else.

    Args:
        config: Its class_name and config, with lists for tuples.
        path: What messages call the file.
        is_masked: Whether a mask may arrive at a layer of this name, which then hands it on as in
            Keras 2.

    Returns:
        The same with its classes' modules, axes, shapes and calls as Keras 3 has them.

    Raises:
        UserError: If a layer is a Lambda, of a class that is not known here, or set in a way that
            Keras 3 has not.
    """
    return _Adapter(path, is_masked).layer(dict(config))


def may_mask(config: Any) -> bool:
    """Whether a layer in Keras 2's configuration gives a mask, as far as it tells.

    Args:
        config: A part of it.
    """
    if isinstance(config, list):
        return any(map(may_mask, config))
    if not isinstance(config, dict):
        return False
    kind = config.get("class_name")
    is_own = isinstance(kind, str) and keras.saving.get_registered_object(kind) is not None
    return (
        kind == "Masking" or config.get("mask_zero") is True or is_own or may_mask([*config.values()])
    )


def refuse_unsafe(config: Any, path: str) -> None:
    """Refuses a configuration of Keras 3's words that holds a Lambda or a class that is not known here.

    Args:
        config: A part of it.
        path: What messages call the file.

    Raises:
        UserError: If there is one.
    """
    for layer in _layers_in(config):
        kind, own = layer["class_name"], layer["config"]
        if kind == "Lambda":
            raise _lambda(path, own)
        known = kind in _MODELS or kind in _OF_APPLICATIONS or _is_built_in(kind)
        if not known and _registered(layer) is None:
            raise _unknown(path, kind, own)


def _layers_in(config: Any) -> Iterator[Config]:
    """All layers in a configuration, those within others too."""
    if isinstance(config, list):
        for part in config:
            yield from _layers_in(part)
    elif isinstance(config, dict):
        own = config.get("config")
        if "class_name" in config and isinstance(own, dict) and ("layers" in own or "trainable" in own):
            yield config
        elif config.get("class_name") in ("Lambda", "__lambda__"):
            yield {"class_name": "Lambda", "config": own}
        for part in config.values():
            yield from _layers_in(part)


def _registered(layer: Config) -> Any:
    name = layer.get("registered_name") or layer["class_name"]
    return keras.saving.get_registered_object(name)


def _lambda(path: str, config: Any) -> UserError:
    return UserError(
        f"{path} has a Lambda layer{_called(config)}, whose code safe mode does not run: replace it "
        "with a built-in layer where the model's code is, or with a class of your own under "
        "@keras.saving.register_keras_serializable()."
    )


def _unknown(path: str, kind: str, config: Any) -> UserError:
    return UserError(
        f"{path} uses the class {kind}{_called(config)}, which is not known here: Keras 3 has no "
        "such layer; if it is yours, name the module that has it, by --import my_layers (or a .py "
        "file) or imports: [my_layers] in the spec; in Python import it, with "
        "@keras.saving.register_keras_serializable() above it."
    )


def kept_name(name: str) -> str:
    """A layer's name as Keras 3 takes it: without slashes."""
    return name.replace("/", "_")


class _Adapter:
    def __init__(self, path: str, is_masked: Callable[[str], bool]):
        self._path, self._is_masked = path, is_masked

    def layer(self, node: Config) -> Config:
        """A layer or a model, without its calls."""
        kind: str = _RENAMED.get(node["class_name"]) or node["class_name"]
        own = node.get("config", {})
        if kind == "Lambda":
            raise _lambda(self._path, own)
        if kind == "Sequential":
            return _node("keras", "Sequential", self._sequential(own))
        if kind in _FUNCTIONAL and isinstance(own, dict) and "layers" in own:
            return _node("keras", "Model", self._functional(own))
        if _is_built_in(kind):
            made = _node("keras.layers", kind, self._settings(kind, own))
            return self._unmasked(made) if kind in _WITHOUT_MASKS else self._merging(made)
        if kind in _OF_APPLICATIONS and keras.saving.get_registered_object(kind) is None:
            module = _OF_APPLICATIONS[kind].__module__
            return _node(module, kind, self._settings(kind, own))
        if keras.saving.get_registered_object(kind) is None:
            raise _unknown(self._path, kind, own)
        name = {"name": kept_name(own["name"])} if "name" in own else {}
        registered = {"class_name": kind.rsplit(">")[-1], "registered_name": kind, "module": None}
        return {**registered, "config": {**own, **name}}

    def _merging(self, made: Config) -> Config:
        """A layer that merges masks as in Keras 2, where one may arrive."""
        kind = MERGING.get(made["class_name"])
        if kind is None or not self._is_masked(made["config"].get("name", "")):
            return made
        return _of_class(kind, made)

    def _unmasked(self, made: Config) -> Config:
        """A layer that hands no mask on, as in Keras 2, where one may arrive."""
        if not self._is_masked(made["config"].get("name", "")):
            return made
        kind, settings = STAND_INS.get(made["class_name"], (made["class_name"], {}))
        if kind not in UNMASKED:
            return made
        return _of_class(UNMASKED[kind], {**made, "config": {**made["config"], **settings}})

    def _sequential(self, config: Config | list[Any]) -> Config:
        # Keras before 2.2.3 wrote the layers alone.
        if isinstance(config, list):
            config = {"name": "sequential", "layers": config}
        layers = [dict(each) for each in config["layers"]]
        first: Config = layers[0] if layers else {"class_name": "", "config": {}}
        shape = _input_shape(first) or config.get("build_input_shape")
        if first["class_name"] != "InputLayer" and shape is not None:
            kind = first["config"].get("dtype", "float32")
            kind = "int32" if first["class_name"] == "Embedding" else _policy(kind)
            entry = {"batch_input_shape": shape, "dtype": kind, "name": f"{config['name']}_input"}
            layers.insert(0, {"class_name": "InputLayer", "config": entry})
        inner = [self.layer(each) for each in layers]
        return {"name": kept_name(config["name"]), "layers": inner} | _trainable(config)

    def _functional(self, config: Config) -> Config:
        nodes = [dict(each) for each in config["layers"]]
        offsets = _call_offsets(config)

        def refer(place: Sequence[Any]) -> Reference:
            name, call, output = place[:3]
            return Reference(name, call - offsets.get(name, 0), output)

        names = {node["name"] for node in nodes}
        models = {node["name"] for node in nodes if node["class_name"] in _FUNCTIONAL}
        layers: list[Config] = []
        for node in nodes:
            calls = [_arguments(call, names, refer) for call in node["inbound_nodes"]]
            layers += self._called_layers(node, calls)

        def end(place: Sequence[Any]) -> list[Any]:
            to = refer(place)
            # Keras counts a functional model's own graph as its first call, in this place alone.
            return [kept_name(to.layer), to.call + (to.layer in models), to.place]

        ends = {
            key: _ends(_without_list_of_one(config[key]), names, end)
            for key in ("input_layers", "output_layers")
        }
        return {"name": kept_name(config["name"]), "layers": layers, **ends} | _trainable(config)

    def _called_layers(self, node: Config, calls: list[tuple[Any, Config]]) -> Iterator[Config]:
        """A layer with its calls; an operation of TensorFlow becomes a layer."""
        name = kept_name(node["name"])
        if node["class_name"] == "TFOpLambda":
            function = node["config"]["function"]
            if len(calls) != 1:
                raise self._unknown_operation(function, name)
            try:
                made = _operation(name, as_layer(function, calls[0][0], calls[0][1]))
            except NotRewritten:
                raise self._unknown_operation(function, name) from None
            yield self._unmasked(made)
            return
        if node["class_name"] in ("SlicingOpLambda", "TensorFlowOpLayer"):
            config = node["config"]
            raise self._unknown_operation(str(config.get("function", name)), name)
        made = self.layer(node)
        made["name"] = made["config"]["name"] = name
        if made["class_name"] in _RECURRENT:
            calls = [_with_state(*call) for call in calls]
            asked = f"{name}_mask"
            if any("initial_state" in others for _, others in calls) and self._is_masked(asked):
                yield _mask_of(asked, [first for first, _ in calls])
                calls = [
                    (first, {**others, "mask": Reference(asked, number, 0)})
                    for number, (first, others) in enumerate(calls)
                ]
        made["inbound_nodes"] = [
            {"args": [] if first is None else [_tensors(first)], "kwargs": _tensors(others)}
            for first, others in calls
        ]
        yield made

    def _unknown_operation(self, function: str, name: str) -> UserError:
        return UserError(
            f"{self._path}: {name} is TensorFlow's {function}, called between layers, which has no "
            "built-in layer in Keras 3 that does the same; put one in its place where the model's code "
            "is (keras.layers or keras.ops)."
        )

    def _settings(self, kind: str, config: Mapping[str, Any]) -> Config:
        """A built-in layer's settings."""
        found = dict(config)
        if "name" in found:
            found["name"] = kept_name(found["name"])
        if kind == "InputLayer":
            shape = found.pop("batch_input_shape", found.pop("batch_shape", None))
            for key in ("sparse", "ragged"):
                if found.get(key):
                    raise self._unknown_setting(kind, key, found[key])
            kept = {key: found[key] for key in ("name", "dtype") if key in found}
            return {**kept, "batch_shape": shape}
        if "alpha" in found and kind == "LeakyReLU":
            found["negative_slope"] = found.pop("alpha")
        if kind == "GRU" and "reset_after" not in found:
            found["reset_after"] = False
        axis = found.get("axis")
        if kind == "BatchNormalization" and isinstance(axis, list):
            found["axis"] = axis[0]
        for key in _INNER:
            if isinstance(found.get(key), dict):
                found[key] = self.layer(found[key])
        if isinstance(found.get("cells"), list):
            found["cells"] = [self.layer(each) for each in found["cells"]]
        if "dtype" in found:
            found["dtype"] = _policy(found["dtype"])
        found = {key: _part(key, value) for key, value in found.items()}
        return {key: value for key, value in found.items() if self._is_kept(kind, key, value)}

    def _is_kept(self, kind: str, key: str, value: Any) -> bool:
        if key in _accepted(kind):
            return not (key.endswith("_initializer") and not _is_initializer(value))
        if key in _WITHOUT_MEANING or key.endswith("_initializer") or _is_absent(value):
            return False
        raise self._unknown_setting(kind, key, value)

    def _unknown_setting(self, kind: str, key: str, value: Any) -> UserError:
        return UserError(
            f"{self._path}: a {kind} has {key}: {value!r:.60}, which Keras 3 does not know: set it "
            "otherwise where the model's code is."
        )


def _is_absent(value: Any) -> bool:
    """Whether a setting is what it would be if it were not there; True is not, though it equals 1."""
    return any(type(value) is type(each) and value == each for each in _ABSENT)


def _node(module: str, kind: str, config: Config) -> Config:
    return {"module": module, "class_name": kind, "config": config, "registered_name": None}


def _operation(name: str, made: LayerCall) -> Config:
    tensors = _tensors(made.inputs[0] if len(made.inputs) == 1 else list(made.inputs))
    node = _node("keras.layers", made.kind, {"name": name, **made.config})
    return {**node, "name": name, "inbound_nodes": [{"args": [tensors], "kwargs": {}}]}


def _of_class(kind: type, node: Config) -> Config:
    """A node with another class, a registered one."""
    name = keras.saving.get_registered_name(kind)
    return {**node, "module": None, "class_name": kind.__name__, "registered_name": name}


def _mask_of(name: str, inputs: Sequence[Any]) -> Config:
    """What gives the masks of tensors."""
    calls = [{"args": [_tensors(each)], "kwargs": {}} for each in inputs]
    return _of_class(MaskOf, {"name": name, "config": {"name": name}, "inbound_nodes": calls})


def _tensors(value: Any) -> Any:
    """References as Keras 3 writes tensors down; it looks at where they come from alone."""
    if isinstance(value, Reference):
        history = [kept_name(value.layer), value.call, value.place]
        told = {"shape": [None], "dtype": "float32", "keras_history": history}
        return {"class_name": "__keras_tensor__", "config": told}
    if isinstance(value, dict):
        return {key: _tensors(each) for key, each in value.items()}
    return [_tensors(each) for each in value] if isinstance(value, list) else value


def _arguments(call: Any, names: set[str], refer: Any) -> tuple[Any, Config]:
    """A call's first argument and its keywords, with references in the place of tensors."""

    def value(given: Any) -> Any:
        if _is_place(given, names):
            return refer(given)
        return [value(each) for each in given] if isinstance(given, list) else given

    if isinstance(call, dict):
        return {key: value(each) for key, each in call.items()}, {}
    entries = [call] if call and isinstance(call[0], str) else call
    keywords: Config = next((each[3] for each in entries if len(each) > 3 and each[3]), {})
    # The first of what has no place is a number: [_CONSTANT_VALUE, -1, number, keywords].
    tensors = [each[2] if each[0] == _CONSTANT else refer(each) for each in entries]
    first = None if not tensors else tensors[0] if len(tensors) == 1 else tensors
    # Keras 2 hands on that a layer is not trained by its keyword; None is every layer's default.
    kept = {key: value(each) for key, each in keywords.items() if each is not None}
    return first, kept


def _with_state(first: Any, keywords: Config) -> tuple[Any, Config]:
    """A recurrent layer's call; Keras 2 wrote its initial state behind the sequence."""
    if not isinstance(first, list):
        return first, keywords
    return first[0], {**keywords, "initial_state": first[1:]}


def _is_place(value: Any, names: set[str]) -> bool:
    return (
        isinstance(value, list)
        and len(value) in (3, 4)
        and isinstance(value[0], str)
        and value[0] in names
        and all(isinstance(each, int) for each in value[1:3])
    )


def _without_list_of_one(places: Any) -> Any:
    """A model's inputs or outputs: Keras 2 wrote a single tensor as a list, and read it as a tensor."""
    return places[0] if isinstance(places, list) and len(places) == 1 else places


def _ends(places: Any, names: set[str], end: Any) -> Any:
    """Inputs or outputs in their structure."""
    if _is_place(places, names):
        return end(places)
    if isinstance(places, dict):
        return {key: _ends(each, names, end) for key, each in places.items()}
    return [_ends(each, names, end) for each in places]


def _call_offsets(config: Config) -> dict[str, int]:
    """At what number the calls of nested models begin: some count their own graph as the first."""
    nested = {node["name"] for node in config["layers"] if node["class_name"] in _MODELS}
    names = {node["name"] for node in config["layers"]}
    numbers: dict[str, set[int]] = {}

    def visit(value: Any) -> None:
        if isinstance(value, list) and _is_place(value[:3], names):
            numbers.setdefault(value[0], set()).add(value[1])
        for part in value.values() if isinstance(value, dict) else value:
            if isinstance(part, list | dict):
                visit(part)

    visit([node["inbound_nodes"] for node in config["layers"]])
    visit([config["input_layers"], config["output_layers"]])
    return {name: 1 for name in nested if numbers.get(name) and 0 not in numbers[name]}


def _part(key: str, value: Any) -> Any:
    """A setting that is an object of its own or a function: initializers, activations, regularizers."""
    if key.endswith("activation"):
        if value == "hard_sigmoid":
            return keras.saving.serialize_keras_object(hard_sigmoid_of_keras_2)
        # tf.nn.softmax gave its own name.
        return "softmax" if value == "softmax_v2" else value
    if (
        isinstance(value, dict)
        and isinstance(value.get("config"), dict)
        and key.endswith("_initializer")
    ):
        settings = {name: each for name, each in value["config"].items() if name != "dtype"}
        return {**value, "config": settings}
    return value


def _is_initializer(value: Any) -> bool:
    """Whether Keras 3 has it; where weights are stored, it does not matter how they began."""
    try:
        keras.initializers.get(value)
    except (TypeError, ValueError):
        return False
    return True


def _policy(dtype: Any) -> Any:
    """A type's or a policy's name."""
    return dtype["config"]["name"] if isinstance(dtype, dict) else dtype


def _input_shape(layer: Config) -> Any:
    """The shape that a Sequential model's first layer was given."""
    config = layer.get("config", {})
    if not isinstance(config, dict):
        return None
    if layer["class_name"] in _MODELS and config.get("layers"):
        return _input_shape(config["layers"][0])
    return config.get("batch_input_shape")


def _trainable(config: Mapping[str, Any]) -> Config:
    return {"trainable": config["trainable"]} if config.get("trainable") is False else {}


def _is_built_in(kind: str) -> bool:
    found = getattr(keras.layers, kind, None)
    return isinstance(found, type) and issubclass(found, keras.layers.Layer)


def _accepted(kind: str) -> set[str]:
    """The settings that a built-in layer takes, its parents' where it hands them on."""
    names: set[str] = set()
    for parent in (_OF_APPLICATIONS.get(kind) or getattr(keras.layers, kind)).__mro__:
        if "__init__" in vars(parent):
            parameters = inspect.signature(parent.__init__).parameters
            names |= set(parameters)
            if not any(each.kind is each.VAR_KEYWORD for each in parameters.values()):
                break
    return names - {"self", "args", "kwargs"}


def _called(config: Any) -> str:
    name = config.get("name") if isinstance(config, dict) else None
    return f" ({name})" if name else ""
