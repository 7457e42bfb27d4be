"""Trains a built-in network from scratch, or takes a .keras file as it is."""

from components.compression.train_model.component import train_model

__all__ = ["train_model"]
