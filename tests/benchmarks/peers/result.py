"""The figures of one case, and of an uncompressed network: what their JSON files hold."""

from pathlib import Path
from typing import Self

from pydantic import ConfigDict, model_validator

from pocketkube.errors import UserError
from pocketkube.files.records import Document, read_document

RESULT, DENSE_FACTS, LATENCY = "result.json", "dense.json", "latency.json"


class DenseFacts(Document):
    """An uncompressed network.

    Attributes:
        score: Accuracy on the test images.
        macs: Multiply-adds of an image.
        parameters: Numbers in its weights.
        file_bytes: Of its LiteRT file, in floats.
        versions: Of what trained it.
    """

    model_config = ConfigDict(extra="forbid")

    schema_version: int
    score: float
    macs: int
    parameters: int
    file_bytes: int
    versions: dict[str, str]


class CaseResult(Document):
    """One case: its figures, or why there are none.

    Attributes:
        cannot: Why the method cannot do it; None where it can.
        score_before: Accuracy on the test images before training; None where training is a part of
            the method, or there is none.
        score: In the end.
        trained: Whether it was trained with the budget's epochs.
        macs: Multiply-adds of an image; None for files.
        parameters: Numbers in its weights, zeros too; None for files.
        zeros: The part of the weights of kernels that is zero; None for files.
        file_bytes: Of the LiteRT file.
        gzip_bytes: Of it after gzip, as a download is compressed.
        mean_bits: Of the weights, where the file does not hold them as they are meant.
        step_seconds: Of the compression itself.
        step_processor_seconds: The same on all cores together.
        step_peak_bytes: How far memory rose in it.
        train_seconds: Of fine-tuning after it.
        notes: Sentences for the reader.
        versions: Of the packages that compressed.
    """

    model_config = ConfigDict(extra="forbid")

    schema_version: int = 1
    cannot: str | None = None
    score_before: float | None = None
    score: float | None = None
    trained: bool = False
    macs: int | None = None
    parameters: int | None = None
    zeros: float | None = None
    file_bytes: int | None = None
    gzip_bytes: int | None = None
    mean_bits: float | None = None
    step_seconds: float | None = None
    step_processor_seconds: float | None = None
    step_peak_bytes: int | None = None
    train_seconds: float | None = None
    notes: tuple[str, ...] = ()
    versions: dict[str, str]

    @model_validator(mode="after")
    def _whole(self) -> Self:
        needed = ("score", "file_bytes", "step_seconds", "step_peak_bytes")
        missing = [name for name in needed if getattr(self, name) is None]
        if self.cannot is None and missing:
            raise ValueError(f"has neither a reason nor {', '.join(missing)}")
        return self


class LatencyFacts(Document):
    """A case's LiteRT file and the uncompressed network's, in turn in one process.

    Attributes:
        latency_ms: The median of the case's.
        dense_latency_ms: The median of the uncompressed network's.
        ratio: How much faster it is.
        interval: Where the ratio lies.
    """

    model_config = ConfigDict(extra="forbid")

    schema_version: int = 1
    latency_ms: float
    dense_latency_ms: float
    ratio: float
    interval: tuple[float, float] | None = None


def finished(folder: Path) -> CaseResult | None:
    """A case's result; None where there is none, or only half of one."""
    try:
        return read_document(CaseResult, folder / RESULT)
    except UserError:
        return None
