"""What a latency table holds, as it is read from and written to JSON."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from pocketkube.errors import UserError
from pocketkube.files.whole import write_text

SCHEMA_VERSION = 1


class _Facts(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Device(_Facts):
    """Where times were measured.

    Attributes:
        cpu: The processor's name.
        cpu_features: Those of its instruction sets that matter.
        machine: Its architecture.
        litert_version: The runtime's version.
        emulated_on: Architecture of the processor that played `machine`, whose times then mean nothing;
            None where it was real.
    """

    cpu: str
    cpu_features: tuple[str, ...]
    machine: str
    litert_version: str
    emulated_on: str | None = None

    def is_at(self, cpu: str, machine: str, emulated_on: str | None) -> bool:
        """Whether a machine is of this kind."""
        return (self.cpu, self.machine, self.emulated_on) == (cpu, machine, emulated_on)

    def __str__(self) -> str:
        emulated = f", emulated on {self.emulated_on}" if self.emulated_on else ""
        return f"{self.cpu} ({self.machine}{emulated})"


class KindTimes(_Facts):
    """How long one kind of operation takes.

    Attributes:
        kind: The kind, in words.
        axes: What its size is counted in, one name or two: "in_channels", "out_channels", "channels",
            "numbers_moved" (numbers read and written).
        levels: The sizes that were measured along each axis, in order.
        times_us: Microseconds at all combinations of levels, the last axis fastest.
        rounds: In how many rounds they were measured; of several, the fastest counts.
    """

    kind: str
    axes: tuple[str, ...]
    levels: tuple[tuple[int, ...], ...]
    times_us: tuple[Annotated[float, Field(ge=0)], ...]
    rounds: int

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        shape = [len(each) for each in self.levels]
        if len(shape) != len(self.axes) or int(np.prod(shape)) != len(self.times_us):
            raise ValueError(f"{len(self.times_us)} times for {shape} levels of {self.axes}")
        if any(list(each) != sorted(set(each)) or each[0] < 1 for each in self.levels):
            raise ValueError("levels have to rise")
        return self

    def microseconds(self, sizes: np.ndarray) -> np.ndarray:
        """Times by linear interpolation along each axis.

        Below the least level the line of the first two goes on, as far as a time from none to that of
        the least level; beyond the last level, that of the last two.

        Args:
            sizes: `[..., axes]`.

        Returns:
            Microseconds, `[...]`.
        """
        levels, times = self._grid
        places = [_place(each, sizes[..., axis]) for axis, each in enumerate(levels)]
        found = np.zeros(sizes.shape[:-1])
        for corner in np.ndindex(*(2,) * len(places)):
            weight = np.ones(sizes.shape[:-1])
            for (_, part), side in zip(places, corner, strict=True):
                weight = weight * (part if side else 1 - part)
            found += (
                weight * times[tuple(low + side for (low, _), side in zip(places, corner, strict=True))]
            )
        return np.maximum(found, 0.0)

    @cached_property
    def _grid(self) -> tuple[list[np.ndarray], np.ndarray]:
        """Levels with a level of 0 before them, and the times with what is likely there."""
        times = np.reshape(np.asarray(self.times_us, float), [len(each) for each in self.levels])
        for axis, levels in enumerate(self.levels):
            along = np.moveaxis(times, axis, 0)
            first = along[:1]
            start = np.zeros_like(first)
            if len(levels) > 1:
                slope = (along[1:2] - first) / (levels[1] - levels[0])
                start = np.clip(first - slope * levels[0], 0.0, first)
            times = np.moveaxis(np.concatenate([start, along]), 0, axis)
        return [np.array([0, *levels], float) for levels in self.levels], times


class CallCost(_Facts):
    """What a call of a whole network takes beside its operations by themselves.

    Attributes:
        overhead_us: Microseconds for each call.
        scale: What the sum of the operations' times is multiplied by.
    """

    overhead_us: float
    scale: float

    def latency_us(self, sum_us: np.ndarray | float) -> np.ndarray:
        """The latency of a network whose operations take `sum_us` together."""
        return np.asarray(self.overhead_us + self.scale * np.asarray(sum_us))


class NetworkTime(_Facts):
    """A whole network, measured beside the table.

    Attributes:
        network: Its name.
        number_format: The numbers it computes in.
        sha256: The checksum of its file.
        measured_ms: Its median latency, of the fastest round.
        predicted_ms: What the table says; None until it is complete.
        fitted: Whether the call's cost was fitted on it, among others.
        rounds: In how many rounds it was measured.
    """

    network: str
    number_format: str
    sha256: str
    measured_ms: float
    predicted_ms: float | None
    fitted: bool
    rounds: int

    @property
    def error(self) -> float | None:
        """How far the prediction is off, as a part of what was measured."""
        return None if self.predicted_ms is None else self.predicted_ms / self.measured_ms - 1


class LatencyTable(_Facts):
    """How long operations take on a device.

    Attributes:
        schema_version: Of this file.
        device: Where it was measured.
        threads: With how many threads.
        kinds: The times of each kind of operation.
        calls: The cost of a call, by number format; empty until the table is complete.
        networks: Whole networks that it was fitted on, or tried on.
        warnings: Why times are not to be trusted as they are; empty where the machine was quiet.
    """

    schema_version: Literal[1] = 1
    device: Device
    threads: int
    kinds: tuple[KindTimes, ...] = ()
    calls: dict[str, CallCost] = {}
    networks: tuple[NetworkTime, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def by_kind(self) -> dict[str, KindTimes]:
        """The times by the name of the kind."""
        return {each.kind: each for each in self.kinds}

    def call(self, number_format: str) -> CallCost:
        """The cost of a call in a number format.

        Halves are computed in as 32-bit floats once a file is loaded, and cost what these do where they
        were not measured.

        Raises:
            UserError: If it was not measured.
        """
        if not self.calls:
            raise UserError(
                "The latency table is not complete: its measurement was interrupted; start the same "
                "command again, which goes on from there."
            )
        if number_format == "float16" and "float16" not in self.calls:
            number_format = "float32"
        if number_format not in self.calls:
            raise UserError(
                f"The latency table has no times in {number_format}, only in {', '.join(self.calls)}: "
                "end the stages in one of these, or measure a table of files that the component "
                f"prepare_latency_table made with formats: [{number_format}]."
            )
        return self.calls[number_format]

    def held_out_errors(self) -> list[float]:
        """The relative errors for the networks that nothing was fitted on."""
        return [each.error for each in self.networks if not each.fitted and each.error is not None]


def read_table(file: Path) -> LatencyTable:
    """Reads a latency table.

    Raises:
        UserError: If there is none, it is damaged, or of another version.
    """
    try:
        text = file.read_text("utf-8")
    except FileNotFoundError:
        raise UserError(
            f"There is no {file}; pocketkube benchmark --table NET.keras -o {file} writes it."
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file} cannot be read: {error}") from error
    try:
        return LatencyTable.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise UserError(
            f"{file} is no latency table of version {SCHEMA_VERSION}: {place}: {first['msg']}."
        ) from error


def write_table(table: LatencyTable, file: Path) -> None:
    """Writes a latency table; a reader sees the old one or the new."""
    write_text(file, table.model_dump_json(indent=1))


def sum_of_kinds(table: LatencyTable, kinds: Sequence[str], sizes: Sequence[np.ndarray]) -> np.ndarray:
    """The times of operations, added up.

    Args:
        table: The table.
        kinds: The kind of each operation.
        sizes: The sizes of each operation, `[..., axes]`.

    Returns:
        Microseconds, `[...]`.

    Raises:
        UserError: If the table lacks a kind.
    """
    known = known_kinds(table, kinds)
    total = np.zeros(sizes[0].shape[:-1]) if sizes else np.zeros(())
    for kind, size in zip(kinds, sizes, strict=True):
        total = total + known[kind].microseconds(size)
    return total


def known_kinds(table: LatencyTable, kinds: Sequence[str]) -> dict[str, KindTimes]:
    """The times by the name of the kind, of a table that has all of some kinds.

    Raises:
        UserError: If it lacks one.
    """
    known = table.by_kind
    missing = list(dict.fromkeys(kind for kind in kinds if kind not in known))
    if missing:
        more = f" (and {len(missing) - 1} other kinds)" if len(missing) > 1 else ""
        raise UserError(
            f"The latency table has no times of {missing[0]}{more}, which the network consists of; "
            "measure one for this network, with pocketkube benchmark --table."
        )
    return known


def _place(levels: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Between which two levels sizes lie, and how far from the lower to the upper."""
    index = np.clip(np.searchsorted(levels, sizes, side="right") - 1, 0, len(levels) - 2)
    return index, (sizes - levels[index]) / (levels[index + 1] - levels[index])
