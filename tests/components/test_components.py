"""A component takes what its stage depends on, and its README says so."""

import inspect
import re
import tomllib
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml
from kfp import compiler
from kfp.dsl.executor import Executor

from components.readmes import category_folders, component_folders, component_in, index_of, readme_of
from pocketkube.spec import parse_settings, settings_document
from pocketkube.stages.registry import STAGES

ROOT = Path(__file__).parents[2]
FOLDERS = {folder.name: folder for folder in component_folders()}
CLUSTER = "cluster"
HELD = "held"


# They run no stage.
OTHERS = {
    "check_addresses",
    "check_spec",
    "check_search_spec",
    "decide_retraining",
    "retrain_model",
    "register_version",
}


def test_every_stage_has_a_component() -> None:
    assert set(FOLDERS) - OTHERS == set(STAGES)


@pytest.mark.parametrize("name", sorted(FOLDERS))
def test_component_folders_follow_the_layout(name: str) -> None:
    folder = FOLDERS[name]
    metadata = yaml.safe_load((folder / "metadata.yaml").read_text())
    assert metadata["name"] == name
    assert set(metadata) == {"name", "stability", "dependencies", "tags", "lastVerified"}
    component = import_module(f"components.{folder.parent.name}.{name}")
    assert getattr(component, name) is component_in(folder)


@pytest.mark.parametrize("name", sorted(FOLDERS))
def test_components_import_only_kfp_and_the_standard_library(name: str) -> None:
    source = (FOLDERS[name] / "component.py").read_text()
    imports = [x for x in source.splitlines() if x.startswith(("import ", "from "))]
    assert imports[0] == "import os"
    assert imports[-1] == "from kfp import dsl"
    assert {line.split()[1] for line in imports} <= {"os", "typing", "kfp"}


@pytest.mark.parametrize("name", sorted(FOLDERS))
def test_readmes_are_those_of_the_functions(name: str) -> None:
    written = (FOLDERS[name] / "README.md").read_text()
    assert written == readme_of(component_in(FOLDERS[name])), "run: python -m components.readmes"


@pytest.mark.parametrize("category", category_folders(), ids=lambda folder: folder.name)
def test_a_category_lists_its_components(category: Path) -> None:
    assert (category / "README.md").read_text() == index_of(category), (
        "run: python -m components.readmes"
    )


@pytest.mark.parametrize("name", sorted(FOLDERS))
def test_the_example_of_a_readme_compiles(name: str, tmp_path: Path) -> None:
    (example,) = re.findall(
        r"```python\n(.*?)```", (FOLDERS[name] / "README.md").read_text(), re.DOTALL
    )
    names: dict[str, Any] = {}
    exec(compile(example, name, "exec"), names)
    compiler.Compiler().compile(names["example"], str(tmp_path / "example.yaml"))
    (task,) = (
        task
        for task in yaml.safe_load((tmp_path / "example.yaml").read_text())["root"]["dag"]["tasks"]
        if not task.startswith("importer")
    )
    assert task == name.replace("_", "-")


@pytest.mark.parametrize("name", sorted(STAGES))
def test_a_component_takes_what_its_stage_depends_on(name: str) -> None:
    """KFP keeps outputs by a task's inputs, the cache of one machine by the config: one rule."""
    specification = component_in(FOLDERS[name]).component_spec  # type: ignore[attr-defined]
    artifacts = {key: value for key, value in specification.inputs.items() if "system." in value.type}
    parameters = {key: value for key, value in specification.inputs.items() if key not in artifacts}
    stage = STAGES[name]
    # Where a stage runs changes no result: it is in no config, and only some can run elsewhere.
    where = {CLUSTER} if stage.shared or name == "search_ratios" else set()
    # What addresses hold is in no config, either, and in both caches.
    outside = {HELD} if {"dataset", "model"} & set(stage.config.model_fields) else set()
    beside = where | (outside if stage.cached else set())
    assert beside <= set(parameters)
    assert set(parameters) - beside == set(stage.config.model_fields) - beside
    assert set(artifacts) == {*stage.inputs, *stage.optional}
    assert {key for key, value in artifacts.items() if value.optional} == set(stage.optional)
    optional = {key for key, field in stage.config.model_fields.items() if not field.is_required()}
    assert {key for key, value in parameters.items() if value.optional} - beside == optional - beside


@pytest.mark.parametrize("name", sorted(STAGES))
def test_defaults_are_the_stages(name: str) -> None:
    function = component_in(FOLDERS[name]).python_func  # type: ignore[attr-defined]
    config = STAGES[name].config
    for key, parameter in inspect.signature(function).parameters.items():
        if key in config.model_fields and parameter.default is not inspect.Parameter.empty:
            default = config.model_fields[key].get_default()
            shown = default if isinstance(default, int | float) else empty_like(parameter.default)
            assert parameter.default == shown


@pytest.mark.parametrize("name", sorted(FOLDERS))
def test_artifacts_are_taken_as_a_back_end_hands_them_over(name: str, tmp_path: Path) -> None:
    """It does not say of what kind they are, where one machine does."""
    from kfp.dsl.executor import Executor

    component: Any = component_in(FOLDERS[name])
    artifact = {"name": "7", "uri": "minio://bucket/model", "metadata": {}, "type": {}}
    inputs = component.component_spec.inputs or {}
    given = {key: {"artifacts": [artifact]} for key, value in inputs.items() if "system." in value.type}
    told = {"inputs": {"artifacts": given}, "outputs": {"outputFile": str(tmp_path / "output.json")}}
    taken = Executor(told, component).input_artifacts
    assert {key: type(value).__name__ for key, value in taken.items()} == {
        key: inputs[key].type.split(".")[1].split("@")[0] for key in given
    }


def empty_like(value: Any) -> Any:
    return type(value)()


def test_what_a_stage_is_told_is_read_back_equal() -> None:
    from pocketkube.spec import load_spec
    from pocketkube.stages.plan import plan

    for file in sorted((ROOT / "examples").glob("*.yaml")):
        for step in plan(load_spec(file)):
            document = settings_document(step.config)
            assert parse_settings(type(step.config), document, step.stage) == step.config


def test_the_wheel_holds_no_names_of_others() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["tool"]["setuptools"]["packages"]["find"]["include"] == ["pocketkube*"]


@pytest.mark.parametrize("name", sorted(FOLDERS))
def test_a_component_takes_artifacts_as_a_back_end_describes_them(name: str, tmp_path: Path) -> None:
    """A back end does not say of what type they are, and KFP makes them of what is annotated then.

    That may be no union: `dsl.Input[dsl.Model] | None` fails wherever the input is given.
    """
    component = component_in(FOLDERS[name])
    inputs = component.component_spec.inputs or {}  # type: ignore[attr-defined]
    artifact = {"name": "1", "type": {"instanceSchema": ""}, "uri": f"minio://mlpipeline/{name}"}
    given = {key for key, value in inputs.items() if "system." in value.type}
    made = Executor(
        {
            "inputs": {"artifacts": {key: {"artifacts": [artifact]} for key in given}},
            "outputs": {"outputFile": str(tmp_path / "output.json")},
        },
        component.python_func,  # type: ignore[attr-defined]
    )
    assert set(made.input_artifacts) == given
