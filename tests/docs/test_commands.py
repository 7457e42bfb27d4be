"""Command lines in the README and on pages are such as the commands take."""

import importlib.util
import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from pocketkube.cli.main import command_parser
from tests.docs.written import ROOT, blocks, inline_code

EXAMPLES = sorted((ROOT / "examples").rglob("*.yaml"))
PARSER = command_parser()
TARGETS = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
LEFT_OUT = "…"
# What is not ours.
OTHERS = {"kubectl", "source", "export", "cd", "printf", "base64", "aws", ".venv/tools/bin/uv"}


def lines() -> Iterator[tuple[str, list[str]]]:
    """Each command of each block, and where it stands."""
    for block in blocks("bash"):
        for line in block.text.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            while words:
                end = words.index("|") if "|" in words else len(words)
                yield f"{block}: {line.strip()}", words[:end]
                words = words[end + 1 :]


@pytest.mark.parametrize(("where", "words"), [pytest.param(*each, id=each[0]) for each in lines()])
def test_every_command_line_is_right(where: str, words: list[str]) -> None:
    match words:
        case ["pocketkube", "--help"]:
            pass
        case ["pocketkube", *arguments]:
            parsed(arguments, where)
        case ["make", target, *settings]:
            assert target in TARGETS, where
            assert all("=" in setting for setting in settings), where
        case ["python", "-m", module, *_]:
            assert importlib.util.find_spec(module), where
        case ["python", script, *_]:
            assert (ROOT / script).is_file(), where
        case [script, *_] if script.endswith(".sh"):
            assert os.access(ROOT / script, os.X_OK), where
        case [program, *_]:
            assert program in OTHERS, where


def test_commands_within_sentences_are_right() -> None:
    for page, code in inline_code():
        words = shlex.split(code) if code.startswith("pocketkube ") else []
        name = f"{page.relative_to(ROOT)}: {code}"
        if len(words) > 2 and LEFT_OUT not in words:
            parsed(words[1:], name)
        elif words:
            assert words[1] in PARSER.format_help(), name


@pytest.mark.parametrize("page", EXAMPLES, ids=lambda page: page.name)
def test_commands_in_the_comments_of_examples_are_right(page: Path) -> None:
    for line in page.read_text("utf-8").splitlines():
        found = re.match(r"#\s+(pocketkube .+?)(?:\s{3,}.*)?$", line)
        if found:
            parsed(shlex.split(found[1])[1:], line)


def test_usage_lines_of_the_reference_show_what_has_to_be_given() -> None:
    text = (ROOT / "docs" / "reference" / "commands.md").read_text("utf-8")
    usage = {line.split(" ")[1]: line for line in re.findall(r"^pocketkube .+$", text, re.MULTILINE)}
    assert usage["submit"] == "pocketkube submit (SPEC | --package PACKAGE) [options]"
    assert usage["stage"] == (
        "pocketkube stage NAME (--spec SPEC | --config JSON) --output PLACE [options]"
    )
    assert usage["doctor"] == "pocketkube doctor [SPEC] [options]"
    assert usage["trial"] == "pocketkube trial [NAME=VALUE …] --prepared PLACE --metrics FILE [options]"


def parsed(arguments: list[str], where: str) -> None:
    try:
        PARSER.parse_args(arguments)
    except SystemExit:
        pytest.fail(f"not as pocketkube takes it: {where}")
