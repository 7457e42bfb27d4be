"""Cuts the least important channels of a network until it reaches the target."""

from components.compression.prune_channels.component import prune_channels

__all__ = ["prune_channels"]
