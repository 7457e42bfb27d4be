"""A child process: loads LiteRT files and runs them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pocketkube.bounded.npz import read_npz
from pocketkube.litert.running import LiteRTModel
from pocketkube.native.serving import serve


def run(request: Mapping[str, Any]) -> Mapping[str, Any]:
    """Runs a file on examples.

    Args:
        request: "file"; "is_named", whether messages may name it; "threads"; "inputs", an .npz of
            arrays `[N, ...]`, or null for one example of zeros; "origin", what messages call them;
            "outputs", the .npz to write, or null.
    """
    file = Path(request["file"])
    model = LiteRTModel(file if request["is_named"] else file.read_bytes(), request["threads"])
    if request["inputs"] is None:
        model.refuse_open_sizes()
        zeros = zip(model.input_shapes, model.input_types, strict=True)
        model.invoke([np.zeros(shape, kind) for shape, kind in zeros])
        return {}
    inputs = list(read_npz(Path(request["inputs"])).values())
    model.fit_inputs(inputs, request["origin"])
    outputs = [np.concatenate(one) for one in zip(*model.predict(inputs), strict=True)]
    if request["outputs"] is not None:
        np.savez(request["outputs"], **{f"y{i}": y for i, y in enumerate(outputs)})  # type: ignore[arg-type]
    return {}


if __name__ == "__main__":
    serve(run)
