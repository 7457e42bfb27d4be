"""The stage that writes a LiteRT file and checks it against its model."""

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path

import keras

from pocketkube.benchmarking.samples import save_samples
from pocketkube.bundle import Bundle, load_bundle
from pocketkube.console.progress import working
from pocketkube.data import load_dataset
from pocketkube.data.batches import materialize
from pocketkube.data.dataset import Arrays, Dataset, Examples
from pocketkube.deploy import (
    SPARSE_FORMATS,
    SparseKernels,
    check_agreement,
    convert_litert,
    notes_on,
    notes_on_components,
    notes_on_steps,
    sparse_kernels,
)
from pocketkube.deploy.translator import convert_translator
from pocketkube.errors import UserError
from pocketkube.facts import AgreementFacts, ExportedFacts, ExportFacts
from pocketkube.figures import size
from pocketkube.files.layout import (
    FACTS_FILE,
    LITERT_FILE,
    SAMPLES_FILE,
    TOKENIZER_FILE,
    TRANSLATOR_FILE,
)
from pocketkube.files.records import text_of
from pocketkube.files.whole import replaced_folder, write_text
from pocketkube.keras_private import flat_layers
from pocketkube.number_formats import LITERT_BITS
from pocketkube.quantization.fake_quantize import FakeQuantize
from pocketkube.quantization.integer_kernels import integer_kernels
from pocketkube.stages.assessment import is_original, is_sparse, task_of, was_done
from pocketkube.stages.comparison import worse_by_pruning
from pocketkube.stages.configs import ExportLitertConfig
from pocketkube.stages.examples import labelled
from pocketkube.stages.fitting import refuse_other_inputs
from pocketkube.stages.formats import FileFormat, file_format, remedy
from pocketkube.stages.without_data import random_inputs
from pocketkube.training.evaluation import fitting_batch
from pocketkube.translation.keras_decoder import KerasDecoder
from pocketkube.translation.litert_decoder import LiteRTDecoder
from pocketkube.translation.names import DECODE, ENCODE
from pocketkube.translation.search import greedy_search

CHECKED, LARGEST_SAMPLES = 1000, 2**30
# Numbers of outputs that are compared at once.
LARGEST_OUTPUTS = 2**27
# Test sentences that are translated by both.
TRANSLATED = 32


def export_litert(
    config: ExportLitertConfig, inputs: Mapping[str, Path], output: Path, scratch: Path
) -> None:
    """Writes model.tflite, the test examples to judge it by, and what is known of it.

    Of a model of translation, which is judged by all of its outputs at once, translator.tflite decodes
    token by token; sentencepiece.model stands beside it.

    Where there are no labels, what the uncompressed model answers is beside its own file's examples:
    the benchmark judges other files by these, too.
    """
    began = time.monotonic()
    wanted = file_format(config.settings)
    bundle = load_bundle(inputs["model"])
    task, dataset = task_of(bundle.facts), None
    if not config.dataset.is_none:
        dataset = load_dataset(config.dataset)
        refuse_other_inputs(dataset, bundle.model)
        if task.to_original and is_original(bundle.facts):
            dataset = labelled(dataset, task, bundle)
    stores_sparse = is_sparse(bundle.facts) and wanted.numbers in SPARSE_FORMATS
    with working("convert", to=wanted.numbers):
        content = converted(
            bundle,
            wanted,
            sparse=stores_sparse,
            calibration=lambda count: _ranges_from(dataset, count, config.seed),
        )
    test, labels = _test_examples(dataset.test) if dataset else (random_inputs(bundle.model), ())
    checked = fitting_batch(bundle.model, CHECKED, LARGEST_OUTPUTS)
    compared = tuple(x[:checked] for x in test)
    with working("compare", examples=str(len(compared[0]))):
        agreement = check_agreement(
            content,
            bundle.model,
            compared,
            wanted.min_agreement if dataset else 0.0,
            measure=task.measure,
            remedy=remedy(
                config.settings,
                on_levels=was_done(bundle.facts, "quantize_weights"),
                at_chance=bundle.facts.at_chance,
            ),
        )
    translator: bytes | None = None
    told: list[str] = []
    if dataset is not None and dataset.translation is not None:
        translator, told = _translator(bundle.model, wanted, dataset)
    export = ExportFacts(
        name=wanted.name,
        seconds=time.monotonic() - began,
        notes=(*notes_on_file(content, bundle.model, wanted, sparse=stores_sparse), *told),
        warnings=(
            *worse_by_pruning(bundle, task.measure.wording),
            *notes_on_components(agreement),
        ),
    )
    facts = ExportedFacts(
        **dict(bundle.facts),
        format=wanted.numbers,
        agreement=AgreementFacts.model_validate(
            asdict(agreement) | {"on_random_inputs": dataset is None}
        ),
        export=export,
    )
    with replaced_folder(output) as folder:
        (folder / LITERT_FILE).write_bytes(content)
        if translator is not None and dataset is not None and dataset.translation is not None:
            (folder / TRANSLATOR_FILE).write_bytes(translator)
            (folder / TOKENIZER_FILE).write_bytes(dataset.translation.tokenizer.model)
        save_samples(folder / SAMPLES_FILE, test, labels, bundle.facts.task)
        write_text(folder / FACTS_FILE, text_of(facts))


