"""What is known of a bundle's model: read without Keras, whose import takes seconds."""

import json
from pathlib import Path
from typing import Any

from pocketkube.errors import UserError
from pocketkube.layout import FACTS_FILE


def load_facts(folder: Path) -> dict[str, Any]:
    """Reads what is known of a bundle's model, without the model.

    Raises:
        UserError: If the folder is no bundle.
    """
    try:
        return json.loads((folder / FACTS_FILE).read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:
        raise UserError(
            f"{folder} is no model bundle: it needs a {FACTS_FILE} that is JSON."
        ) from error


def load_warnings(folder: Path) -> list[str]:
    """What the stage that wrote a folder warns of, after its name; nothing where it wrote no facts."""
    if not (folder / FACTS_FILE).is_file():
        return []
    facts = load_facts(folder)
    last = facts.get("export") or facts["stages"][-1]
    return [f"{last['name']}: {warning}" for warning in last.get("warnings", ())]
