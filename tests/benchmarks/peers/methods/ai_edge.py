"""ai-edge-quantizer, on the LiteRT file of the uncompressed network."""

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from ai_edge_quantizer import quantizer, recipe

from tests.benchmarks.peers.job import DENSE_FILE, PROBES, Compressed, Job, Prepared


def prepare(job: Job) -> Prepared:
    """Settings: `recipe`, a function of ai_edge_quantizer.recipe, and its `algorithm`."""
    arrays = job.arrays()
    file = str(job.dense / DENSE_FILE)
    algorithm = recipe.AlgorithmName[job.settings["algorithm"]]
    wanted = getattr(recipe, job.settings["recipe"])(algorithm_key=algorithm)
    interpreter = Interpreter(file)
    (signature,) = interpreter.get_signature_list()
    (name,) = interpreter.get_signature_list()[signature]["inputs"]
    examples = arrays.train.first(job.budget.calibration).images

    def compress() -> Compressed:
        made = quantizer.Quantizer(file, wanted)
        ranges = None
        if made.need_calibration:
            ranges = made.calibrate({signature: [{name: image[None]} for image in examples]})
        return Compressed(file=bytes(made.quantize(ranges).quantized_model))

    return Prepared(
        _outputs(interpreter, arrays.test.images[:PROBES]), compress, ("ai-edge-quantizer",)
    )


def _outputs(interpreter: Interpreter, images: np.ndarray) -> np.ndarray:
    run = interpreter.get_signature_runner()
    (name,) = run.get_input_details()
    return np.concatenate([next(iter(run(**{name: image[None]}).values())) for image in images])
