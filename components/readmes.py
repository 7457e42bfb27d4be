"""Writes each component's README from its function: `python -m components.readmes`.

They have the form of kubeflow/pipelines-components: overview, inputs, outputs, an example, metadata,
and below its marker what is our own.
"""

import inspect
import re
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml

from pocketkube.stages.registry import STAGES

FOLDER = Path(__file__).parent
ARTIFACTS = ("Model", "Metrics", "Markdown", "HTML", "Artifact")
INPUT, OUTPUT, PARAMETER = "Input", "Output", "parameter"
UNSTABLE = "This asset is not yet stable and may change."
# As ruff formats code.
LINE_LENGTH = 104
# What a task that checks a form tells of each later task's pod.
POD_PARTS = ("cpu", "memory", "gpus", "node_selector", "tolerations")
WRITTEN = "Written by `python -m components.readmes`."


def main() -> None:
    """Writes them all, and an index for each category."""
    for folder in component_folders():
        (folder / "README.md").write_text(readme_of(component_in(folder)), "utf-8")
    for category in category_folders():
        (category / "README.md").write_text(index_of(category), "utf-8")


def component_folders() -> list[Path]:
    """The folders that hold a component each."""
    return sorted(file.parent for file in FOLDER.glob("*/*/component.py"))


def category_folders() -> list[Path]:
    """The folders that hold components' folders."""
    return sorted({folder.parent for folder in component_folders()})


def component_in(folder: Path) -> Callable[..., Any]:
    """The component of a folder, which has the folder's name."""
    module = ".".join(("components", folder.parent.name, folder.name))
    return getattr(import_module(module), folder.name)


def readme_of(component: Any) -> str:
    """A component's README.

    Args:
        component: The KFP component; its function's docstring describes every argument.
    """
    function = component.python_func
    name, module = function.__name__, function.__module__
    folder = FOLDER.joinpath(*module.split(".")[1:-1])
    metadata = yaml.safe_load((folder / "metadata.yaml").read_text("utf-8"))
    about, described = _docstring(function)
    arguments = inspect.signature(function).parameters
    inputs = [
        f"| `{key}` | `{_type(argument)}` | {_default(argument)} | {described[key]} |"
        for key, argument in arguments.items()
        if _kind(argument) != OUTPUT
    ]
    outputs = [
        f"| `{key}` | `{_type(argument)}` | {described[key]} |"
        for key, argument in arguments.items()
        if _kind(argument) == OUTPUT
    ]
    return "\n".join(
        [
            f"# {_title(name)} ✨",
            "",
            f"> ⚠️ **Stability: {metadata['stability']}** — {UNSTABLE}",
            "",
            "## Overview 🧾",
            "",
            about,
            "",
            "## Inputs 📥",
            "",
            "| Parameter | Type | Default | Description |",
            "| --- | --- | --- | --- |",
            *inputs,
            "",
            "## Outputs 📤",
            "",
            "| Name | Type | Description |",
            "| --- | --- | --- |",
            *outputs,
            *_returned(function),
            "",
            "## Usage Examples 🧪",
            "",
            "```python",
            *_example(name, module.removesuffix(".component"), list(arguments.values())),
            "```",
            "",
            "## Metadata 🗂️",
            "",
            *_metadata(metadata),
            "",
            "<!-- custom-content -->",
            "",
            "## Where it runs",
            "",
            "Parameters that are mappings hold what a spec holds under the same name, see",
            "[the spec](../../../docs/reference/spec.md). The component runs in the PocketKube image",
            *_where(name),
            "",
            WRITTEN,
            "",
        ]
    )


def index_of(category: Path) -> str:
    """The README of a category: its components, and what each does.

    Args:
        category: The category's folder.
    """
    lines = []
    for folder in component_folders():
        if folder.parent == category:
            about, _ = _docstring(component_in(folder).python_func)  # type: ignore[attr-defined]
            first = about.split("\n\n")[0].replace("\n", " ")
            lines.append(f"- [{_title(folder.name)}](./{folder.name}/README.md): {first}")
    title = _title(category.name)
    head = [f"# {title} Components", "", f"Components in the **{title}** category:", ""]
    return "\n".join([*head, *lines, "", WRITTEN, ""])


