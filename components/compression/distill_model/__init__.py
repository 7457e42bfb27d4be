"""Trains a small network of another architecture, with the uncompressed one as teacher."""

from components.compression.distill_model.component import distill_model

__all__ = ["distill_model"]
