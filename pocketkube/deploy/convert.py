"""Converts a Keras model to a LiteRT file in one of four number formats."""

import re
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from keyword import iskeyword
from pathlib import Path
from typing import Any, get_args

import keras
import numpy as np
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema

from pocketkube.console.quiet import captured_stderr
from pocketkube.deploy.argmax import plain_argmax
from pocketkube.deploy.culprit import fatal_layer, kinds
from pocketkube.deploy.integers import IntegerKernel, put_integers, with_room
from pocketkube.deploy.one_hot import with_codes_rescaled
from pocketkube.deploy.recurrent import unrolled, without_dropout
from pocketkube.deploy.reversals import with_reversals_rescaled
from pocketkube.errors import UserError
from pocketkube.files.whole import temporary_folder
from pocketkube.graph.not_called import naming_what_cannot_be_called
from pocketkube.native.child import Child, ChildDied, ChildRefused
from pocketkube.native.convert_saved_model import CALIBRATION, LITERT, SAVED_MODEL, SIGNATURE
from pocketkube.number_formats import EndType, NumberFormat
from pocketkube.plain_errors import out_of_memory
from pocketkube.shapes import refuse_other_shapes
from pocketkube.structure import arranged, input_names, output_names
from pocketkube.traceable import refuse_untraceable

Arrays = tuple[np.ndarray, ...]
# LiteRT reads no integer weights that are stored sparse.
SPARSE_FORMATS: tuple[NumberFormat, ...] = ("float32", "float16")

# TensorFlow's converter, which some models end with a segmentation fault.
_CONVERTER = Child("pocketkube.native.convert_saved_model")
# What it says of an operation that only full TensorFlow has, and of one that it fails at.
_UNKNOWN = re.compile(r"'tf\.(\w+)' op is neither a custom op nor a flex op")
_FAILED = re.compile(r'error: loc\(callsite\(fused\["(\w+):"')


def convert_litert(
    model: keras.Model,
    number_format: NumberFormat,
    *,
    calibration: Arrays | None = None,
    input_type: EndType = "float32",
    output_type: EndType = "float32",
    store_sparse: bool = False,
    rounds_itself: bool = False,
    kernels: Sequence[IntegerKernel] = (),
) -> bytes:
    """Converts a model to a LiteRT file that takes one example at a time.

    The file's inputs and outputs stand in the model's order. Its signature calls them as the model
    does: by the keys where they are a dict, else by their layers. The batch axis is
    fixed to 1, as a phone uses it, so that the runtime can plan all memory when it loads the file.

    Args:
        model: A functional or sequential Keras model whose inputs have fixed shapes.
        number_format: "float32"; "float16" (weights in half precision); "dynamic" (8-bit weights,
            activations quantized as they come); "int8" (8-bit integers, Jacob et al., 2018; the few
            operations that LiteRT has in floats only, such as ELU, stay in floats).
        calibration: One array `[N, ...]` for each input, whose ranges int8 takes; training examples.
        input_type: What the file takes; other than "float32" only with int8.
        output_type: What the file gives; likewise.
        store_sparse: Whether float files leave zeros out.
        rounds_itself: Whether the model rounds its activations to 8 bits, in `FakeQuantize` layers,
            whose ranges int8 takes instead of looking at examples.
        kernels: Kernels as the model's own whole numbers, for "int8" and "dynamic".

    Returns:
        The file's content.

    Raises:
        UserError: If inputs cannot be seen or a shape is open, calibration is missing or does not fit,
            types and format contradict, or an operation of the model is not there in LiteRT in this
            format.
    """
    _refuse_unknown(number_format, input_type, output_type)
    _refuse_what_does_not_fit(model, number_format, input_type, output_type)
    if number_format == "int8" and not rounds_itself:
        _refuse_other_examples(model, calibration)
    ends = (_plain_names(input_names(model), of_inputs=True), _plain_names(output_names(model)))
    wanted = _Wanted(number_format, input_type, output_type, store_sparse, rounds_itself)
    try:
        content = _converted(model, ends, wanted, calibration)
    except ChildDied as death:
        if death.is_of_memory:
            raise out_of_memory() from death
        raise _death(model, wanted, death.cause) from death
    except ChildRefused as refusal:
        meaning = refusal.meaning or _refusal(model.name, wanted, str(refusal), refusal.printed)
        raise meaning from refusal
    if kernels and number_format in ("int8", "dynamic"):
        content = put_integers(content, kernels)
    if number_format == "int8":
        content = with_codes_rescaled(with_reversals_rescaled(with_room(content)))
    return _in_order(content, *ends)


@dataclass(frozen=True)
class _Wanted:
    """What the converter is asked for; see `convert_litert`."""

    number_format: NumberFormat
    input_type: EndType
    output_type: EndType
    store_sparse: bool
    rounds_itself: bool

    @property
    def calibrated(self) -> bool:
        """Whether ranges come from examples."""
        return self.number_format == "int8" and not self.rounds_itself


