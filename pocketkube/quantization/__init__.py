"""Uniform quantisation: weights and activations on evenly spaced levels, trained for it or not."""
