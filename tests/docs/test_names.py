"""Names of steps, files and folders on pages are those that the code has."""

import re
from pathlib import Path

import yaml

import pocketkube
from pocketkube.files.layout import FRONT_RATIOS
from pocketkube.spec import parse_spec
from pocketkube.spec.stage_settings import STAGE_NAMES
from pocketkube.stages import outputs
from pocketkube.stages.plan import plan
from tests.docs.written import ROOT, blocks, inline_code

DOCS = ROOT / "docs"


def test_the_steps_of_the_page_on_concepts_are_those_of_its_spec() -> None:
    of_page = [
        block for block in (*blocks("yaml"), *blocks("text")) if block.page.name == "concepts.md"
    ]
    stages, steps = of_page
    spec = parse_spec(
        {"model": "net.keras", "dataset": "digits", "target": {"speedup": 2}}
        | yaml.safe_load(stages.text)
    )
    assert steps.text.split() == [step.key for step in plan(spec)]


def test_numbered_steps_are_called_for_stages() -> None:
    found = [re.fullmatch(r"\d+_(\w+)", code) for _, code in inline_code()]
    named = {match[1] for match in found if match}
    assert named
    assert named <= set(STAGE_NAMES)


def test_the_page_on_results_has_every_file() -> None:
    page = (DOCS / "results.md").read_text("utf-8")
    files = {value for name, value in vars(outputs).items() if name.endswith("_FILE")}
    assert len(files) > 5
    for name in (*files, f"{FRONT_RATIOS}/"):
        assert f"`{name}`" in page


def test_the_page_on_the_code_has_every_folder_of_the_library() -> None:
    rows = re.findall(
        r"^\| (`\w+`(?:, `\w+`)*) \|", (DOCS / "internals.md").read_text("utf-8"), re.MULTILINE
    )
    named = {name.strip("`") for row in rows for name in row.split(", ")}
    library = Path(pocketkube.__file__).parent
    assert named == {path.parent.name for path in library.glob("*/*.py")}
