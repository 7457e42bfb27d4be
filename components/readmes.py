"""Writes each component's README from its function: `python -m components.readmes`."""

import inspect
import re
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from pocketkube.stages.registry import STAGES

FOLDER = Path(__file__).parent
ARTIFACTS = ("Model", "Metrics", "Markdown", "HTML", "Artifact")


def main() -> None:
    """Writes them all."""
    for folder in component_folders():
        (folder / "README.md").write_text(readme_of(component_in(folder)), "utf-8")


def component_folders() -> list[Path]:
    """The folders that hold a component each."""
    return sorted(file.parent for file in FOLDER.glob("*/*/component.py"))


def component_in(folder: Path) -> Callable[..., Any]:
    """The component of a folder, which has the folder's name."""
    module = ".".join(("components", folder.parent.name, folder.name))
    return getattr(import_module(module), folder.name)


def readme_of(component: Any) -> str:
    """A component's README: what it does, and a table of its inputs, parameters and outputs.

    Args:
        component: The KFP component; its function's docstring describes every argument.
    """
    function = component.python_func
    text = inspect.getdoc(function) or ""
    about, _, arguments = text.partition("\n\nArgs:\n")
    described = {
        name: " ".join(words.split())
        for name, words in re.findall(r"^    (\w+): (.+(?:\n {8}.+)*)", arguments, re.MULTILINE)
    }
    rows = [
        f"| `{name}` | {_kind(parameter)} | {_default(parameter)} | {described[name]} |"
        for name, parameter in inspect.signature(function).parameters.items()
    ]
    name = function.__name__
    return "\n".join(
        [
            f"# {name}",
            "",
            about,
            "",
            "| argument | kind | default | what it is |",
            "| --- | --- | --- | --- |",
            *rows,
            "",
            "Parameters that are mappings hold what a spec holds under the same name, as",
            "`pocketkube spec --explain` tells. The component runs in the PocketKube image",
            *_where(name),
            "",
            "Written by `python -m components.readmes`.",
            "",
        ]
    )


def _where(name: str) -> list[str]:
    image = "(environment variable `POCKETKUBE_IMAGE` while compiling)"
    if name not in STAGES:
        return [f"{image}."]
    same = f"`python -m pocketkube stage {name}` does: the same code runs on one machine."
    return [f"{image} and does what", same]


def _kind(parameter: inspect.Parameter) -> str:
    annotation = str(parameter.annotation)
    for kind in ("Input", "Output"):
        if f"{kind}Annotation" in annotation:
            artifact = next(word for word in ARTIFACTS if f".{word}" in annotation)
            return f"{kind.lower()}, {artifact}"
    return f"parameter, {parameter.annotation.__name__}"


def _default(parameter: inspect.Parameter) -> str:
    if parameter.default is inspect.Parameter.empty:
        return ""
    return "left out" if parameter.default is None else f"`{parameter.default}`"


if __name__ == "__main__":
    main()
