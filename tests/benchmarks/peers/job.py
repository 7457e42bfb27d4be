"""What a method's process is asked, and what it answers; needs NumPy alone."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tests.benchmarks.peers.arrays import Arrays
from tests.benchmarks.peers.budget import Budget
from tests.benchmarks.peers.plain_network import PlainNetwork

JOB, ANSWER, NETWORK, FILE, OUTPUTS = (
    "job.json",
    "answer.json",
    "network.npz",
    "model.tflite",
    "outputs.npy",
)
DENSE_MODEL, DENSE_FILE, DENSE_NETWORK, DATA = "model.keras", "model.tflite", "network.npz", "data.npz"
# Test images on which two frameworks' outputs are held against each other.
PROBES = 64


class Cannot(Exception):
    """The method cannot do what it is asked, in one sentence: that is its result."""


@dataclass(frozen=True)
class Job:
    """What is asked of a method.

    Attributes:
        module: The method's module in `methods`.
        settings: What it is told beside.
        target: How far: a speed-up, bits, or a part of weights that becomes zero.
        seed: Of all that is random, and which uncompressed network there is.
        network: What the network is called.
        budget: The data and the training.
        dense: The folder of the uncompressed network.
        folder: This case's own.
        seconds: What a search may take; None leaves it its trials.
    """

    module: str
    settings: Mapping[str, Any]
    target: float
    seed: int
    network: str
    budget: Budget
    dense: Path
    folder: Path
    seconds: float | None = None

    def write(self) -> None:
        """Writes it into its folder."""
        places = {"dense": str(self.dense), "folder": str(self.folder)}
        (self.folder / JOB).write_text(json.dumps({**asdict(self), **places}, indent=1))

    @classmethod
    def read(cls, folder: Path) -> "Job":
        """Reads what `write` has written."""
        found = json.loads((folder / JOB).read_text())
        places = {"dense": Path(found["dense"]), "folder": Path(found["folder"])}
        return cls(**{**found, **places, "budget": Budget(**found["budget"])})

    def arrays(self) -> Arrays:
        """The data."""
        return Arrays.read(self.dense / DATA)

    def dense_network(self) -> PlainNetwork:
        """The uncompressed network."""
        return PlainNetwork.read(self.dense / DENSE_NETWORK)

    def dense_outputs(self) -> np.ndarray:
        """What the uncompressed network, in Keras, answers to the first test images."""
        return np.load(self.dense / OUTPUTS)


@dataclass(frozen=True, eq=False)
class Compressed:
    """What came of it: a network or a LiteRT file.

    Attributes:
        network: The network; None where there is a file.
        outputs: What the network answers to the first test images, in the method's framework.
        file: The content of the LiteRT file; None where there is a network.
        trained: Whether training with the budget's epochs was a part of it.
        mean_bits: Of the weights, where the file does not hold them as they are meant.
        seconds: What one compression took, where several were tried to meet the target.
        notes: Sentences for the reader.
    """

    network: PlainNetwork | None = None
    outputs: np.ndarray | None = None
    file: bytes | None = None
    trained: bool = False
    mean_bits: float | None = None
    seconds: float | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Prepared:
    """A method that is ready to compress.

    Attributes:
        outputs: What the converted, uncompressed network answers to the first test images.
        compress: What is measured.
        packages: Whose versions matter.
    """

    outputs: np.ndarray
    compress: Callable[[], Compressed]
    packages: tuple[str, ...] = field(default=())
