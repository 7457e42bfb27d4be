"""Converts a network to LiteRT and checks the file against it on test examples."""

from components.compression.export_litert.component import export_litert

__all__ = ["export_litert"]
