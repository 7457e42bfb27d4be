"""The stage that puts weights and activations on evenly spaced levels."""

import time
from collections.abc import Mapping
from pathlib import Path

from pocketkube.bundle import Bundle, load_bundle, save_bundle
from pocketkube.data import load_dataset
from pocketkube.data.batches import materialize
from pocketkube.deploy.integers import FOUR_BITS
from pocketkube.quantization.fake_quantize import LITERT_BITS
from pocketkube.quantization.quantize import Quantized, quantize
from pocketkube.sparsity import KeptZeros
from pocketkube.spec.schema import QuantizeWeights, Spec, Training
from pocketkube.stages.facts import after_stage, is_sparse, judge, task_of
from pocketkube.stages.formats import file_format
from pocketkube.stages.teaching import lesson_of, load_teachers
from pocketkube.training.loop import train
from pocketkube.training.method import Method, Together
from pocketkube.training.workers import workers


def quantize_weights(
    spec: Spec, position: int, inputs: Mapping[str, Path], output: Path, scratch: Path
) -> None:
    """Calibrates a model's levels, trains it with them, and writes the bundle of what it becomes."""
    began = time.monotonic()
    settings = spec.stages[position]
    assert isinstance(settings, QuantizeWeights)
    dataset = load_dataset(spec.dataset)
    student = load_bundle(inputs["model"])
    task = task_of(student.facts)
    calibration, _ = materialize(dataset.train, settings.calibration_examples, spec.seed)
    quantized = quantize(student.model, settings, calibration, spec.seed)
    history, notes = None, _notes(settings)
    if settings.epochs == 0:
        quantized.method.finish()
    else:
        lesson = lesson_of(spec, quantized.model, task, load_teachers(spec, inputs["teacher"], dataset))
        notes += lesson.notes
        history = train(
            quantized.model,
            dataset,
            task,
            _course(spec.training, settings),
            seed=spec.seed + 1,
            stage=settings.name,
            lesson=lesson,
            method=_method(quantized, is_sparse(student.facts)),
            checkpoints=scratch,
        )
    judged = judge(quantized.model, dataset, task)
    facts = after_stage(student.facts, settings.name, judged, began, history=history, notes=notes)
    if workers().rank == 0:
        save_bundle(output, Bundle(quantized.model, facts, quantized.method.forms()))


def _course(training: Training, settings: QuantizeWeights) -> Training:
    """Training's, half as long and with a tenth of the rate: a folded model has no BatchNorm to
    bring its channels back into proportion."""
    return training.model_copy(
        update={
            "epochs": settings.epochs or max(1, training.epochs // 2),
            "learning_rate": settings.learning_rate or training.learning_rate / 10,
        }
    )


def _method(quantized: Quantized, sparse: bool) -> Method:
    if not sparse:
        return quantized.method
    return Together([KeptZeros(quantized.model), quantized.method])


def _notes(settings: QuantizeWeights) -> list[str]:
    """What became of the numbers, and what the file holds of it."""
    activations = (
        "activations are floats"
        if settings.activation_bits is None
        else f"activations have {settings.activation_bits} bits"
    )
    shared = {"tensor": "layer", "channel": "channel", "bucket": f"{settings.bucket_size} weights"}
    notes = [
        f"Weights have {settings.weight_bits} bits ({settings.first_last_bits} in the first and the "
        f"last layer), one scale for each {shared[settings.granularity]}; {activations}."
    ]
    if settings.epochs == 0:
        notes.append("They were calibrated, not trained.")
    return [*notes, _in_the_file(settings)]


def _in_the_file(settings: QuantizeWeights) -> str:
    numbers = file_format(settings).numbers
    exact = settings.scheme == "symmetric" and settings.granularity != "bucket"
    if numbers == "float32" and settings.activation_bits not in (None, LITERT_BITS):
        return (
            f"LiteRT has no kernels for {settings.activation_bits}-bit activations: the file computes "
            "in floats, rounded as the model rounds them. The packed file is small."
        )
    if numbers == "float32":
        return (
            "LiteRT has no kernels for such weights: the file holds them as floats. The packed file "
            "is small."
        )
    if not exact:
        return (
            "LiteRT has no kernels for such weights: the file holds them rounded anew to 8 bits, one "
            "scale for each channel. The packed file is small."
        )
    if min(settings.weight_bits, *settings.layers.values(), 8) <= FOUR_BITS:
        return (
            "The file holds weights of at most 4 bits in 4 bits, which LiteRT unpacks: it is smaller, "
            "not faster, than one of 8 bits."
        )
    return "The file holds the weights as the whole numbers that they are."
