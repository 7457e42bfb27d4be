"""Uniform quantisation: weights and activations on evenly spaced levels, trained for it or not."""

from pocketkube.quantization.quantize import Quantized, quantize

__all__ = ["Quantized", "quantize"]
