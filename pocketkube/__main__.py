"""Lets `python -m pocketkube` do what the command does."""

from pocketkube.cli import main

main()
