"""Runs a LiteRT file on one example at a time, in the numbers that the Keras model speaks.

Nothing here imports TensorFlow or Keras: it runs on a phone's processor as it does here.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from pocketkube.console.quiet import captured_stderr
from pocketkube.errors import UserError, first_line

# The identifier that a LiteRT flatbuffer carries at its fifth byte.
_IDENTIFIER = b"TFL3"
_REMEDY = "is damaged, or needs operations beyond LiteRT's own: convert it again"
# Converted again it would be the same.
_REMEDY_OF_CONTENT = (
    "needs operations beyond LiteRT's own, is of integers where activations have nearly no range, or "
    "is damaged: use quantize_float16 or quantize_dynamic"
)


class LiteRTModel:
    """A LiteRT file that is loaded and ready, with XNNPACK where the runtime has it.

    One that leaves the size of its inputs open is ready once `fit_inputs` has told it.

    Attributes:
        name: What messages call it.
        input_shapes: Shape of each input, with the batch axis of 1; 1 for a size that is open yet.
        input_types: Number type of each input as the file takes it.
        example_types: Number type of each input as examples have it: floats where the file takes them
            quantized.
        output_shapes: Shape of each output, with the batch axis of 1.
    """

    def __init__(self, source: Path | bytes, threads: int = 1):
        """Loads the file.

        Args:
            source: A .tflite file, or the content of one.
            threads: How many threads the kernels may use.

        Raises:
            UserError: If there is no such file, it is no LiteRT file, is cut short, or needs
                operations that LiteRT does not have.
        """
        self.name = source.name if isinstance(source, Path) else "the converted model"
        refuse_other_files(source, self.name)
        with captured_stderr() as said:
            try:
                if isinstance(source, Path):
                    self._interpreter = Interpreter(model_path=str(source), num_threads=threads)
                else:
                    self._interpreter = Interpreter(model_content=source, num_threads=threads)
                if not self._open_shapes():
                    self._interpreter.allocate_tensors()
            except (ValueError, RuntimeError) as error:
                cause = _cause(str(error)) or _cause(said.text)
                remedy = _REMEDY if isinstance(source, Path) else _REMEDY_OF_CONTENT
                raise UserError(
                    f"{self.name}: LiteRT cannot load it ({cause}); it {remedy}."
                ) from error
        self._read_details()

    def prepare(self, example: Sequence[np.ndarray]) -> tuple[np.ndarray, ...]:
        """Brings one example to what the file takes: batch axis added, quantized where it asks.

        Args:
            example: One array for each input, without the batch axis.

        Returns:
            One array `[1, ...]` for each input, for `invoke`.
        """
        return self.quantized([np.asarray(array)[np.newaxis] for array in example])

    def quantized(self, arrays: Sequence[np.ndarray]) -> tuple[np.ndarray, ...]:
        """Brings arrays of the inputs' own shapes to the numbers that the file takes, for `invoke`."""
        return tuple(
            _quantized(array, detail) for array, detail in zip(arrays, self._inputs, strict=True)
        )

    def invoke(self, prepared: Sequence[np.ndarray]) -> None:
        """Runs the model on what `prepare` made. This is what a benchmark times.

        Raises:
            UserError: If it holds an operation that LiteRT does not compute with such numbers.
        """
        for detail, array in zip(self._inputs, prepared, strict=True):
            self._interpreter.set_tensor(detail["index"], array)
        self.compute()

    def compute(self) -> None:
        """Runs the model once more on the inputs that it has.

        Raises:
            UserError: See `invoke`.
        """
        try:
            self._interpreter.invoke()
        except RuntimeError as error:
            raise UserError(
                f"{self.name}: LiteRT cannot run it ({_cause(str(error))}); convert it to other "
                "numbers."
            ) from error

    def outputs(self) -> tuple[np.ndarray, ...]:
        """The last run's outputs `[1, ...]`, as float32 where the file gives quantized numbers."""
        return tuple(
            _dequantized(self._interpreter.get_tensor(detail["index"]), detail)
            for detail in self._outputs
        )

    def predict(self, inputs: Sequence[np.ndarray]) -> Iterator[tuple[np.ndarray, ...]]:
        """Runs example after example.

        Args:
            inputs: One array `[N, ...]` for each input.

        Yields:
            For each example its outputs `[1, ...]`.
        """
        for example in zip(*inputs, strict=True):
            self.invoke(self.prepare(example))
            yield self.outputs()

    def fit_inputs(self, inputs: Sequence[np.ndarray], origin: str) -> None:
        """Checks that arrays are what the file takes; fixes axes that the file leaves open.

        Args:
            inputs: One array `[N, ...]` for each input.
            origin: Where the arrays come from, for the message.

        Raises:
            UserError: If the number of inputs or a shape is not the file's, or it takes several
                examples at a time.
        """
        if len(inputs) != len(self._inputs):
            raise UserError(
                f"{origin} has {len(inputs)} inputs, but {self.name} takes {len(self._inputs)}."
            )
        for position, (array, detail) in enumerate(zip(inputs, self._inputs, strict=True)):
            expected, received = _signature(detail), (1, *array.shape[1:])
            if expected[:1] > (1,):
                raise UserError(
                    f"{self.name} takes {expected[0]} examples at a time, and is run on one: convert "
                    "it again with a batch of 1."
                )
            open_axes = len(expected) == len(received) and -1 in expected
            if open_axes and all(a in (-1, b) for a, b in zip(expected, received, strict=True)):
                self._interpreter.resize_tensor_input(detail["index"], received)
            elif tuple(detail["shape"][1:]) != received[1:]:
                raise UserError(
                    f"{origin}: input {position} has the shape {received[1:]} an example, but "
                    f"{self.name} takes {tuple(int(axis) for axis in detail['shape'][1:])}."
                )
        with captured_stderr() as said:
            try:
                self._interpreter.allocate_tensors()
            except (ValueError, RuntimeError) as error:
                cause = _cause(str(error)) or _cause(said.text)
                raise UserError(
                    f"{self.name}: LiteRT cannot run it on {origin}, whose examples have the shapes "
                    f"{[array.shape[1:] for array in inputs]} ({cause}): give larger ones, or convert "
                    "it again."
                ) from error
        self._read_details()

    def refuse_open_sizes(self) -> None:
        """Says when only examples can tell what a file is run on.

        Raises:
            UserError: If it leaves a size open, beside the number of examples.
        """
        if shapes := self._open_shapes():
            raise UserError(
                f"{self.name} takes inputs of any size, {', '.join(map(str, shapes))}: give data, at "
                "whose size it is measured."
            )

    def _open_shapes(self) -> list[tuple[int | None, ...]]:
        """Shapes of the inputs an example, where one has an axis of any size; none elsewhere."""
        details = self._interpreter.get_input_details()
        shapes = [tuple(None if n < 0 else n for n in _signature(each)[1:]) for each in details]
        return shapes if any(None in shape for shape in shapes) else []

    def _read_details(self) -> None:
        self._inputs: list[dict[str, Any]] = self._interpreter.get_input_details()
        self._outputs: list[dict[str, Any]] = self._interpreter.get_output_details()
        self.input_shapes = tuple(tuple(map(int, detail["shape"])) for detail in self._inputs)
        self.input_types = tuple(np.dtype(detail["dtype"]) for detail in self._inputs)
        self.example_types = tuple(
            np.dtype(np.float32) if detail["quantization"][0] else kind
            for detail, kind in zip(self._inputs, self.input_types, strict=True)
        )
        self.output_shapes = tuple(tuple(map(int, detail["shape"])) for detail in self._outputs)


