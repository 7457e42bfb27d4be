"""The images and labels that all methods share, and the batches that all but PocketKube train on.

Needs NumPy alone. PocketKube draws its own shifts, from the same distribution.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

PARTS = ("train", "validation", "test")


@dataclass(frozen=True, eq=False)
class Part:
    """Images, float32 `[N, H, W, C]`, and their classes, int32 `[N]`."""

    images: np.ndarray
    labels: np.ndarray

    def first(self, count: int) -> "Part":
        """The first so many examples."""
        return Part(self.images[:count], self.labels[:count])


@dataclass(frozen=True)
class Arrays:
    """What is trained on, decided by, and reported."""

    train: Part
    validation: Part
    test: Part

    def write(self, file: Path) -> None:
        """Writes them as an .npz file."""
        parts = {name: getattr(self, name) for name in PARTS}
        np.savez(
            file,
            **{f"{name}_images": part.images for name, part in parts.items()},
            **{f"{name}_labels": part.labels for name, part in parts.items()},
        )

    @classmethod
    def read(cls, file: Path) -> "Arrays":
        """Reads what `write` has written."""
        with np.load(file) as found:
            return cls(*(Part(found[f"{name}_images"], found[f"{name}_labels"]) for name in PARTS))


def accuracy(logits: np.ndarray, labels: np.ndarray) -> float:
    """The part of the examples whose largest logit is their class's."""
    return float(np.mean(np.argmax(logits, axis=1) == labels))


def shifted_batches(
    part: Part, batch_size: int, shift: int, seed: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Batches without end, in a new order each epoch: images moved by up to `shift` pixels each way."""
    rng = np.random.default_rng(seed)
    height, width = part.images.shape[1:3]
    edges = (shift, shift)
    while True:
        order = rng.permutation(len(part.labels))
        for at in range(0, len(order) - batch_size + 1, batch_size):
            rows = order[at : at + batch_size]
            wide = np.pad(part.images[rows], ((0, 0), edges, edges, (0, 0)))
            tops, lefts = rng.integers(2 * shift + 1, size=(2, batch_size))
            places = zip(wide, tops, lefts, strict=True)
            moved = [image[top : top + height, left : left + width] for image, top, left in places]
            yield np.stack(moved), part.labels[rows]
