"""Runs a command of pocketkube that finds the modules which the process that began it all finds."""

import os
import runpy
import sys
from collections.abc import Sequence


def main(arguments: Sequence[str]) -> None:
    """Runs a command.

    Args:
        arguments: Folders, as PYTHONPATH has them, and the words after pocketkube.
    """
    path, *sys.argv[1:] = arguments
    find_behind_all_else(path)
    runpy.run_module("pocketkube", run_name="__main__", alter_sys=True)


def find_behind_all_else(path: str) -> None:
    """Lets modules be found in more folders.

    PYTHONPATH goes before Python's own modules: a user's signal.py in the current folder, where some
    processes look first of all, would stand in for Python's own.

    Args:
        path: The folders, as PYTHONPATH has them.
    """
    sys.path += [folder for folder in path.split(os.pathsep) if folder not in sys.path]


if __name__ == "__main__":
    main(sys.argv[1:])
