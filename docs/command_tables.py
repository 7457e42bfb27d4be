"""The command line's reference in Markdown, from the parser that reads it."""

import argparse
from collections.abc import Iterator

from docs.markdown import cell, code, table
from pocketkube.cli.main import command_parser

_HEAD = ("argument", "meaning")


def command_tables() -> str:
    """Every command: what it does, how it is called, and a table of its arguments."""
    lines: list[str] = []
    for name, parser in commands_of(command_parser(), "pocketkube"):
        lines += [f"## {name}", "", cell(parser.description or ""), ""]
        lines += ["```text", _usage(name, parser), "```", ""]
        lines += [table(_HEAD, _rows(parser)), ""]
        if parser.epilog:
            lines += [cell(parser.epilog), ""]
    return "\n".join(lines).rstrip() + "\n"


def commands_of(
    parser: argparse.ArgumentParser, name: str
) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """The commands below a parser that do something, by all their words.

    Args:
        parser: The parser of a command line.
        name: The words that it stands for.
    """
    groups = [each for each in parser._actions if isinstance(each, argparse._SubParsersAction)]
    if not groups:
        yield name, parser
    for group in groups:
        for word, below in group.choices.items():
            yield from commands_of(below, f"{name} {word}")


def _usage(name: str, parser: argparse.ArgumentParser) -> str:
    alternatives = [each._group_actions for each in parser._mutually_exclusive_groups if each.required]
    words = [name]
    for action in _arguments(parser):
        among = next((each for each in alternatives if action in each), None)
        if among:
            words.append(f"({' | '.join(map(_called, among))})")
        elif action.nargs in ("?", "*") and not action.option_strings:
            words.append(f"[{_called(action)}]")
        elif action.required:
            words.append(_called(action))
        else:
            words.append("[options]")
    # Options stand together at the end, and an alternative where its first one does.
    words.sort(key="[options]".__eq__)
    return " ".join(dict.fromkeys(words))


def _rows(parser: argparse.ArgumentParser) -> Iterator[tuple[str, str]]:
    for action in _arguments(parser):
        names = ", ".join(map(code, action.option_strings)) or code(_value(action))
        value = f" {code(_value(action))}" if action.option_strings and action.nargs != 0 else ""
        needed = " (needed)" if action.option_strings and action.required else ""
        yield f"{names}{value}{needed}", cell((action.help or "").replace("%%", "%"))


def _arguments(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    return [each for each in parser._actions if not isinstance(each, argparse._HelpAction)]


def _called(action: argparse.Action) -> str:
    value = _value(action)
    return f"{action.option_strings[0]} {value}" if action.option_strings else value


def _value(action: argparse.Action) -> str:
    if action.choices:
        return "{" + ",".join(map(str, action.choices)) + "}"
    if isinstance(action.metavar, tuple):
        return " ".join(action.metavar)
    value = action.metavar or action.dest.upper()
    return f"{value} …" if action.nargs in ("+", "*") else value
