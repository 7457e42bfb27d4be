"""Halves an LSTM and a GRU network that read scikit-learn's digits row by row.

    python examples/recurrent.py --seeds 0 1 --output runs/recurrent

Trains each, prunes it to 2x by pk.prune, fine-tunes it with the original as the teacher, writes both as
LiteRT files and measures those side by side. Prints a table, and writes it to table.md.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
from sklearn.datasets import load_digits

import pocketkube as pk
from pocketkube.number_formats import NumberFormat

KINDS = {"LSTM": keras.layers.LSTM, "GRU": keras.layers.GRU}
FORMATS: tuple[NumberFormat | None, ...] = (None, "dynamic", "int8")
HEAD = (
    "network",
    "accuracy, %",
    "2x, %",
    "2x fine-tuned, %",
    "multiply-adds",
    "format",
    "file, kB",
    "file's accuracy, %",
    "times faster",
)


def main() -> None:
    """Goes through all networks and seeds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--units", type=int, default=128)
    parser.add_argument("--output", type=Path, default=Path("runs/recurrent"))
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    rows = [HEAD, ("---",) * len(HEAD)]
    for seed in options.seeds:
        for kind in KINDS:
            rows += _halved(kind, options.units, seed, options.output)
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    (options.output / "table.md").write_text(f"{table}\n", encoding="utf-8")
    print(table)


def _halved(kind: str, units: int, seed: int, folder: Path) -> Iterator[tuple[str, ...]]:
    (x, y), (x_test, y_test) = _digits()
    model = _trained(kind, units, seed, x, y)

    def accuracy(network: keras.Model) -> str:
        found = network.predict(x_test, verbose=0).argmax(axis=-1)
        return f"{100 * (found == y_test).mean():.1f}"

    pruned = pk.prune(model, speedup=2, data=(x, y), seed=seed)
    small = pk.fine_tune(pruned, (x, y), teacher=model, epochs=20, seed=seed)
    tuned = small.model
    common = (
        f"{kind}, seed {seed}",
        accuracy(model),
        accuracy(pruned.model),
        accuracy(tuned),
        f"{pk.profile(model).macs:,} to {pk.profile(tuned).macs:,}",
    )
    np.savez(folder / "test.npz", x=x_test, y=y_test)
    for number_format in FORMATS:
        before, after = (
            pk.export(
                net,
                folder / f"{kind}-{seed}-{name}-{number_format or 'float32'}.tflite",
                (x, y),
                number_format=number_format,
            ).path
            for name, net in (("whole", model), ("half", small))
        )
        found = pk.benchmark(before, after, data=folder / "test.npz", runs=200, threads=[1])
        first, last = found.files
        yield (
            *common,
            first.format,
            f"{first.size_bytes / 1000:.1f} to {last.size_bytes / 1000:.1f}",
            " to ".join(f"{100 * (file.score or 0):.1f}" for file in found.files),
            f"{found.latency_ratio:.2f}",
        )


def _digits() -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Eight steps of eight pixels each; the last third is for the test."""
    images, labels = load_digits(return_X_y=True)
    rows = (images / 16).reshape(-1, 8, 8).astype("float32")
    return (rows[:1200], labels[:1200]), (rows[1200:], labels[1200:])


def _trained(kind: str, units: int, seed: int, x: np.ndarray, y: np.ndarray) -> keras.Model:
    keras.utils.set_random_seed(seed)
    layer = KINDS[kind]
    model = keras.Sequential(
        [
            keras.Input((8, 8)),
            layer(units, return_sequences=True, name="first"),
            layer(units, name="second"),
            keras.layers.Dense(10, name="digits"),
        ],
        name=kind.lower(),
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.003), loss, metrics=["accuracy"])
    model.fit(x, y, epochs=15, batch_size=32, verbose=0)
    return model


if __name__ == "__main__":
    main()
