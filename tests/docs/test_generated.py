"""What pages say of settings and commands is what the code says."""

import pytest

from docs.generate import with_generated_parts
from pocketkube.spec.stage_settings import STAGE_NAMES
from tests.docs.written import PAGES, ROOT


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_generated_parts_follow_the_code(page) -> None:
    text = page.read_text("utf-8")
    assert with_generated_parts(text) == text, "run: python -m docs.generate"


def test_each_method_has_its_settings_on_a_page() -> None:
    methods = "".join(page.read_text("utf-8") for page in PAGES if page.parent.name == "methods")
    # These two have the settings of quantize_int8.
    alike = {"quantize_float16", "quantize_dynamic"}
    without = [name for name in STAGE_NAMES if f"<!-- generated: settings {name} -->" not in methods]
    assert set(without) == alike


def test_a_cell_keeps_the_words_of_a_setting() -> None:
    from markdown_it import MarkdownIt

    from docs.markdown import cell, table

    text = r"train-*, [0, 255], {a: b} | max_size <x> `c` \d"
    (row,) = (
        token.children[0].content
        for token in MarkdownIt("commonmark").enable("table").parse(table(["meaning"], [[cell(text)]]))
        if token.type == "inline" and token.children and token.content != "meaning"
    )
    assert row == text
