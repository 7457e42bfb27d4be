"""AutoGraph rewrites what is traced, which takes seconds; Keras's layers make no use of it."""

import ast
from pathlib import Path

import pocketkube

ROOT = Path(pocketkube.__file__).parent


def test_it_converts_no_function_of_ours() -> None:
    converted = []
    for file in ROOT.rglob("*.py"):
        nodes = list(ast.walk(ast.parse(file.read_text("utf-8"))))
        calls = [node for node in nodes if isinstance(node, ast.Call)]
        plain = [c.func for c in calls if "autograph=False" in [ast.unparse(k) for k in c.keywords]]
        traced = [n for n in nodes if isinstance(n, ast.Attribute) and ast.unparse(n) == "tf.function"]
        converted += [f"{file.relative_to(ROOT)}:{n.lineno}" for n in traced if n not in plain]
    assert converted == []