def _docstring(function: Callable[..., Any]) -> tuple[str, dict[str, str]]:
    """What a function does, and what each of its arguments is."""
    about, _, arguments = (inspect.getdoc(function) or "").partition("\n\nArgs:\n")
    found = re.findall(r"^    (\w+): (.+(?:\n {8}.+)*)", arguments, re.MULTILINE)
    return about, {name: " ".join(words.split()) for name, words in found}


def _returned(function: Callable[..., Any]) -> Iterator[str]:
    """Rows for what a function returns by name; what there is for each pod stands once."""
    fields = getattr(function.__annotations__["return"], "__annotations__", {})
    of_pods = [name for name in fields if name.endswith(tuple(f"_{part}" for part in POD_PARTS))]
    parts = [f"`{name}: {kind.__name__}`" for name, kind in fields.items() if name not in of_pods]
    if parts:
        yield f"| Output | {', '.join(parts)} | Handed to the tasks that follow. |"
    if of_pods:
        pods = ", ".join(f"`TASK_{part}`" for part in POD_PARTS)
        yield f"| Output | {pods} | The size and the nodes of the pod of each task that follows. |"


def _example(name: str, module: str, arguments: list[inspect.Parameter]) -> Iterator[str]:
    """A pipeline of the component alone, with what it needs."""
    needed = [
        each for each in arguments if each.default is inspect.Parameter.empty and _kind(each) != OUTPUT
    ]
    own = [f"{each.name}: {_type(each)}" for each in needed if _kind(each) == PARAMETER]
    bundles = [f"{each.name}: str" for each in needed if _kind(each) == INPUT]
    yield "from kfp import dsl"
    yield ""
    yield f"from {module} import {name}"
    yield ""
    yield ""
    yield f'@dsl.pipeline(name="{name.replace("_", "-")}-example")'
    yield from _spread("def example", [*bundles, *own], "):", "")
    given = []
    for each in needed:
        if _kind(each) == INPUT:
            kind = _type(each)[len("dsl.Input[") : -1]
            yield f"    {each.name}_artifact = dsl.importer({each.name}, artifact_class={kind})"
            given.append(f"{each.name}={each.name}_artifact.output")
        else:
            given.append(f"{each.name}={each.name}")
    yield from _spread(name, given, ")", "    ")


def _spread(begin: str, arguments: list[str], end: str, indent: str) -> Iterator[str]:
    """A call or a signature, an argument a line where there is no room for all in one."""
    line = f"{indent}{begin}({', '.join(arguments)}{end}"
    if len(line) <= LINE_LENGTH:
        yield line
        return
    yield f"{indent}{begin}("
    yield from (f"{indent}    {argument}," for argument in arguments)
    yield f"{indent}{end}"


def _metadata(metadata: dict[str, Any]) -> Iterator[str]:
    yield f"- **Name**: {metadata['name']}"
    yield f"- **Stability**: {metadata['stability']}"
    yield "- **Dependencies**:"
    yield "  - Kubeflow:"
    for each in metadata["dependencies"]["kubeflow"]:
        yield f"    - Name: {each['name']}, Version: {each['version']}"
    yield "- **Tags**:"
    yield from (f"  - {tag}" for tag in metadata["tags"])
    yield f"- **Last Verified**: {metadata['lastVerified']}"


def _where(name: str) -> list[str]:
    image = "(environment variable `POCKETKUBE_IMAGE` while compiling)"
    if name not in STAGES:
        return [f"{image}."]
    same = f"`python -m pocketkube stage {name}` does: the same code runs on one machine."
    return [f"{image} and does what", same]


def _title(name: str) -> str:
    return name.replace("_", " ").title().replace("Litert", "LiteRT")


def _kind(parameter: inspect.Parameter) -> str:
    """Whether it is an artifact that comes in, one that goes out, or a parameter."""
    annotation = str(parameter.annotation)
    return next((kind for kind in (INPUT, OUTPUT) if f"{kind}Annotation" in annotation), PARAMETER)


def _type(parameter: inspect.Parameter) -> str:
    kind = _kind(parameter)
    if kind == PARAMETER:
        return str(parameter.annotation.__name__)
    annotation = str(parameter.annotation)
    artifact = next(word for word in ARTIFACTS if f".{word}" in annotation)
    return f"dsl.{kind}[dsl.{artifact}]"


def _default(parameter: inspect.Parameter) -> str:
    if parameter.default is inspect.Parameter.empty:
        return "needed"
    return "left out" if parameter.default is None else f"`{parameter.default!r}`"


if __name__ == "__main__":
    main()
