"""--import, on the commands that open a model."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pocketkube.cli.main import command_parser, main
from tests.own_modules import as_before, save_network

# What opens models; benchmark does for a latency table.
COMMANDS = {
    *("run", "search", "profile", "prune", "unpack", "import", "export", "compare", "benchmark"),
    *("submit", "retrain", "stage", "trial"),
}


def test_every_command_that_opens_a_model_has_it() -> None:
    (choices,) = (each.choices for each in command_parser()._actions if each.choices)
    assert {name for name, each in choices.items() if "--import" in each.format_help()} == COMMANDS


def test_a_file_is_named_from_any_folder(tmp_path: Path) -> None:
    save_network(tmp_path)
    small, tflite = tmp_path / "small.keras", tmp_path / "small.tflite"
    with as_before():
        named = ["--import", str(tmp_path / "my_layers.py")]
        pruned = ["prune", str(tmp_path / "net.keras"), "--speedup", "2", "--round-to", "1"]
        main([*pruned, "-o", str(small), *named])
        main(["export", str(small), "-o", str(tflite), *named])
    assert tflite.stat().st_size > 1000
    # By its name, from the folder that it is in; in a process that knows nothing else of it.
    command = [sys.executable, "-m", "pocketkube", "profile", "small.keras", "--json"]
    done = subprocess.run(
        [*command, "--import", "my_layers"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    layers = {layer["name"]: layer for layer in json.loads(done.stdout)["layers"]}
    assert layers["stem"]["kind"] == "Named"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--import", "no.py"], "pocketkube: --import: there is no file "),
        (["--import", "no_such_layers"], "pocketkube: imports: there is no module no_such_layers"),
    ],
)
def test_what_is_missing_is_refused_in_one_line(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["profile", "net.keras", *words])
    shown = f"{ended.value.code}{capsys.readouterr().err}"
    assert said in shown
    assert "Traceback" not in shown
