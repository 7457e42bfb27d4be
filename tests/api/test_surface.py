"""What `import pocketkube as pk` costs, offers and tells a type checker."""

import doctest
import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import get_args, get_type_hints

import pytest

import pocketkube as pk
from pocketkube.api import keywords
from pocketkube.spec.sections import (
    Benchmark,
    ClusterWeights,
    FineTune,
    PruneChannels,
    Quantize,
    QuantizeWeights,
    SparsifyWeights,
)
from pocketkube.stages.configs import Learning

MODULES = [
    f"pocketkube.api.{file.stem}"
    for file in sorted(Path(import_module("pocketkube.api").__file__ or "").parent.glob("*.py"))
]
HEAVY = {"tensorflow", "keras", "numpy", "scipy", "sklearn", "kfp", "pydantic", "rich", "PIL"}
SNIPPET = """
import keras
import numpy as np
import pocketkube as pk

model: keras.Model = pk.import_model("net.keras").model
data = np.zeros((8, 4)), np.zeros(8)
small = pk.prune(model, speedup=2)
small = pk.fine_tune(small, data, teacher=model, epochs=3)
small = pk.quantize(small, data, bits=8, activation_bits="float")
pk.export(small, "net.tflite").show()
ratio: float | None = pk.benchmark("net.tflite", "old.tflite").latency_ratio
"""


def test_importing_loads_nothing_heavy() -> None:
    program = (
        "import json, sys; import pocketkube as pk; names = dir(pk); "
        "print(json.dumps([sorted(sys.modules), names]))"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded, names = json.loads(ran.stdout)
    assert not HEAVY & {name.split(".")[0] for name in loaded}
    assert set(pk.__all__) <= set(names)


def test_every_name_is_there_and_others_are_refused() -> None:
    for name in pk.__all__:
        assert getattr(pk, name).__name__ == name
        assert getattr(pk, name).__doc__
    with pytest.raises(AttributeError, match="has no attribute 'prone'"):
        pk.prone  # noqa: B018


def test_a_function_is_not_hidden_by_a_module_of_its_name() -> None:
    for name in MODULES:
        import_module(name)
    import_module("pocketkube.benchmarking")
    assert all(callable(getattr(pk, name)) for name in pk.__all__)


def test_type_checkers_find_the_types() -> None:
    assert (Path(pk.__file__).parent / "py.typed").is_file()


@pytest.mark.parametrize(
    ("typed", "settings", "own", "left_out"),
    [
        (keywords.PruneKeywords, PruneChannels, {"task", "seed"}, {"group_size", "group_epochs"}),
        (keywords.CourseKeywords, FineTune, set(Learning.model_fields), set()),
        (keywords.SparsifyKeywords, SparsifyWeights, set(Learning.model_fields), {"sparsity"}),
        (keywords.ClusterKeywords, ClusterWeights, set(Learning.model_fields), {"bits"}),
        (keywords.QuantizeKeywords, QuantizeWeights, set(Learning.model_fields), {"weight_bits"}),
        (keywords.ExportKeywords, Quantize, set(), set()),
        (keywords.BenchmarkKeywords, Benchmark, set(), set()),
    ],
)
def test_keywords_are_the_settings_of_a_spec(typed, settings, own, left_out) -> None:
    known = set(settings.model_fields) - {"name"} - left_out
    assert set(typed.__annotations__) == known | own


def test_choices_are_those_of_the_settings() -> None:
    hints = get_type_hints(keywords.ClusterKeywords)
    assert get_args(hints["train"]) == get_args(ClusterWeights.model_fields["train"].annotation)
    hints = get_type_hints(keywords.QuantizeKeywords)
    for name in ("scheme", "ranges", "calibration", "granularity"):
        assert get_args(hints[name]) == get_args(QuantizeWeights.model_fields[name].annotation)


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_are_right(name) -> None:
    found = doctest.testmod(import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE)
    assert found.failed == 0


def test_every_function_has_an_example() -> None:
    functions = [name for name in pk.__all__ if name.islower()]
    assert len(functions) == 12
    assert all(">>> " in (getattr(pk, name).__doc__ or "") for name in functions)


@pytest.mark.slow
def test_a_typed_notebook_is_right_for_mypy_and_a_wrong_one_is_not(tmp_path: Path) -> None:
    wrong = SNIPPET + "pk.quantize(small, data, activation_bit=8)\npk.export(small, 3)\n"
    files = [tmp_path / "right.py", tmp_path / "wrong.py"]
    for file, text in zip(files, (SNIPPET, wrong), strict=True):
        file.write_text(text)
    ran = subprocess.run(
        [sys.executable, "-m", "mypy", "--ignore-missing-imports", "--follow-imports=silent",
         "--config-file=", *map(str, files)],
        capture_output=True,
        text=True,
        cwd=Path(pk.__file__).parents[1],
    )  # fmt: skip
    errors = [line for line in ran.stdout.splitlines() if ": error:" in line]
    assert [Path(line.split(":")[0]).name for line in errors] == ["wrong.py", "wrong.py"], ran.stdout