def _converted(
    model: keras.Model,
    ends: tuple[Sequence[str], Sequence[str]],
    wanted: _Wanted,
    calibration: Arrays | None,
) -> bytes:
    """What the converter makes of a model, its inputs and outputs in an order of their own."""
    names_in, _ = ends
    with temporary_folder() as folder:
        # It imports TensorFlow while the model is written.
        _CONVERTER.start()
        # Calibration dies of loops; floats keep them.
        steps = unrolled(model) if wanted.calibrated else nullcontext()
        with steps, without_dropout(model), plain_argmax(model), captured_stderr():
            _save(folder, model, ends, wanted)
        if wanted.calibrated:
            assert calibration is not None
            arrays: Any = {
                f"x{place}": np.asarray(array, dtype=tensor.dtype)
                for place, (tensor, array) in enumerate(zip(model.inputs, calibration, strict=True))
            }
            np.savez(folder / CALIBRATION, **arrays)
        _CONVERTER.ask(
            {
                "folder": str(folder),
                "number_format": wanted.number_format,
                "store_sparse": wanted.store_sparse and wanted.number_format in SPARSE_FORMATS,
                "input_type": wanted.input_type,
                "output_type": wanted.output_type,
                "calibration": list(names_in) if wanted.calibrated else None,
                "signatures": [SIGNATURE],
            }
        )
        return (folder / LITERT).read_bytes()