def _cause(text: str) -> str:
    """What LiteRT says of an error; it puts nothing between the cause and the operation's number."""
    return re.sub(r"(?<=[^\s.])\.?(?=Node number \d)", ". ", first_line(text))


def refuse_other_files(source: Path | bytes, name: str) -> None:
    """Refuses what is no LiteRT file: the runtime's own message names neither file nor remedy.

    Args:
        source: A file, or the content of one.
        name: What messages call it.

    Raises:
        UserError: If there is no such file, or it does not begin as LiteRT files do.
    """
    if isinstance(source, Path):
        if not source.is_file():
            raise UserError(f"{source}: there is no such file; give the path of a .tflite file.")
        with source.open("rb") as file:
            head = file.read(8)
    else:
        head = source[:8]
    if head[4:8] != _IDENTIFIER:
        raise UserError(f"{name} is not a LiteRT file: it does not begin as a .tflite file does.")


def _signature(detail: dict[str, Any]) -> tuple[int, ...]:
    """An input's shape in the file, -1 for an axis of any size."""
    return tuple(int(axis) for axis in detail["shape_signature"])


def _quantized(array: np.ndarray, detail: dict[str, Any]) -> np.ndarray:
    """`q = round(x / scale) + zero_point`, held within the type; a cast where there is no scale."""
    kind, (scale, zero_point) = np.dtype(detail["dtype"]), detail["quantization"]
    if not scale or np.issubdtype(kind, np.floating):
        return np.ascontiguousarray(array, dtype=kind)
    bounds = np.iinfo(kind)
    levels = np.rint(array.astype(np.float32) / np.float32(scale)) + zero_point
    return np.clip(levels, bounds.min, bounds.max).astype(kind)


def _dequantized(array: np.ndarray, detail: dict[str, Any]) -> np.ndarray:
    """`x = scale * (q - zero_point)`."""
    scale, zero_point = detail["quantization"]
    if not scale or np.issubdtype(array.dtype, np.floating):
        return array
    return np.float32(scale) * (array.astype(np.float32) - np.float32(zero_point))
