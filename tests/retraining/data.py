"""Partitions of the digits, and the settings of a model that is trained on them in seconds."""

from pathlib import Path
from typing import Any

import numpy as np
import yaml
from sklearn.datasets import load_digits

SPEC: dict[str, Any] = {
    "model": "lenet",
    "dataset": {"npz": "digits.npz"},
    "target": {"speedup": 2},
    "stages": [{"prune_channels": {"criterion": "l2"}}, {"fine_tune": {"epochs": 2}}, "quantize_int8"],
    "training": {"epochs": 6, "batch_size": 32},
    "benchmark": {"runs": 5, "threads": [1], "warmup_runs": 1, "max_seconds": 1},
}
# A busy machine says little of latency, and channels that are chosen anew may be more.
GATE = {"max_score_drop": 0.1, "max_size_growth": 1.0, "max_latency_growth": 20.0}


def digits(part: int, *, inverted: bool = False) -> dict[str, np.ndarray]:
    """A third of the digits, 16 x 16, as an .npz holds them."""
    images, labels = load_digits(return_X_y=True)
    rows = slice(part % 3, None, 3)
    pixels = images[rows].reshape(-1, 8, 8, 1).repeat(2, axis=1).repeat(2, axis=2)
    x = (pixels / 16).astype(np.float32)
    return {"x": 1 - x if inverted else x, "y": labels[rows].astype(np.int32)}


def add_partition(folder: Path, name: str, part: int, *, inverted: bool = False) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    aside = folder / f".{name}.npz"
    np.savez(aside, **digits(part, inverted=inverted))
    aside.rename(folder / f"{name}.npz")


def write_settings(folder: Path, **changes: Any) -> Path:
    """A retraining.yaml with its spec inside."""
    settings = {
        "name": "digits",
        "spec": SPEC,
        "partitions": "data",
        "registry": "registry",
        "gate": GATE,
    }
    file = folder / "retraining.yaml"
    file.write_text(yaml.safe_dump(settings | changes))
    return file
