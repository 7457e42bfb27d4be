"""Lets `python -m pocketkube` do what the command does."""

from pocketkube.processes.cores import share_with_ranks_beside

share_with_ranks_beside()

from pocketkube.cli import main  # noqa: E402

main()
