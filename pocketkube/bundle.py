"""A model bundle: a folder with model.keras and, beside it, what is known of the model."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import keras
import numpy as np

from pocketkube.bounded.hdf5 import count_numbers
from pocketkube.bounded.limits import Unreadable
from pocketkube.bounded.npz import read_npz
from pocketkube.bounded.variables import room_for
from pocketkube.bounded.zip_archive import opened_zip
from pocketkube.errors import UserError
from pocketkube.facts import BundleFacts, PackedFacts, ProfileFacts, StageFacts, load_facts
from pocketkube.files.layout import FACTS_FILE, MODEL_FILE, PACKED_FILE, SCORES_FILE
from pocketkube.files.records import text_of
from pocketkube.files.whole import replaced_folder, write_text
from pocketkube.graph.fixed_size import at_shapes, open_shapes, opened
from pocketkube.graph.frozen import freeze_inside
from pocketkube.graph.sharing import compute_from_variables
from pocketkube.graph.walk import functional_graph
from pocketkube.keras_private import flat_layers
from pocketkube.loading import config_of, load_added_layers, refuse_keras_2, why_not_loaded
from pocketkube.measures.task_facts import TaskFacts
from pocketkube.older_keras import Imported, is_older, load_older
from pocketkube.packing import Form, packs, read_forms, write_packed

WEIGHTS, NPZ_WEIGHTS = "model.weights.h5", "model.weights.npz"
# Keras keeps there what layers have beside their weights: lists of words.
ASSETS = "assets/"
_RECURRENT = (keras.layers.RNN, keras.layers.Bidirectional)
NOW, UNPRUNED = "now", "unpruned"
# Of a model that no stage has made.
NOTHING = BundleFacts(
    model="",
    dataset="",
    task=TaskFacts(score_name="", description="", heads=()),
    seed=0,
    stages=(StageFacts(name="", seconds=0, macs=0, parameters=0),),
    made_by="",
    profile=ProfileFacts(
        layers=(), macs=0, parameters=0, activation_bytes=0, unknown=(), flops=0, bound="exact"
    ),
)


@dataclass(frozen=True)
class Bundle:
    """A model and its facts.

    Attributes:
        model: The model.
        facts: What is known of it: its data set, figures and the stages that had a part in it.
        forms: The forms of weights that have few values, by the weight's path.
        scores: Scores of the validation examples `[n]`, by the model that they are of: NOW is this one,
            UNPRUNED what it was before pruning that no training has followed yet.
    """

    model: keras.Model
    facts: BundleFacts = NOTHING
    forms: Mapping[str, Form] = field(default_factory=dict)
    scores: Mapping[str, np.ndarray] = field(default_factory=dict)


def save_bundle(folder: Path, bundle: Bundle) -> None:
    """Writes a bundle, whole or not at all.

    A model that took inputs of any size takes them in its file, too, where its layers still can.

    Where weights are zero or have few values, model.packed stands beside model.keras, and the facts
    say what it takes: under "packed", and of the stage that made it, so that the lineage tells it of
    each.
    """
    facts = bundle.facts.model_copy(update={"packed": None})
    model = opened(bundle.model, [size.open_shape for size in facts.input_sizes])
    with replaced_folder(folder) as aside:
        model.save(aside / MODEL_FILE)
        if packs(model, bundle.forms):
            size = write_packed(aside / PACKED_FILE, model, bundle.forms)
            facts = _with_packed(facts, PackedFacts(**asdict(size)))
        if bundle.scores:
            np.savez(aside / SCORES_FILE, **bundle.scores)  # type: ignore[arg-type]
        write_text(aside / FACTS_FILE, text_of(facts))


def _with_packed(facts: BundleFacts, packed: PackedFacts) -> BundleFacts:
    stages = [
        stage.model_copy(update={"packed_bytes": packed.file_bytes})
        if stage.id == facts.made_by
        else stage
        for stage in facts.stages
    ]
    return facts.model_copy(update={"packed": packed, "stages": tuple(stages)})


def load_bundle(folder: Path) -> Bundle:
    """Reads a bundle; a model that takes inputs of any size at the one that its facts say.

    Raises:
        UserError: If the folder is no bundle, or the model in it cannot be loaded.
    """
    model, packed, facts = load_model(folder / MODEL_FILE), folder / PACKED_FILE, load_facts(folder)
    if facts.input_sizes and open_shapes(model):
        model = at_shapes(model, [size.shape for size in facts.input_sizes])
    forms = read_forms(packed, model) if packed.is_file() else {}
    return Bundle(model, facts, forms, load_scores(folder))


def load_scores(folder: Path) -> dict[str, np.ndarray]:
    """The scores of the validation examples that a bundle has; see `Bundle`."""
    file = folder / SCORES_FILE
    if not file.is_file():
        return {}
    try:
        return read_npz(file)
    except Unreadable as error:
        raise UserError(f"{file} is damaged or cut short: {error}.") from error


def load_model(path: Path) -> keras.Model:
    """Loads a model file in Keras's safe mode; see `read_model`."""
    return read_model(path).model


