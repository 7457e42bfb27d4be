"""The networks that a latency table is measured on, as a folder that travels to the device."""

from collections.abc import Sequence
from pathlib import Path

from pocketkube.errors import UserError
from pocketkube.files.layout import NETWORKS_FILE
from pocketkube.files.records import Document, Record, read_document, text_of
from pocketkube.files.whole import write_text
from pocketkube.latency_table.measuring import TimedNetwork


class _NetworkFile(Record):
    name: str
    number_format: str
    fitted: bool
    file: str


class _Networks(Document):
    """The content of networks.json."""

    schema_version: int = 1
    networks: tuple[_NetworkFile, ...]


def write_networks(networks: Sequence[TimedNetwork], folder: Path) -> None:
    """Writes each network's LiteRT file, and what is known of it."""
    told = []
    for number, network in enumerate(networks):
        file = f"{number}.tflite"
        (folder / file).write_bytes(network.content)
        told.append(
            _NetworkFile(
                name=network.name,
                number_format=network.number_format,
                fitted=network.fitted,
                file=file,
            )
        )
    write_text(folder / NETWORKS_FILE, text_of(_Networks(networks=tuple(told))))


def read_networks(folder: Path) -> list[TimedNetwork]:
    """Reads what `write_networks` wrote.

    Raises:
        UserError: If it is not there, or damaged.
    """
    networks = []
    for told in read_document(_Networks, folder / NETWORKS_FILE).networks:
        file = folder / told.file
        if file.parent != folder or not file.is_file():
            raise UserError(f"{folder / NETWORKS_FILE} names {told.file}, which is not beside it.")
        networks.append(TimedNetwork(told.name, told.number_format, file.read_bytes(), told.fitted))
    if not networks:
        raise UserError(f"{folder / NETWORKS_FILE} names no network.")
    return networks
