"""The page on environment variables has all that are ours."""

import re

from tests.docs.written import ROOT

FOLDERS = ("pocketkube", "components", "pipelines", "manifests", "tests/cluster")
PAGE = ROOT / "docs" / "reference" / "environment.md"


def test_each_variable_of_ours_is_explained() -> None:
    read = set()
    for folder in FOLDERS:
        for file in (ROOT / folder).rglob("*.py"):
            read |= set(re.findall(r"POCKETKUBE_[A-Z_]+[A-Z]", file.read_text("utf-8")))
    explained = set(re.findall(r"POCKETKUBE_[A-Z_]+[A-Z]", PAGE.read_text("utf-8")))
    assert read == explained
