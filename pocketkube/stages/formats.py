"""Which LiteRT file a job ends in."""

from collections.abc import Sequence
from dataclasses import dataclass

from pocketkube.number_formats import LITERT_BITS, EndType, NumberFormat
from pocketkube.spec.sections import FLOAT, Quantize, QuantizeWeights
from pocketkube.spec.settings import Settings
from pocketkube.spec.stage_settings import StageSettings

FORMATS: dict[str, NumberFormat] = {
    "quantize_int8": "int8",
    "quantize_float16": "float16",
    "quantize_dynamic": "dynamic",
}
FLOAT32_AGREEMENT = 0.99


@dataclass(frozen=True)
class FileFormat:
    """How a LiteRT file is written and what it has to keep.

    Attributes:
        name: What the report calls the writing of it.
        numbers: The number format.
        min_agreement: Least agreement with the Keras model.
        calibration_examples: Training examples for ranges that the model does not know itself.
        input_type: What the file takes.
        output_type: What it gives.
    """

    name: str
    numbers: NumberFormat
    min_agreement: float = FLOAT32_AGREEMENT
    calibration_examples: int = 1
    input_type: EndType = "float32"
    output_type: EndType = "float32"


def file_format(settings: Settings | None) -> FileFormat:
    """The format of the file, by the last stage that says something of numbers.

    Weights alone on levels that LiteRT's kernels know are integers in the file, too. Activations of
    fewer than 8 bits are computed in floats that are rounded.
    """
    if isinstance(settings, Quantize):
        return FileFormat(
            settings.name,
            FORMATS[settings.name],
            settings.min_agreement,
            settings.calibration_examples,
            settings.input_type,
            settings.output_type,
        )
    numbers = _of_levels(settings) if isinstance(settings, QuantizeWeights) else "float32"
    if numbers == "float32":
        return FileFormat("export_float32", numbers)
    least = float(Quantize.model_fields["min_agreement"].default)
    return FileFormat(f"export_{numbers}", numbers, least)


def last_format(stages: Sequence[StageSettings]) -> FileFormat:
    """The format of the file that a job ends in, by the settings of its stages."""
    return file_format(stages[-1] if stages else None)


def remedy(
    settings: Quantize | QuantizeWeights | None, *, on_levels: bool, at_chance: Sequence[str] = ()
) -> str:
    """What helps against a file that strays from its model.

    Args:
        settings: Of the stage that says something of numbers.
        on_levels: Whether quantize_weights was among the stages.
        at_chance: What was said of a model that told nothing of its labels when it came: no setting of
            a file helps against that.
    """
    helps = _remedy(settings, on_levels)
    if not at_chance:
        return helps
    first = "; ".join(at_chance)
    return f"first see to the model and its data, for before compression {first}; only then {helps}"


def _remedy(settings: Quantize | QuantizeWeights | None, on_levels: bool) -> str:
    if isinstance(settings, QuantizeWeights):
        return OF_LEVELS[file_format(settings).numbers]
    if not isinstance(settings, Quantize):
        return NO_REMEDY
    if on_levels:
        return f"lower min_agreement of {settings.name}"
    return OF_FORMATS[settings.name]


NO_REMEDY = "no setting changes that: report it together with the model"
OF_LEVELS: dict[NumberFormat, str] = {
    "int8": "end the stages with quantize_int8, whose min_agreement can be lowered",
    "dynamic": "set activation_bits to 8: such a file rounds activations, and the model does not",
    "float32": NO_REMEDY,
}
OF_FORMATS = {
    "quantize_int8": "calibrate on more examples, use quantize_float16 or quantize_dynamic, or lower "
    "min_agreement",
    "quantize_dynamic": "use quantize_float16, or lower min_agreement",
    "quantize_float16": "leave quantize_float16 out, or lower min_agreement",
}


def _of_levels(settings: QuantizeWeights) -> NumberFormat:
    if settings.activation_bits == FLOAT:
        return "dynamic" if are_known(settings) else "float32"
    return "int8" if settings.activation_bits == LITERT_BITS else "float32"


def are_known(settings: QuantizeWeights) -> bool:
    """Whether LiteRT has integer kernels for weights on such levels, as they are."""
    return settings.scheme == "symmetric" and settings.granularity != "bucket"
