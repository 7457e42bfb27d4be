"""Reads YAML that is not a spec: packages and schedules, whoever wrote them."""

from typing import Any

import yaml

# Compiled pipelines have some ten; the C loader ends the process of many thousands.
MOST_LEVELS = 100
# The C loader is some ten times as fast, and a package some thousand lines long.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def document_of(text: str) -> Any:
    """The one document in a text; None where there is nothing in it.

    Raises:
        ValueError: As `documents_of` does, or if there are several.
    """
    documents = documents_of(text)
    if len(documents) > 1:
        raise ValueError("it holds several documents")
    return documents[0] if documents else None


def documents_of(text: str) -> list[Any]:
    """The documents in a text, as plain values.

    Raises:
        ValueError: If it is no YAML, holds a value that cannot be read, or is nested without end.
    """
    try:
        level = 0
        for event in yaml.parse(text, _LOADER):
            level += isinstance(event, yaml.CollectionStartEvent)
            level -= isinstance(event, yaml.CollectionEndEvent)
            if level > MOST_LEVELS:
                raise ValueError(f"it is nested deeper than {MOST_LEVELS} levels")
        return list(yaml.load_all(text, _LOADER))
    except (yaml.YAMLError, LookupError, AttributeError, TypeError, OverflowError) as error:
        raise ValueError("it is no YAML") from error
