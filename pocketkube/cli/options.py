"""What the options of several commands have in common."""

from argparse import ArgumentParser, Namespace
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pocketkube.errors import UserError, repeatable
from pocketkube.files.whole import place_of

if TYPE_CHECKING:
    from pocketkube.spec.sections import Import
    from pocketkube.spec.settings import Settings

Kind = TypeVar("Kind", bound="Settings")


def add_command(sub, name, function, text, epilog=None) -> Any:  # type: ignore[no-untyped-def]
    """Adds a command to subparsers; its text is its help and its description."""
    parser = sub.add_parser(name, help=text, description=text, epilog=epilog)
    parser.set_defaults(command=function)
    return parser


def path_here(text: str) -> Path:
    """The type of an option that is a path of this machine.

    Raises:
        UserError: If it is an address.
    """
    if not text:
        raise UserError("An empty path was given: name the file or folder; the one here is a dot.")
    if ":/" in text:
        # It brings a client of servers, which most commands do without.
        from pocketkube.storage import is_uri

        if is_uri(text):
            raise UserError(
                f"{repeatable(text)} is an address, but a path of this machine is needed here."
            )
    return place_of(text, Path())


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


def add_value_range(parser: ArgumentParser, of: str = "--data") -> None:
    """Adds the range that 8-bit images of an option's file are brought to."""
    parser.add_argument(
        "--value-range",
        type=float,
        nargs=2,
        metavar=("LOW", "HIGH"),
        help=f"what 0 and 255 of uint8 images in {of} become, as a spec's dataset.value_range "
        "(default: 0 1)",
    )


def value_range_of(options: Namespace, of: str = "--data") -> tuple[float, float] | None:
    """What --value-range says; None where it is not given.

    Args:
        options: The command's.
        of: The option whose images it is of.

    Raises:
        UserError: If it is no range, or there is nothing for it to go with.
    """
    if options.value_range is None:
        return None
    low, high = options.value_range
    if not (isfinite(low) and isfinite(high) and low < high):
        raise UserError(f"--value-range: must rise, as in 0 255; received {low:g} {high:g}.")
    if vars(options)[of.removeprefix("--")] is None:
        raise UserError(f"--value-range: goes with {of}, whose images it is of.")
    return low, high


def add_imports(parser: ArgumentParser) -> None:
    """Adds --import, for modules with layers of the user's own."""
    parser.add_argument(
        "--import",
        action="append",
        default=[],
        dest="imports",
        metavar="MODULE",
        help="a module with layers of your own, or a .py file, imported before models are opened; may "
        "be given several times",
    )


def imports_of(options: Namespace) -> "tuple[Import, ...]":
    """The modules that --import names; files are those of the working directory.

    Raises:
        UserError: If a file is missing, or is no module.
    """
    from pocketkube.spec.own_code import read_imports

    try:
        return read_imports(options.imports, Path.cwd())
    except UserError as error:
        raise UserError(f"--import: {error}") from error


def settings_of_options(kind: type[Kind], **values: Any) -> Kind:
    """Settings of a spec that options give, each by the option's own name.

    Raises:
        UserError: If a value is wrong; it names the option.
    """
    from pydantic import ValidationError

    from pocketkube.spec.problems import problems_of
    from pocketkube.spec.reading import validated

    try:
        return validated(kind, values)
    except ValidationError as error:
        problem = problems_of(error, values, kind)[0]
        option = str(problem.steps[0]).replace("_", "-")
        raise UserError(f"--{option}: {problem.message}.") from None


def import_named(options: Namespace) -> None:
    """Imports the modules that --import names, and TensorFlow with them where there are any.

    Raises:
        UserError: If one is missing, or raises an error.
    """
    if options.imports:
        from pocketkube.importing import import_all

        import_all(imports_of(options))


def refuse_other_ending(output: Path, ending: str) -> None:
    """Says when --output is a file of another kind.

    Raises:
        UserError: If it does not end so.
    """
    if output.suffix != ending:
        raise UserError(f"--output: {output} has to end in {ending}.")
