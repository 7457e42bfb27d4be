"""The stage that makes the files of which a latency table is measured, on whatever device."""

from collections.abc import Mapping
from pathlib import Path

from pocketkube.bundle import load_bundle
from pocketkube.files.whole import replaced_folder
from pocketkube.latency_table.network_files import write_networks
from pocketkube.latency_table.of_network import networks_to_time
from pocketkube.stages.configs import PrepareLatencyTableConfig


def prepare_latency_table(
    config: PrepareLatencyTableConfig, inputs: Mapping[str, Path], output: Path, scratch: Path
) -> None:
    """Prunes a bundle's model in several ways, and writes the LiteRT files of that."""
    networks = networks_to_time(load_bundle(inputs["model"]).model, config.formats)
    with replaced_folder(output) as folder:
        write_networks(networks, folder)
