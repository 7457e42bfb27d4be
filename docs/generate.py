"""Writes the parts of pages that follow from the code: `python -m docs.generate`.

Such a part stands between two comments, of which the first says what it is made of:

    <!-- generated: settings prune_channels -->
    <!-- end of generated -->
"""

import re
from collections.abc import Callable
from pathlib import Path

from docs.command_tables import command_tables
from docs.settings_tables import reference_of_retraining, reference_of_spec, settings_table

FOLDER = Path(__file__).parent
_PART = re.compile(
    r"(?P<begin><!-- generated: (?P<what>[a-z]+)(?: (?P<name>\S+))? -->\n)"
    r".*?(?P<end><!-- end of generated -->)",
    re.DOTALL,
)
_WRITERS: dict[str, Callable[[], str]] = {
    "spec": reference_of_spec,
    "retraining": reference_of_retraining,
    "commands": command_tables,
}


def main() -> None:
    """Writes the generated parts of all pages anew."""
    for page in pages():
        page.write_text(with_generated_parts(page.read_text("utf-8")), "utf-8")


def pages() -> list[Path]:
    """The pages' files."""
    return sorted(FOLDER.rglob("*.md"))


def with_generated_parts(text: str) -> str:
    """A page's text, with what its generated parts are to hold now.

    Args:
        text: The page as it is; a part may be empty or out of date.
    """
    return _PART.sub(_written, text)


def _written(part: re.Match[str]) -> str:
    what, name = part["what"], part["name"]
    content = settings_table(name) if what == "settings" else _WRITERS[what]()
    return f"{part['begin']}\n{content}\n{part['end']}"


if __name__ == "__main__":
    main()
