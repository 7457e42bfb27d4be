"""A small Transformer learns to reverse sentences, on one rank and on two, and is compressed."""

import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from pocketkube.files.layout import LITERT_FILE, RESULT_FILE, TOKENIZER_FILE, TRANSLATOR_FILE
from tests.reversed_text import TOKENS, write_reversed

needs_horovod = pytest.mark.skipif(
    find_spec("horovod") is None or shutil.which("mpirun") is None, reason="Horovod is missing"
)
SPEC = """\
model: transformer_tiny
dataset: {{text: text, languages: [en, de], vocabulary_size: {tokens}, max_length: 8}}
target: {{speedup: 1.4}}
stages: [prune_channels, {{fine_tune: {{epochs: 3}}}}, quantize_dynamic]
training:
  epochs: 9
  batch_size: 64
  learning_rate: 0.004
  schedule: inverse_sqrt
  label_smoothing: 0.1
  weight_decay: 0
  workers: {workers}
benchmark: {{runs: 5, threads: [1]}}
"""


def bleu(notes: list[str]) -> float:
    (told,) = (note for note in notes if note.startswith("BLEU "))
    return float(told.split()[1])


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=needs_horovod)])
def test_it_reaches_bleu_95_before_and_after_compression(tmp_path: Path, workers: int) -> None:
    write_reversed(tmp_path / "text", train=3000, test=60, longest=5)
    (tmp_path / "spec.yaml").write_text(SPEC.format(tokens=TOKENS, workers=workers))
    command = [
        sys.executable,
        "-m",
        "pocketkube",
        "run",
        tmp_path / "spec.yaml",
        "-o",
        tmp_path / "out",
    ]
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    result = json.loads((tmp_path / "out" / RESULT_FILE).read_text())
    stages = {stage["name"]: stage for stage in result["stages"]}
    assert stages["train_model"]["history"]["workers"] == workers
    assert bleu(stages["train_model"]["notes"]) > 95
    assert bleu(stages["fine_tune"]["notes"]) > 95
    assert result["speedup"] >= 1.4
    assert result["after"]["score"] > 0.97
    assert result["after"]["size_bytes"] < result["before"]["size_bytes"] / 3
    (told,) = (note for note in stages["quantize_dynamic"]["notes"] if TRANSLATOR_FILE in note)
    assert "by the signatures encode and decode" in told
    for name in (LITERT_FILE, TRANSLATOR_FILE, TOKENIZER_FILE):
        assert (tmp_path / "out" / name).is_file()
