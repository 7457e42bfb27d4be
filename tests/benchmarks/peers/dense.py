"""Trains an uncompressed network: `python -m tests.benchmarks.peers.dense FOLDER NETWORK SEED BUDGET`.

Writes the network as a Keras file, as plain data and as a LiteRT file, the arrays that all methods
share, what it answers to the first test images, and its figures.
"""

import json
import sys
from pathlib import Path

import keras
import numpy as np

import pocketkube as pk
from pocketkube.files.whole import replaced_folder, write_text
from pocketkube.models import build_model
from tests.benchmarks.peers.arrays import accuracy
from tests.benchmarks.peers.budget import Budget
from tests.benchmarks.peers.in_keras import described
from tests.benchmarks.peers.job import (
    DATA,
    DENSE_FILE,
    DENSE_MODEL,
    DENSE_NETWORK,
    OUTPUTS,
    PROBES,
)
from tests.benchmarks.peers.networks import NETWORKS
from tests.benchmarks.peers.plain_network import count_macs
from tests.benchmarks.peers.result import DENSE_FACTS, DenseFacts
from tests.benchmarks.peers.splits import arrays_for, splits_of


def main(folder: Path, network: str, seed: int, budget: Budget) -> None:
    """Trains and writes; the folder is whole or not there."""
    chosen = NETWORKS[network]
    arrays = arrays_for(chosen, budget)
    model = build_model(
        chosen.model, (chosen.pixels, chosen.pixels, 1), 10, width=chosen.width, seed=seed
    )
    trained = pk.fine_tune(
        model,
        splits_of(arrays),
        training=budget.training(budget.dense_epochs),
        epochs=budget.dense_epochs,
        seed=seed,
    ).model
    plain = described(trained)
    with replaced_folder(folder) as place:
        arrays.write(place / DATA)
        trained.save(place / DENSE_MODEL)
        plain.write(place / DENSE_NETWORK)
        np.save(place / OUTPUTS, trained.predict(arrays.test.images[:PROBES], verbose=0))
        exported = pk.export(trained, place / DENSE_FILE, arrays.validation.images[:256])
        costs = pk.profile(trained)
        if count_macs(plain) != costs.macs:
            raise SystemExit(f"{network}: {count_macs(plain)} MACs here, {costs.macs} by the profile")
        facts = DenseFacts(
            schema_version=1,
            score=accuracy(trained.predict(arrays.test.images, verbose=0), arrays.test.labels),
            macs=costs.macs,
            parameters=costs.parameters,
            file_bytes=exported.size_bytes,
            versions={"pocketkube": pk.__version__, "keras": keras.__version__},
        )
        write_text(place / DENSE_FACTS, facts.model_dump_json(indent=1))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), Budget(**json.loads(sys.argv[4])))
