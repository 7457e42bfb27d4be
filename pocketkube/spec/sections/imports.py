"""The spec's imports: modules with layers of the user's own."""

import ast
import base64
import sys
import zlib
from typing import Any

from pydantic import Field, model_validator

from pocketkube.bounded.streams import inflated
from pocketkube.spec.settings import Settings

# What a command line and a pipeline's parameter hold beside all else.
LARGEST_PACKED = 2**16
LARGEST_TEXT = 2**20


class Import(Settings):
    """A module that is imported before a model is opened: an installed one, or one whose text is given.

    A name alone, `my_layers`, means {name: my_layers}; in a spec's file it may be that of a .py file
    beside it, whose text is read with the spec, and goes wherever the spec goes.
    """

    name: str = Field(description="The module's name; of a .py file its name without .py.")
    packed: str = Field(
        "",
        description="Of a module that is not installed its text, compressed, as a spec is handed on; "
        "source, the text as it is, may stand in its place.",
    )

    @model_validator(mode="before")
    @classmethod
    def _short_forms(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"name": value}
        if isinstance(value, dict) and "source" in value and "packed" not in value:
            source = value["source"]
            if not isinstance(source, str):
                raise ValueError(f"source has to be the text of a module; received {source!r:.60}")
            rest = {key: each for key, each in value.items() if key != "source"}
            return {**rest, "packed": packed(source)}
        return value

    @model_validator(mode="after")
    def _is_a_module(self) -> "Import":
        if self.name.endswith(".py") or "/" in self.name:
            raise ValueError(
                f"{self.name} is a file, which is read where a spec's own file or --import names it; "
                "give {name: …, source: …}, its text"
            )
        if not all(map(str.isidentifier, self.name.split("."))):
            raise ValueError(f"{self.name!r:.60} is no module's name, as my_layers is")
        if not self.packed:
            return self
        if "." in self.name:
            raise ValueError(f"{self.name} is within a package: install that, and name it without text")
        if self.name in sys.stdlib_module_names:
            raise ValueError(f"{self.name} is the name of a module of Python's own: rename the file")
        try:
            ast.parse(self.source)
        except SyntaxError as error:
            raise ValueError(f"{self.name}.py is no Python: line {error.lineno}: {error.msg}") from None
        return self

    @property
    def source(self) -> str:
        """The module's text; empty of an installed one."""
        return unpacked(self.packed) if self.packed else ""

    def word(self) -> str:
        """As `--import` takes it, whatever machine it is read on."""
        return f"{self.name}={self.packed}" if self.packed else self.name


def packed(source: str) -> str:
    """A text in few characters, none of which means anything to a shell, YAML or a template.

    Args:
        source: The text.
    """
    # An empty file is a module, too.
    return base64.b64encode(zlib.compress((source or "\n").encode(), 9)).decode()


def unpacked(text: str) -> str:
    """What `packed` was given.

    Raises:
        ValueError: If it is none of its.
    """
    try:
        return inflated(base64.b64decode(text, validate=True), LARGEST_TEXT).decode()
    except ValueError:
        raise ValueError("packed is no text that was compressed here; give source, the text") from None


def check_imports(imports: tuple[Import, ...]) -> None:
    """Refuses modules that are named twice, and more text than can be handed on.

    Raises:
        ValueError: If there are such.
    """
    names = [each.name for each in imports]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"imports: {name} is named twice; name it once")
    size = sum(len(each.packed) for each in imports)
    if size > LARGEST_PACKED:
        raise ValueError(
            f"imports: the files take {size:,} bytes, compressed, of which {LARGEST_PACKED:,} can be "
            "handed on; install them as a package, and name that"
        )
