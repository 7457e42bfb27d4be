"""Writes a model as a LiteRT file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, Unpack, get_args

import numpy as np
from rich.table import Table

from pocketkube.api.data import Data, are_split, dataset_of, inputs_of
from pocketkube.api.keywords import (
    ExportKeywords,
    refuse_keywords,
    refuse_unknown,
    settings_of,
    settings_shown,
)
from pocketkube.api.network import ModelLike, Network, network_of, path_of, refuse_order
from pocketkube.api.shown import Shown
from pocketkube.api.value_range import asked, at_chance, refuse_unknown_range, unvarying
from pocketkube.benchmarking.samples import random_samples
from pocketkube.console.progress import working
from pocketkube.data.batches import materialize
from pocketkube.data.dataset import Arrays
from pocketkube.deploy import SPARSE_FORMATS, check_agreement, notes_on_components
from pocketkube.deploy.agreement import Agreement
from pocketkube.deploy.presumed import presumed_measure
from pocketkube.errors import RejectedFile, UserError, to_use_instead
from pocketkube.figures import size
from pocketkube.files.whole import replaced_file
from pocketkube.measures import TaskMeasure
from pocketkube.measures.wording import percent
from pocketkube.number_formats import NumberFormat
from pocketkube.spec.sections import Quantize, QuantizeWeights
from pocketkube.stages.configs import Learning
from pocketkube.stages.export import CHECKED, converted, notes_on_file
from pocketkube.stages.formats import file_format, remedy
from pocketkube.stages.tasks import settled_task

# Inputs, what the outputs are, and sentences without their end on outputs that tell nothing.
HeldAgainst: TypeAlias = tuple[Arrays, TaskMeasure, list[str]]


@dataclass(frozen=True, repr=False)
class Exported(Shown):
    """A LiteRT file that was written.

    Attributes:
        path: The file.
        number_format: "float32", "float16", "dynamic" or "int8".
        size_bytes: Its size.
        agreement: How far it does what its model does, on the examples that were given, or on random
            numbers.
        on_random_inputs: Whether there were no examples: random numbers say little of real ones.
        notes: Sentences for the user.
    """

    path: Path
    number_format: NumberFormat
    size_bytes: int
    agreement: Agreement
    on_random_inputs: bool
    notes: tuple[str, ...]

    @property
    def remarks(self) -> Sequence[str]:
        """The notes."""
        return self.notes

    @property
    def in_brief(self) -> str:
        """The file, its numbers and its size."""
        return f"{self.path}: {self.number_format}, {size(self.size_bytes)}"

    def table(self) -> Table:
        """What was written."""
        shown = Table(title=str(self.path), show_header=False)
        shown.add_column("")
        shown.add_column("", justify="right")
        shown.add_row("Number format", self.number_format)
        shown.add_row("File size", size(self.size_bytes))
        of = "random inputs" if self.on_random_inputs else "examples"
        examples = f"on {self.agreement.examples} {of}"
        shown.add_row(f"Agreement with the model, {examples}", percent(self.agreement.share))
        for output in self.agreement.outputs:
            named = f" of {output.name}" if len(self.agreement.outputs) > 1 else ""
            shown.add_row(f"Error{named} (RMS)", f"{output.error:.3g}")
            shown.add_row(f"Spread of the model's output{named}", f"{output.spread:.3g}")
        return shown


@settings_shown
def export(
    model: ModelLike,
    path: str | Path,
    data: Data = None,
    *,
    number_format: NumberFormat | None = None,
    **settings: Unpack[ExportKeywords],
) -> Exported:
    """Writes a model as a LiteRT file that takes one example at a time.

    Args:
        model: A Keras model, or what another function gave. One that `quantize` has put on levels
            becomes a file of integers, any other one of floats.
        path: The .tflite file to write.
        data: Examples, with or without labels, to calibrate on and to hold the file against its model;
            without, random numbers say how far it is, and nothing is refused for that.
        number_format: "int8", "dynamic" (8-bit weights) or "float16", where the model's own levels do
            not say it; int8 needs data.
        settings: Those of a spec's quantize_int8, with `number_format`: calibration_examples,
            input_type, output_type, min_agreement.

    Returns:
        What was written.

    Raises:
        RejectedFile: If the file strays from its model; it is kept beside `path`, to look at.
        UserError: If the model cannot be converted, or an argument is wrong.

    Example:
        >>> import tempfile, pocketkube as pk
        >>> from pathlib import Path
        >>> from pocketkube.models import build_model
        >>> model = build_model("lenet", (28, 28, 1), 10, width=0.25)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     pk.export(model, Path(folder) / "net.tflite", number_format="float16").number_format
        'float16'
    """
    place = path_of("export", path, "net.tflite")
    if place.suffix != ".tflite":
        raise UserError(f"export: {place} has to end in .tflite.")
    network = network_of("export", model)
    wanted_settings = _settings(network, number_format, settings)
    wanted = file_format(wanted_settings)
    sparse = network.is_sparse and wanted.numbers in SPARSE_FORMATS

    def calibration(count: int) -> Arrays:
        if data is None:
            raise UserError(
                "export: int8 needs examples to calibrate on; give data=x, or quantize the model first."
            )
        return inputs_of(data, network.model, "export", count, 0)

    held_against = None if data is None else _examples(network, data)
    with working("convert", to=wanted.numbers):
        content = converted(network.bundle, wanted, sparse=sparse, calibration=calibration)
    examples, measure, doubts = held_against or _random(network)
    on_levels = any(isinstance(step.settings, QuantizeWeights) for step in network.steps)
    try:
        with working("compare", examples=str(len(examples[0]))):
            agreement = check_agreement(
                content,
                network.model,
                examples,
                0.0 if data is None else wanted.min_agreement,
                measure,
                remedy(wanted_settings, on_levels=on_levels, at_chance=doubts),
            )
    except RejectedFile as error:
        raise error.keep(place.with_suffix(".rejected.tflite")) from error
    with replaced_file(place) as aside:
        aside.write_bytes(content)
    notes = (
        *asked(doubts),
        *notes_on_components(agreement),
        *notes_on_file(content, network.model, wanted, sparse=sparse),
    )
    return Exported(place, wanted.numbers, len(content), agreement, data is None, notes)


def _settings(
    network: Network, number_format: NumberFormat | None, given: Mapping[str, Any]
) -> Quantize | QuantizeWeights | None:
    refuse_keywords("export", given, {"format": "is called number_format here"})
    refuse_unknown("export", Quantize, given)
    if number_format is not None and number_format not in get_args(NumberFormat):
        instead = to_use_instead(str(number_format), get_args(NumberFormat))
        raise UserError(f"export: number_format {number_format!r} is not known{instead}.")
    if number_format in (None, "float32"):
        if given:
            raise UserError(
                f"export: {', '.join(given)}: goes with number_format int8, float16 or dynamic; "
                f"received number_format {number_format!r}."
            )
        return network.numbers if number_format is None else None
    asked = settings_of("export", Quantize, {**given, "name": f"quantize_{number_format}"})
    refuse_order("export", network, asked)
    return asked


def _examples(network: Network, data: Data) -> HeldAgainst:
    """What the file is held against its model on: test examples where there are labels."""
    model = network.model
    if not are_split(data):
        inputs, measure = inputs_of(data, model, "export", CHECKED, 0), measure_of(network)
        return inputs, measure, unvarying(model, inputs, measure)
    dataset = dataset_of(data, model, "export")
    task = network.task or settled_task(Learning(), model, dataset)
    inputs = materialize(dataset.test, CHECKED, 0)[0]
    if not dataset.is_labelled:
        return inputs, task.measure, unvarying(model, inputs, task.measure)
    refuse_unknown_range("export", network, dataset)
    return inputs, task.measure, at_chance(network, dataset)


def _random(network: Network) -> HeldAgainst:
    shapes = tuple(tuple(x.shape) for x in network.model.inputs)
    types = tuple(np.dtype(x.dtype) for x in network.model.inputs)
    return random_samples(shapes, types).inputs, measure_of(network), []


def measure_of(network: Network) -> TaskMeasure:
    """How the outputs of a network are compared: as its labels say, or as they look."""
    if network.task is not None:
        return network.task.measure
    return presumed_measure(network.model)
