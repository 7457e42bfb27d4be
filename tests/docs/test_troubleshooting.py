"""The messages that the page on trouble explains are those that the code has."""

import ast
from functools import cache

import pytest

from tests.docs.written import ROOT, headings

PAGE = ROOT / "docs" / "troubleshooting.md"
TOPICS = ("Troubleshooting", "The spec", "Models", "Data", "Pruning and searching", "LiteRT files")
TOPICS += ("Running", "Object stores", "Kubeflow")
MESSAGES = [h for h in headings(PAGE) if h not in TOPICS and not h.startswith(TOPICS[0])]


@cache
def sentences() -> str:
    """All texts of the library, what is filled in left out."""
    found = []
    for file in sorted((ROOT / "pocketkube").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.JoinedStr):
                found.append(
                    "".join(v.value if isinstance(v, ast.Constant) else "…" for v in node.values)
                )
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return "\n".join(found)


@pytest.mark.parametrize("message", MESSAGES)
def test_the_message_is_there(message: str) -> None:
    for part in message.split("…"):
        assert part.strip() in sentences()
