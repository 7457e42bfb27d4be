"""Puts weights and activations on evenly spaced levels and trains the network with them."""

from components.compression.quantize_weights.component import quantize_weights

__all__ = ["quantize_weights"]
