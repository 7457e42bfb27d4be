"""Small parallel text that examples/reversed_text.py writes: the source, and it reversed."""

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

from pocketkube.data import Dataset, load_dataset
from pocketkube.spec.sections import DatasetSettings

SCRIPT = Path(__file__).parents[1] / "examples" / "reversed_text.py"
# A to l, each alone and behind a space, the space, and the four tokens that are no text.
TOKENS = 29


def write_reversed(folder: Path, *, train: int = 60, test: int = 12, longest: int = 8) -> Path:
    """Writes the files and gives their folder."""
    spec = spec_from_file_location("reversed_text", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    module.write(folder, {"train": train, "validation": test, "test": test}, longest)
    return folder


def load_text(folder: Path, **settings) -> Dataset:
    known = {"languages": ("en", "de"), "vocabulary_size": TOKENS, "max_length": 12}
    return load_dataset(DatasetSettings(text=str(folder), **{**known, **settings}))