def _translator(
    model: keras.Model, wanted: FileFormat, dataset: Dataset
) -> tuple[bytes | None, list[str]]:
    """The file that decodes token by token, and sentences on it; none where a model cannot do so."""
    try:
        content = convert_translator(model, wanted.numbers)
        (sources, *_), _ = materialize(dataset.test, TRANSLATED, 0)
        ours, theirs = (
            greedy_search(decoder, sources) for decoder in (LiteRTDecoder(content), KerasDecoder(model))
        )
    except UserError as error:
        return None, [f"There is no {TRANSLATOR_FILE}: {error}"]
    same = sum(one == other for one, other in zip(ours, theirs, strict=True))
    return content, [
        f"{TRANSLATOR_FILE} ({size(len(content))}) decodes token by token, by the signatures {ENCODE} "
        f"and {DECODE}; its greedy translation is the Keras model's for {same} of {len(ours)} test "
        "sentences."
    ]


def _ranges_from(dataset: Dataset | None, count: int, seed: int) -> Arrays:
    if dataset is None:
        raise UserError(
            "quantize_int8: its ranges come from examples, and there is no dataset; give one, or use "
            "quantize_dynamic."
        )
    return materialize(dataset.train, count, seed)[0]


def converted(
    bundle: Bundle, wanted: FileFormat, *, sparse: bool, calibration: Callable[[int], Arrays]
) -> bytes:
    """A bundle's model as a LiteRT file.

    Args:
        bundle: The model, and the forms of its weights.
        wanted: The format.
        sparse: Whether zeros are left out where that makes the file smaller, and no runtime computes
            it wrongly for that.
        calibration: Gives so many training examples; asked only where the format needs them.
    """
    rounds_itself = _rounds_itself(bundle.model)
    needed = wanted.numbers == "int8" and not rounds_itself

    def convert(store_sparse: bool) -> bytes:
        return convert_litert(
            bundle.model,
            wanted.numbers,
            calibration=calibration(wanted.calibration_examples) if needed else None,
            input_type=wanted.input_type,
            output_type=wanted.output_type,
            store_sparse=store_sparse,
            rounds_itself=rounds_itself,
            kernels=integer_kernels(bundle.model, bundle.forms),
        )

    content = convert(sparse)
    if sparse and wanted.numbers in SPARSE_FORMATS and sparse_kernels(content).wrong:
        return convert(False)
    return content


def notes_on_file(content: bytes, model: keras.Model, wanted: FileFormat, *, sparse: bool) -> list[str]:
    """Sentences on what a file holds and what LiteRT makes of it.

    Args:
        content: The file.
        model: The model that it was converted from.
        wanted: The format that was asked for.
        sparse: Whether zeros were to be left out.
    """
    is_calibrated = wanted.numbers == "int8" and not _rounds_itself(model)
    return [
        *notes_on(content, wanted.numbers),
        *([_use_of_zeros(sparse_kernels(content))] if sparse else []),
        *(notes_on_steps(model) if is_calibrated else []),
    ]


def _use_of_zeros(found: SparseKernels) -> str:
    if found.wrong:
        return (
            "The file holds its zeros: stored sparse, XNNPACK would on ARM compute convolutions "
            "channels first whose outputs are read channels last, and the results would be wrong."
        )
    if not found.convolutions:
        return (
            "XNNPACK has sparse kernels for 1x1 convolutions alone, and there are none: zeros make the "
            "file small, not fast."
        )
    used = (
        f"On ARM, XNNPACK computes {found.sparse} of {found.convolutions} 1x1 convolutions with sparse "
        "kernels"
    )
    return f"{used}: {found.reason}." if found.reason else f"{used}, which skip zeros."


def _rounds_itself(model: keras.Model) -> bool:
    """Whether a model's own ranges are those of LiteRT's integers."""
    layers = flat_layers(model, include_self=False)
    bits = {layer.bits for layer in layers if isinstance(layer, FakeQuantize)}
    return bits == {LITERT_BITS}


def _test_examples(test: Examples) -> tuple[Arrays, Arrays]:
    """All test examples, or as many as fit into a gibibyte."""
    (one, _) = materialize(test, 1, 0)
    fitting = LARGEST_SAMPLES // max(sum(x.nbytes for x in one), 1)
    return materialize(test, None if test.size <= fitting else fitting, 0)
