"""The README is a front page: short, and with no figure of its own."""

import re
from xml.etree import ElementTree

from tests.docs.written import README, ROOT

METHODS = ROOT / "docs" / "methods" / "index.md"


def test_it_is_read_in_minutes() -> None:
    assert len(README.read_text("utf-8").splitlines()) < 150


def test_its_figures_of_methods_are_those_of_the_page() -> None:
    rows = [line for line in README.read_text("utf-8").splitlines() if re.match(r"\|.*%.*kB", line)]
    of_page = r"^\| [^|]+ \| ([\d.]+) \| (\d+) \| \d+ \| \d+ \| ([\d.]+)x \|"
    known = re.findall(of_page, METHODS.read_text("utf-8"), re.MULTILINE)
    assert len(rows) > 5
    for row in rows:
        score, size, latency = re.findall(r"\| ([\d.]+) % \| (\d+) kB[^|]*\| ([\d.]+)x", row)[0]
        assert (score, size, latency) in known, row


def test_its_pictures_are_small_and_readable_on_dark_pages() -> None:
    images = ROOT / "docs" / "images"
    assert (images / "report.png").stat().st_size < 150_000
    picture = (images / "pocketkube.svg").read_text("utf-8")
    ElementTree.fromstring(picture)
    assert "prefers-color-scheme: dark" in picture
