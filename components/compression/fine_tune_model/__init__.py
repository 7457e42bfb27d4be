"""Trains a compressed network on, with the uncompressed one as teacher."""

from components.compression.fine_tune_model.component import fine_tune_model

__all__ = ["fine_tune_model"]
