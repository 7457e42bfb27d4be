"""Trains a network while more and more of its weights become zero."""

from components.compression.sparsify_weights.component import sparsify_weights

__all__ = ["sparsify_weights"]
