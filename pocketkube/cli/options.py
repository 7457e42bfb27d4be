"""What the options of several commands have in common."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from pocketkube.errors import UserError


def add_command(sub, name, function, text, epilog=None) -> Any:  # type: ignore[no-untyped-def]
    """Adds a command to subparsers; its text is its help and its description."""
    parser = sub.add_parser(name, help=text, description=text, epilog=epilog)
    parser.set_defaults(command=function)
    return parser


def add_json(parser: ArgumentParser, text: str = "print JSON, for machines") -> None:
    """Adds --json."""
    parser.add_argument("--json", action="store_true", help=text)


def add_image_size(parser: ArgumentParser) -> None:
    """Adds the size that a model is brought to which takes images of any."""
    parser.add_argument(
        "--image-size",
        type=int,
        nargs=2,
        metavar=("HEIGHT", "WIDTH"),
        help="for a model that takes images of any size",
    )


def refuse_other_ending(output: Path, ending: str) -> None:
    """Says when --output is a file of another kind.

    Raises:
        UserError: If it does not end so.
    """
    if output.suffix != ending:
        raise UserError(f"--output: {output} has to end in {ending}.")
