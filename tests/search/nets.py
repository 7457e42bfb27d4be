"""A small network that has learnt something, and searches over it."""

from functools import cache
from pathlib import Path

import keras
import numpy as np
from keras import layers

from pocketkube.data.dataset import Dataset, Labels
from pocketkube.data.in_memory import examples_of_arrays
from pocketkube.search.prepared import prepare_search
from pocketkube.search.space_of import SearchedStages
from pocketkube.spec.sections import (
    DatasetSettings,
    PruneChannels,
    QuantizeWeights,
    Search,
    SparsifyWeights,
    Target,
    Training,
)
from pocketkube.training.loop import train
from pocketkube.training.task import Task, infer_task

KINDS = (Labels(10),)


def patterns(seed: int, count: int) -> tuple[tuple[np.ndarray], tuple[np.ndarray]]:
    """Noisy images of ten random patterns, and which pattern each is."""
    shapes = np.random.default_rng(0).normal(size=(10, 12, 12, 1))
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 10, count).astype(np.int32)
    images = shapes[labels] + 1.2 * rng.normal(size=(count, 12, 12, 1))
    return (images.astype(np.float32),), (labels,)


@cache
def dataset() -> Dataset:
    """2,000 such images to train on, 400 to decide by, and some for a test that nothing may look at."""
    train_on, judge_by = (
        examples_of_arrays(*patterns(seed, count), KINDS) for seed, count in ((1, 2000), (2, 400))
    )
    (images,), labels = patterns(3, 10)
    untouchable = examples_of_arrays((images * np.nan,), labels, KINDS)
    return Dataset("patterns", ((12, 12, 1),), KINDS, train_on, judge_by, untouchable)


@cache
def trained() -> tuple[keras.Model, Task]:
    """A residual network that tells the patterns apart; nothing may change it."""
    keras.utils.set_random_seed(0)
    images = keras.Input((12, 12, 1))
    x = _conv(images, 16, "stem")
    for block, strides in (("block1", 1), ("block2", 2)):
        y = _conv(x, 16, f"{block}_a", strides)
        y = _conv(y, 16, f"{block}_b")
        if strides > 1:
            x = _conv(x, 16, f"{block}_shortcut", strides)
        x = layers.Add(name=f"{block}_add")([x, y])
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dense(24, "relu", name="features")(x)
    model = keras.Model(images, layers.Dense(10, name="logits")(x), name="small")
    task = infer_task(model, 10)
    train(model, dataset(), task, Training(epochs=3, batch_size=32, learning_rate=5e-3), seed=0)
    return model, task


def _conv(x: keras.KerasTensor, channels: int, name: str, strides: int = 1) -> keras.KerasTensor:
    x = layers.Conv2D(
        channels, 3, strides=strides, padding="same", use_bias=False, name=f"{name}_conv"
    )(x)
    x = layers.BatchNormalization(name=f"{name}_norm")(x)
    return layers.ReLU(name=f"{name}_relu")(x)


def pruning(speedup: float = 2.0, tie: str = "none", **settings: object) -> SearchedStages:
    """A search for channels."""
    search = Search(
        over=("prune_channels",),
        tie=tie,  # type: ignore[arg-type]
        evaluate={"fine_tune_steps": 0, "calibration_examples": 512},  # type: ignore[arg-type]
    )
    stage = PruneChannels(calibration_examples=512, round_to=2, **settings)  # type: ignore[arg-type]
    return SearchedStages(search, (stage,), Target(speedup=speedup))


def bits(mean_bits: float = 4.0, tie: str = "none", **settings: object) -> SearchedStages:
    """A search for bits."""
    search = Search(
        over=("quantize_weights",),
        tie=tie,  # type: ignore[arg-type]
        mean_bits=mean_bits,
        evaluate={"calibration_examples": 512},  # type: ignore[arg-type]
    )
    stage = QuantizeWeights(calibration_examples=512, epochs=0, **settings)  # type: ignore[arg-type]
    return SearchedStages(search, (stage,))


def sparsity(part: float = 0.8) -> SearchedStages:
    """A search for zeros."""
    search = Search(over=("sparsify_weights",), evaluate={"calibration_examples": 512})  # type: ignore[arg-type]
    return SearchedStages(search, (SparsifyWeights(sparsity=part),))


def prepare_trained_trials(
    folder: Path, searched: SearchedStages, steps: int, training: Training
) -> DatasetSettings:
    """Prepares `folder`/bundle for trials that are trained for some steps.

    Returns:
        Where the examples are that they are trained on.
    """
    model, task = trained()
    assert dataset().train.arrays is not None
    (images,), (labels,) = dataset().train.arrays
    np.savez(folder / "patterns.npz", x=images, y=labels)
    source = DatasetSettings(npz=str(folder / "patterns.npz"))
    evaluating = searched.search.evaluate.model_copy(update={"fine_tune_steps": steps})
    search = searched.search.model_copy(update={"evaluate": evaluating})
    prepare_search(
        model,
        dataset(),
        task,
        SearchedStages(search, searched.stages, searched.target),
        folder / "bundle",
        training=training,
        dataset_settings=source,
        with_losses=False,
    )
    return source
