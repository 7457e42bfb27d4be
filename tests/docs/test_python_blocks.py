"""Blocks of Python compile, name what there is, and those that can be run do what they say."""

import ast
import inspect
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any, get_type_hints

import keras
import numpy as np
import pytest
from keras import layers

from pocketkube.pruning.pruner import Pruner
from tests.docs.written import ROOT, Block, blocks

BLOCKS = blocks("python")
# What is the example's, whose lines the tests of the API run.
(NOTEBOOK,) = (block for block in BLOCKS if "pk.Splits(" in block.text)
# What only its reader has.
ELSEWHERE = "my_package"
ALIASES = {"pk", "pocketkube"}


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_names_of_pocketkube_are_there(block: Block) -> None:
    tree = ast.parse(block.text, str(block))
    compile(tree, str(block), "exec")
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("pocketkube"):
            module = import_module(str(node.module))
            for alias in node.names:
                assert hasattr(module, alias.name), alias.name
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.startswith("pocketkube"):
                    import_module(alias.name)
        elif isinstance(node, ast.Call):
            of_ours(node)


def of_ours(call: ast.Call) -> None:
    """Looks whether a function of the API is there and takes such arguments."""
    match call.func:
        case ast.Attribute(value=ast.Name(id=name), attr=function) if name in ALIASES:
            signature = inspect.signature(getattr(import_module("pocketkube"), function))
            known = keywords(signature, function)
            given = {keyword.arg for keyword in call.keywords}
            assert given <= known, f"{function} does not take {given - known}"


def keywords(signature: inspect.Signature, function: str) -> set[Any]:
    """The keywords of a function, those of its `**settings: Unpack[…]` included."""
    known: set[Any] = set(signature.parameters)
    for parameter in signature.parameters.values():
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            (typed,) = parameter.annotation.__args__
            known |= set(get_type_hints(typed))
    return known


def test_the_notebook_of_the_pages_is_the_example() -> None:
    example = ast.parse((ROOT / "examples" / "notebook.py").read_text())
    lines = set(map(ast.dump, example.body))
    assert {ast.dump(line) for line in ast.parse(NOTEBOOK.text).body} <= lines


def test_the_criterion_of_the_pages_scores_by_the_largest_weight() -> None:
    (block,) = (each for each in BLOCKS if "criteria.register" in each.text)
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(block.text, str(block), "exec"), names)
    model = keras.Sequential([keras.Input((4,)), layers.Dense(6), layers.Dense(2)])
    scores = Pruner(model, criterion=names["LargestWeight"]()).scores
    kernel = np.asarray(model.layers[0].kernel)
    np.testing.assert_array_equal(scores, np.abs(kernel).max(0))


PREPARED = """
import os
import keras
import numpy as np
from keras import layers

rng = np.random.default_rng(0)
x, y = rng.random((64, 8, 8, 1), np.float32), np.arange(64) % 2
x_test, y_test = x[:16], y[:16]
model = keras.Sequential(
    [keras.Input((8, 8, 1)), layers.Conv2D(16, 3, activation="relu"), layers.Flatten(), layers.Dense(2)]
)
model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
os.makedirs("runs/mine")
model.save("runs/mine/model.keras")
model.save("net.keras")
np.savez("data.npz", x=x, y=y)
"""


@pytest.mark.slow
def test_blocks_run(tmp_path: Path) -> None:
    """Each in names of its own, all in one process: TensorFlow takes its time to start."""
    running = [each for each in BLOCKS if ELSEWHERE not in each.text and each != NOTEBOOK]
    code = "\n".join(
        [
            PREPARED,
            *(f"exec(compile({b.text!r}, {str(b)!r}, 'exec'), dict(globals()))" for b in running),
        ]
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stderr[-3000:]