def _save(
    folder: Path, model: keras.Model, ends: tuple[Sequence[str], Sequence[str]], wanted: _Wanted
) -> None:
    """Writes a model of one example, with named ends, as TensorFlow saves functions."""
    names_in, names_out = ends
    signature = [
        tf.TensorSpec((1, *tensor.shape[1:]), tensor.dtype, name=name)
        for tensor, name in zip(model.inputs, names_in, strict=True)
    ]

    @tf.function(autograph=False, input_signature=signature)
    def run(*inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        outputs = keras.tree.flatten(model(arranged(model, inputs), training=False))
        return dict(zip(names_out, outputs, strict=True))

    # A Keras model is not saved by TensorFlow's own means with its variables initialised.
    owner = tf.Module()
    owner.run = run
    with naming_what_cannot_be_called(model):
        function = run.get_concrete_function()
    if wanted.calibrated:
        _refuse_changing(model.name, function, wanted)
    owner.weights = list(function.graph.variables)
    tf.saved_model.save(owner, str(folder / SAVED_MODEL), signatures={SIGNATURE: function})


def _refuse_changing(name: str, function: Any, wanted: _Wanted) -> None:
    """Calibration knows no variables that a network writes: it takes them for tensors."""
    written = {id(op.inputs[0]) for op in function.graph.get_operations() if op.type in WRITING}
    handles = {id(handle) for handle, inside in function.graph.captures if id(inside) in written}
    changed = {
        each.name.partition(":")[0] for each in function.graph.variables if id(each.handle) in handles
    }
    # Of random numbers the converter says that LiteRT draws none, in whatever format.
    changed = {each for each in changed if not each.endswith(SEED)}
    if changed:
        listed = ", ".join(sorted(changed))
        raise UserError(
            f"{name}: int8 needs a network that keeps nothing from one example to the next, and this "
            f"one changes variables with every call: {listed}; leave that out, as stateful=True, or "
            f"{_instead(wanted)}."
        )


SEED = "seed_generator_state"
WRITING = ("AssignVariableOp", "AssignAddVariableOp", "AssignSubVariableOp")


def _refuse_unknown(number_format: str, input_type: str, output_type: str) -> None:
    for name, value, known in (
        ("number_format", number_format, get_args(NumberFormat)),
        ("input_type", input_type, get_args(EndType)),
        ("output_type", output_type, get_args(EndType)),
    ):
        if value not in known:
            raise UserError(
                f"convert_litert: {name} has to be one of {', '.join(known)}; received {value!r}."
            )


def _refuse_what_does_not_fit(
    model: keras.Model,
    number_format: str,
    input_type: str,
    output_type: str,
) -> None:
    name = model.name
    # Models that are subclassed, or not built, have none.
    if not getattr(model, "inputs", None):
        raise UserError(
            f"{name}: its inputs cannot be seen: build it, with the functional API or as a Sequential; "
            f"received a {type(model).__name__} without any."
        )
    for tensor in model.inputs:
        if None in tensor.shape[1:]:
            raise UserError(
                f"{name}: input {tensor.name} has the open shape {tensor.shape[1:]}; build the model "
                "with a fixed input shape, as in (224, 224, 3), to convert it."
            )
    refuse_untraceable(model, saved=True)
    if number_format != "int8":
        if {input_type, output_type} != {"float32"}:
            raise UserError(
                f"{name}: {input_type} input and {output_type} output need the number format int8, "
                f"not {number_format}."
            )
        return
    if input_type != "float32":
        for tensor in model.inputs:
            if not str(tensor.dtype).startswith("float"):
                raise UserError(
                    f"{name}: input {tensor.name} takes {tensor.dtype}, which is not quantized; "
                    "leave input_type at float32."
                )


def _refuse_other_examples(model: keras.Model, calibration: Arrays | None) -> None:
    name = model.name
    if calibration is None or any(len(array) == 0 for array in calibration):
        raise UserError(f"{name}: int8 needs calibration examples; give some of the training data.")
    given = [array.shape[1:] for array in calibration]
    wanted = [tuple(tensor.shape[1:]) for tensor in model.inputs]
    refuse_other_shapes("calibration examples", given, name, wanted)


def _plain_names(names: Sequence[str], *, of_inputs: bool = False) -> list[str]:
    """Signatures take letters, digits and underscores, and every name once.

    TensorFlow makes a method's arguments of inputs: Python's own words cannot be any, and A and a are
    the same.
    """
    plain: dict[str, str] = {}
    for name in names:
        word = re.sub(r"\W", "_", name, flags=re.ASCII)
        # TensorFlow demands a letter first.
        word = word if word[:1].isalpha() else f"x{word}"
        word = f"{word}_" if of_inputs and (iskeyword(word) or word == "self") else word
        unique, number = word, 1
        while (key := unique.lower() if of_inputs else unique) in plain:
            unique, number = f"{word}_{number}", number + 1
        plain[key] = unique
    return list(plain.values())


def _death(model: keras.Model, wanted: _Wanted, how: str) -> UserError:
    """What the user can do where the converter died; the layer that it dies of is found by trying."""

    def is_fatal(part: keras.Model) -> bool:
        zeros = tuple(np.zeros((2, *tensor.shape[1:]), tensor.dtype) for tensor in part.inputs)
        ends = (
            [f"x{place}" for place in range(len(part.inputs))],
            [f"y{place}" for place in range(len(part.outputs))],
        )
        try:
            _converted(part, ends, wanted, zeros)
        except ChildDied:
            return True
        except Exception:  # Another error than the one that is looked for.
            return False
        return False

    instead = _instead(wanted)
    layer = fatal_layer(model, is_fatal)
    if layer is None:
        return UserError(
            f"{model.name}: TensorFlow's converter to {wanted.number_format} LiteRT dies of it, by "
            f"{how}, though of none of its layers alone, which are {kinds(model)}; {instead}."
        )
    return UserError(
        f"{model.name}: TensorFlow's converter to {wanted.number_format} LiteRT dies of the layer "
        f"{layer.name} ({type(layer).__name__}), by {how}; replace it, or {instead}."
    )


def _instead(wanted: _Wanted) -> str:
    """What may go where a format does not."""
    if wanted.number_format == "int8" and wanted.rounds_itself:
        # Its levels are stored in no other format.
        return "quantize it with activation_bits float"
    others = [one for one in ("float16", "dynamic") if one != wanted.number_format]
    return f"convert to {' or '.join(others)} (quantize_{others[0]})"


def _refusal(name: str, wanted: _Wanted, error: str, printed: str) -> UserError:
    said = f"{error}\n{printed}"
    operations = sorted(set(_UNKNOWN.findall(said)))
    if operations:
        return UserError(
            f"{name}: LiteRT has no operation for TensorFlow's {', '.join(operations)}; replace the "
            "layers that use them."
        )
    if failed := _FAILED.search(said):
        return UserError(
            f"{name}: TensorFlow's converter to {wanted.number_format} LiteRT fails at its operation "
            f"{failed[1]}; replace the layer that uses it, or {_instead(wanted)}."
        )
    cause = next((line for line in said.splitlines() if "error" in line.lower()), error)
    return UserError(f"{name}: cannot be converted to {wanted.number_format} LiteRT: {cause[:300]}")


def _in_order(content: bytes, names_in: Sequence[str], names_out: Sequence[str]) -> bytes:
    """Puts inputs and outputs into the model's order, which the converter does not keep.

    Only the numbers in the two lists of the flatbuffer change places; nothing moves.
    """
    buffer = bytearray(content)
    root = schema.Model.GetRootAs(buffer, 0)
    signature, graph = root.SignatureDefs(0), root.Subgraphs(0)
    ends = (
        (graph.InputsAsNumpy(), signature.Inputs, signature.InputsLength(), names_in),
        (graph.OutputsAsNumpy(), signature.Outputs, signature.OutputsLength(), names_out),
    )
    for listed, entry, count, names in ends:
        number = {
            entry(position).Name().decode(): entry(position).TensorIndex() for position in range(count)
        }
        ordered = [number[name] for name in names]
        if sorted(ordered) != sorted(listed.tolist()):
            raise UserError(f"The converter gave {sorted(number)} where {list(names)} were wanted.")
        listed[:] = ordered
    return bytes(buffer)
