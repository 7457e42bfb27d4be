"""Which LiteRT number format a stage of the spec stands for."""

from pocketkube.deploy.convert import NumberFormat
from pocketkube.spec.schema import Quantize

FORMATS: dict[str, NumberFormat] = {
    "quantize_int8": "int8",
    "quantize_float16": "float16",
    "quantize_dynamic": "dynamic",
}


def number_format(settings: Quantize | None) -> NumberFormat:
    """The format of a quantising stage; float32 without one."""
    return FORMATS[settings.name] if settings else "float32"
