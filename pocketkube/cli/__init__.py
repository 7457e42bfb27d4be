"""The command line; what it does is elsewhere."""

from pocketkube.cli.main import main

__all__ = ["main"]
