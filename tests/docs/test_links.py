"""Links between pages, and to files of the checkout, lead somewhere."""

from pathlib import Path

import pytest

from tests.docs.written import OTHERS, PAGES, README, ROOT, anchors, targets

WRITTEN = [README, *PAGES, *OTHERS]


@pytest.mark.parametrize("page", WRITTEN, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    for target in targets(page):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{target} leads nowhere"
        assert file.is_relative_to(ROOT), f"{target} leaves the checkout"
        if anchor:
            assert anchor in anchors(file), f"{target}: there is no such heading"


def test_every_page_is_in_the_index() -> None:
    index = ROOT / "docs" / "index.md"
    linked = {(index.parent / target).resolve() for target in targets(index)}
    assert {page for page in PAGES if page != index} == linked


def test_the_page_on_examples_has_all() -> None:
    page = ROOT / "docs" / "examples.md"
    linked = {(page.parent / target).resolve() for target in targets(page)}
    folder = ROOT / "examples"
    # What others import or read.
    parts = {folder / "jobs.py", folder / "comparisons"}
    there = {path for path in folder.iterdir() if not path.name.startswith(("__", "."))} - parts
    assert there <= linked
