"""The summary says in Markdown what the table says that ends a run."""

import copy
import re
from typing import Any

import pytest

from pocketkube.files.records import document_of
from pocketkube.report.markdown import markdown_of
from pocketkube.report.result import Result
from pocketkube.report.summary import rows
from tests.report.cases import CASES, RESULT


def result_of(content: dict[str, Any]) -> Result:
    return document_of(Result, content, "result.json")


def cells(line: str) -> list[str]:
    """The cells of a row as a reader sees them."""
    return [re.sub(r"\\(.)", r"\1", cell.strip()) for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


@pytest.mark.parametrize("content", [RESULT, *CASES.values()])
def test_it_holds_the_figures_of_the_table(content: dict[str, Any]) -> None:
    result = result_of(content)
    page = markdown_of(result)
    shown = [cells(line) for line in page.splitlines() if line.startswith("|")]
    for row in rows(result):
        assert [row.name.strip(), row.before, row.after, row.change] in shown
    for target in result.targets:
        assert target.name in [line[0] for line in shown]


def test_names_are_no_markdown() -> None:
    content = copy.deepcopy(RESULT)
    content["warnings"] = ["layer a|b_c*d is <odd>"]
    assert r"- layer a\|b\_c\*d is \<odd\>" in markdown_of(result_of(content)).splitlines()
