"""Writes parallel text in the layout of WMT's files, of which the translation is the source reversed.

    python examples/reversed_text.py -o runs/reversed_text
    pocketkube run examples/reversed_text.yaml -o runs/reversed

A network that translates it has learnt what each token is and where it stands, without any rule of a
language.
"""

import argparse
import gzip
from pathlib import Path

import numpy as np

WORDS = tuple("abcdefghijkl")
SIZES = {"train": 6000, "validation": 200, "test": 200}


def write(folder: Path, sizes: dict[str, int], longest: int = 8, seed: int = 0) -> None:
    """Writes the files of all splits; those for training packed.

    Args:
        folder: Where to.
        sizes: Pairs of each split.
        longest: Most words of a sentence; the fewest are 2.
        seed: The sentences follow from it.
    """
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for split, size in sizes.items():
        sentences = [list(rng.choice(WORDS, rng.integers(2, longest + 1))) for _ in range(size)]
        sides = {"en": sentences, "de": [words[::-1] for words in sentences]}
        for language, lines in sides.items():
            text = "".join(f"{' '.join(words)}\n" for words in lines).encode()
            if split == "train":
                (folder / f"{split}.{language}.gz").write_bytes(gzip.compress(text))
            else:
                (folder / f"{split}.{language}").write_bytes(text)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, required=True, help="the folder to write")
    parser.add_argument("--seed", type=int, default=0, help="other sentences (default: 0)")
    given = parser.parse_args()
    write(given.output, SIZES, seed=given.seed)
