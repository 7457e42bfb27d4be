"""Typed JSON files: what is read is checked, older files are brought up to date, newer ones refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from pocketkube.errors import UserError

Upgrade = Callable[[dict[str, Any]], dict[str, Any]]


class Record(BaseModel):
    """A part of a file. Fields that are not known here are left out, wherever they come from."""

    # Training that diverged has losses that are no numbers: they are written as Python's json does.
    model_config = ConfigDict(extra="ignore", frozen=True, ser_json_inf_nan="constants")


class Document(Record):
    """A whole file.

    Attributes:
        schema_version: The version of its fields. Files without one are of version 1.
        upgrades: What brings a file of version 1, 2, … to the next one; the last gives today's.
    """

    schema_version: int
    upgrades: ClassVar[tuple[Upgrade, ...]] = ()


Kind = TypeVar("Kind", bound=Document)


def read_document(kind: type[Kind], file: Path) -> Kind:
    """Reads a JSON file, of this version or an older one.

    Args:
        kind: What it holds.
        file: The file.

    Raises:
        UserError: If it is missing, damaged or newer than this program.
    """
    try:
        content = json.loads(file.read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"There is no file {file}.") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{file} is damaged or cut short: it is no JSON ({error}).") from None
    return document_of(kind, content, str(file))


def document_of(kind: type[Kind], content: Any, origin: str) -> Kind:
    """Checks what a JSON file holds, and brings it up to date.

    Args:
        kind: What it is to be.
        content: What json.loads gave.
        origin: What messages call it.

    Raises:
        UserError: As `read_document` does.
    """
    if not isinstance(content, dict):
        raise UserError(f"{origin} is damaged: it holds no JSON object, but {content!r:.60}.")
    version, newest = content.get("schema_version", 1), len(kind.upgrades) + 1
    if type(version) is not int or version < 1:
        raise UserError(
            f"{origin} is damaged: schema_version must be 1 to {newest}; received {version!r:.60}."
        )
    if version > newest:
        raise UserError(
            f"{origin} is of schema_version {version}, written by a newer PocketKube than this, which "
            f"reads versions 1 to {newest}: update PocketKube."
        )
    try:
        for upgrade in kind.upgrades[version - 1 :]:
            content = upgrade(content)
        return kind.model_validate(content | {"schema_version": newest})
    except ValidationError as error:
        raise UserError(f"{origin} is damaged: {_problem(error.errors()[0])}.") from None
    except (KeyError, TypeError, AttributeError, IndexError):
        # An upgrade reads what every file of its version has.
        raise UserError(f"{origin} is damaged: it lacks what version {version} has.") from None


def text_of(document: Document) -> str:
    """A document as the text of its file."""
    return json.dumps(document.model_dump(mode="json"), indent=1)


def _problem(detail: ErrorDetails) -> str:
    place = ".".join(map(str, detail["loc"]))
    if detail["type"] == "missing":
        return f"{place} is missing"
    message = detail["msg"].removeprefix("Value error, ")
    if not detail["loc"]:
        return message
    return f"{place}: {message[0].lower()}{message[1:]}; received {detail['input']!r:.60}"
