"""A trial of experiment.yaml: a linear classifier of points around ten centres, by gradient descent."""

import argparse
import time

import numpy as np

EPOCHS = 5


def main() -> None:
    """Trains, and prints the metrics of each epoch as Katib's collector reads them."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--decay", type=float, required=True)
    parser.add_argument("--batch", type=int, required=True)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    classes = rng.integers(10, size=2000)
    x = rng.normal(size=(10, 16))[classes] + rng.normal(size=(2000, 16))
    y = np.eye(10)[classes]
    train, valid = slice(0, 1500), slice(1500, None)
    weights = np.zeros((16, 10))
    for _ in range(EPOCHS):
        for rows in np.array_split(rng.permutation(1500), 1500 // options.batch):
            slope = x[train][rows].T @ (_softmax(x[train][rows] @ weights) - y[train][rows])
            weights -= options.rate * (slope / len(rows) + options.decay * weights)
        found = _softmax(x[valid] @ weights)
        loss = -np.log(np.maximum((found * y[valid]).sum(1), 1e-12)).mean()
        accuracy = (found.argmax(1) == y[valid].argmax(1)).mean()
        print(f"accuracy={accuracy:.4f} loss={loss:.4f}", flush=True)
        # Katib's collector has to find the process: it lives for some seconds.
        time.sleep(0.5)


def _softmax(values: np.ndarray) -> np.ndarray:
    powers = np.exp(values - values.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


if __name__ == "__main__":
    main()
