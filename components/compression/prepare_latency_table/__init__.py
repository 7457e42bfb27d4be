"""Makes the LiteRT files of which a network's latency table is measured, on whatever device."""

from components.compression.prepare_latency_table.component import prepare_latency_table

__all__ = ["prepare_latency_table"]
