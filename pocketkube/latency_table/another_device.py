"""The latency table of another device, which a spec names: what it foresees of a file there."""

from dataclasses import dataclass

from pocketkube.errors import UserError
from pocketkube.latency_table.measuring import sum_of_file
from pocketkube.latency_table.table import LatencyTable, read_table
from pocketkube.storage import parse_location


@dataclass(frozen=True)
class AnotherDevice:
    """A device that is known by its latency table alone.

    Attributes:
        place: Where its table is.
        table: The table.
    """

    place: str
    table: LatencyTable

    def latency_ms(self, content: bytes, number_format: str) -> float:
        """The median latency of a LiteRT file there, as the table foresees it.

        Args:
            content: The file's content.
            number_format: What the file computes in.

        Raises:
            UserError: If the table lacks a kind of operation, or the number format.
        """
        try:
            call = self.table.call(number_format)
            return float(call.latency_us(sum_of_file(self.table, content))) / 1e3
        except UserError as error:
            raise error.saying(f"target.latency_table: {self.place}: {error}") from error

    @property
    def doubts(self) -> str:
        """Why what it foresees is not sure, in words."""
        found = f"foreseen by the latency table of {self.table.device}, not measured there"
        if self.table.device.emulated_on:
            found += "; times under emulation say nothing of a real device"
        return found


def another_device(place: str) -> AnotherDevice:
    """Reads the table of `target.latency_table`.

    Args:
        place: A path, or an s3:// address.

    Raises:
        UserError: If there is none, or it is not complete, or of several threads.
    """
    with parse_location(place).fetched() as file:
        table = read_table(file)
    if not table.calls:
        raise UserError(f"target.latency_table: {place} is not complete: measure it to its end.")
    if table.threads != 1:
        raise UserError(
            f"target.latency_table: {place} is of {table.threads} threads, but max_latency_ms is of "
            "one; measure one with --threads 1."
        )
    return AnotherDevice(place, table)