def read_model(path: Path) -> Imported:
    """Loads a model file in Keras's safe mode, and tells what is left behind of it.

    Args:
        path: A .keras file; or a .h5 or .hdf5 file, or the folder of a SavedModel, of Keras 2.

    Returns:
        The model, with its compile settings where it has them, and notes for the user. One that was
        trained in mixed precision computes in the precision of its weights: LiteRT has no
        half-precision arithmetic.

    Raises:
        UserError: If it is missing, damaged, a subclassed one, whose graph cannot be seen, or needs
            code that safe mode does not run.
    """
    if not path.exists():
        raise UserError(f"There is no model file {path}.")
    found = load_older(path) if is_older(path) else Imported(_load_keras_file(path), ())
    model = in_float32(found.model)
    freeze_inside(model)
    functional_graph(model)
    refuse_unfit_weights(model, str(path))
    return Imported(model, found.notes)


def refuse_unfit_weights(model: keras.Model, name: str) -> None:
    """Says when a model's weights are none that can be compressed.

    Args:
        model: The model.
        name: What messages call it.

    Raises:
        UserError: If layers have weights beside their own, as LoRA's, a vocabulary or a state that
            lasts, keep weights in another precision than float32, or one of them is no number.
    """
    _refuse_unfit_layers(model, name)
    for weight in model.weights:
        if keras.backend.is_float_dtype(weight.dtype) and weight.dtype != "float32":
            raise UserError(
                f"{name}: the weight {weight.path} is {weight.dtype}, and LiteRT computes in float32: "
                "build the model with keras.config.set_dtype_policy('float32'), and copy the weights "
                "by set_weights."
            )
    refuse_bad_weights(model, name)


def _refuse_unfit_layers(model: keras.Model, name: str) -> None:
    """Says when layers have more than weights of their own: LoRA's, integers, a vocabulary, a state."""
    for layer in flat_layers(model):
        if getattr(layer, "lora_enabled", False):
            raise UserError(
                f"{name}: the layer {layer.name} has LoRA's weights beside its own: save the model and "
                "load it anew without them, which adds them to the kernel."
            )
        if getattr(layer, "quantization_mode", None):
            raise UserError(
                f"{name}: Keras has quantized the layer {layer.name} ({layer.quantization_mode}): give "
                "the model as it was before."
            )
        if isinstance(layer, _RECURRENT) and layer.stateful:
            raise UserError(
                f"{name}: the layer {layer.name} is stateful, and takes batches of one size in one "
                "order: build the model with stateful=False and batch_shape=(None, …), and copy the "
                "weights by set_weights."
            )
        if hasattr(layer, "save_assets"):
            raise UserError(
                f"{name}: {layer.name} ({type(layer).__name__}) looks values up in a vocabulary, which "
                "LiteRT cannot: leave it out of the model, and look them up before."
            )


def refuse_bad_weights(model: keras.Model, name: str) -> None:
    """Says when a weight is NaN, or one that is trained infinite; a mask may hold -inf.

    Args:
        model: The model.
        name: What messages call it.

    Raises:
        UserError: If there is one: everything that follows would be, too.
    """
    for weight in model.weights:
        value = np.asarray(weight)
        if not np.issubdtype(value.dtype, np.floating) or np.isfinite(value).all():
            continue
        has_nan = np.isnan(value).any()
        if has_nan or weight.trainable:
            held = "NaN" if has_nan else "infinity"
            raise UserError(
                f"{name}: {weight.path} holds {held}, from a training that went astray: save the model "
                "of an earlier epoch, or train it anew with a lower learning rate."
            )


def _load_keras_file(path: Path) -> keras.Model:
    if path.suffix != ".keras" or path.is_dir():
        raise UserError(
            f"{path} is no model file: give a .keras, .h5 or .hdf5 file, or a SavedModel's folder; or "
            "load it where it was made and call model.save('net.keras')."
        )
    try:
        with opened_zip(path) as archive:
            refuse_keras_2(path, archive)
            config = config_of(archive)
            if NPZ_WEIGHTS in archive.names and WEIGHTS not in archive.names:
                raise UserError(
                    f"{path} keeps its weights in {NPZ_WEIGHTS}, which is not read here: load it with "
                    "keras.saving.load_model(...), and call model.save('net.keras')."
                )
            for name in archive.names:
                if name.startswith(ASSETS):
                    archive.refuse_long(name)
            numbers = count_numbers(archive.read(WEIGHTS))
    except Unreadable as error:
        raise UserError(f"{path} is damaged or cut short: {error}.") from error
    load_added_layers(config)
    try:
        with room_for(numbers):
            return keras.saving.load_model(path, safe_mode=True)
    except UserError:
        raise
    except Exception as error:
        raise UserError(why_not_loaded(path, config, error)) from error


def computes_in_half(model: keras.Model) -> bool:
    """Whether a layer computes in another precision than its weights have, as in mixed precision."""
    return any(map(_is_mixed, flat_layers(model)))


def in_float32(model: keras.Model) -> keras.Model:
    """The model itself, which now computes in the precision of its weights."""
    for layer in filter(_is_mixed, flat_layers(model)):
        layer.dtype_policy = layer.dtype_policy.variable_dtype
    compute_from_variables(model)
    return model


def _is_mixed(layer: keras.layers.Layer) -> bool:
    policy = layer.dtype_policy
    return bool(policy.compute_dtype != policy.variable_dtype)
