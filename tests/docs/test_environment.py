"""The page on environment variables has all that are ours, and all that other pages name."""

import re

from tests.docs.written import ROOT, inline_code

FOLDERS = ("pocketkube", "components", "pipelines", "manifests", "tests/cluster")
PAGE = ROOT / "docs" / "reference" / "environment.md"


def test_each_variable_of_ours_is_explained() -> None:
    read = set()
    for folder in FOLDERS:
        for file in (ROOT / folder).rglob("*.py"):
            read |= set(re.findall(r"POCKETKUBE_[A-Z_]+[A-Z]", file.read_text("utf-8")))
    explained = set(re.findall(r"POCKETKUBE_[A-Z_]+[A-Z]", PAGE.read_text("utf-8")))
    assert read == explained


def test_each_variable_that_a_page_names_is_there() -> None:
    # Those of tests are explained where they are set; the reference of commands has placeholders.
    elsewhere = {"contributing.md", "commands.md"}
    named = {
        code
        for page, code in inline_code()
        if page.name not in elsewhere and re.fullmatch(r"TMPDIR|[A-Z][A-Z0-9]*(_[A-Z0-9]+)+", code)
    }
    assert len(named) > 20
    assert {name for name in named if f"`{name}`" not in PAGE.read_text("utf-8")} == set()
