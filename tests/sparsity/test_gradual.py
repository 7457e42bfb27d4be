"""Training makes kernels as sparse as asked, keeps them so, and weights can come back."""

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from pocketkube.data import load_dataset
from pocketkube.errors import UserError
from pocketkube.models import build_model
from pocketkube.sparsity import GradualSparsification, KeptZeros
from pocketkube.sparsity.distribution import layer_sparsities
from pocketkube.sparsity.patterns import mask_of
from pocketkube.sparsity.schedule import schedule_steps, sparsity_at, updates_masks
from pocketkube.sparsity.selection import depthwise_note, sparsifiable_kernels
from pocketkube.spec.sections import DatasetSettings, SparsifyWeights, Training
from pocketkube.stages.begun import begin_sparsifying
from pocketkube.training.evaluation import evaluate
from pocketkube.training.layerwise import Lamb, Lars
from pocketkube.training.loop import train
from pocketkube.training.task import infer_task
from tests.graph.nets import twins

DIGITS = load_dataset(DatasetSettings(builtin="digits"))
COURSE = Training(epochs=2, batch_size=64)


def zeros(model: keras.Model) -> dict[str, float]:
    return {
        path: float((np.asarray(kernel) == 0).mean()) for path, kernel in sparsifiable_kernels(model)
    }


def trained(settings: SparsifyWeights, course: Training = COURSE, **options) -> keras.Model:
    model = build_model("lenet", (32, 32, 1), 10, seed=0)
    method = GradualSparsification(model, settings)
    train(model, DIGITS, infer_task(model, 10), course, seed=0, method=method, **options)
    return model


def test_the_schedule_is_the_papers() -> None:
    asked = [sparsity_at(t, final=0.8, begin=10, end=30) for t in (0, 10, 20, 30, 99)]
    assert asked == pytest.approx([0, 0, 0.8 * 0.875, 0.8, 0.8])
    assert schedule_steps(100, 0.1, 0.6) == (10, 60)
    assert schedule_steps(5, 0.0, 1.0) == (0, 4)
    refreshed = [t for t in range(100) if updates_masks(t, begin=10, end=60, every=20)]
    assert refreshed == [10, 30, 50, 60]


@pytest.mark.parametrize(("begin_fraction", "end_fraction"), [(0, 0.6), (0, 1), (0.5, 0.6), (0.9, 1)])
def test_a_course_of_any_length_ends_with_the_sparsity_asked_for(begin_fraction, end_fraction) -> None:
    for steps in range(1, 21):
        begin, end = schedule_steps(steps, begin_fraction, end_fraction)
        refreshed = [t for t in range(steps) if updates_masks(t, begin=begin, end=end, every=20)]
        assert sparsity_at(refreshed[-1], final=0.9, begin=begin, end=end) == 0.9, steps


@pytest.mark.parametrize("distribution", ["uniform", "size", "global"])
@pytest.mark.parametrize("sparsity", [0.5, 0.9])
def test_layers_together_have_the_sparsity_asked_for(distribution, sparsity: float) -> None:
    rng = np.random.default_rng(0)
    weights = [
        rng.normal(size=shape) * scale
        for shape, scale in (((3, 3, 1, 8), 1), ((3, 3, 8, 64), 9), ((40, 10), 0.1))
    ]
    parts = layer_sparsities(weights, sparsity, distribution)
    total = sum(part * kernel.size for part, kernel in zip(parts, weights, strict=True))
    assert total == pytest.approx(sparsity * sum(kernel.size for kernel in weights), abs=1)
    assert all(0 <= part <= 1 for part in parts)
    # A layer's scale says nothing of its importance: none is emptied for it.
    assert max(parts) < 1


@pytest.mark.parametrize("pattern", ["element", "block"])
@pytest.mark.parametrize("distribution", ["uniform", "size", "global"])
def test_no_layer_is_emptied(distribution, pattern) -> None:
    model = build_model("mobilenet_v1", (32, 32, 1), 10, width=0.25, seed=0)
    found = [np.asarray(kernel) for _, kernel in sparsifiable_kernels(model)]
    for kernel, part in zip(found, layer_sparsities(found, 0.95, distribution), strict=True):
        kept = mask_of(kernel, part, pattern).sum()
        assert kept >= (kernel.shape[-1] if distribution == "size" else 1)
    assert mask_of(np.ones((4, 1)), 0.95, pattern).sum() == 1


def test_masks_follow_their_pattern() -> None:
    kernel = np.random.default_rng(0).normal(size=(3, 3, 8, 10))
    element = mask_of(kernel, 0.9, "element")
    assert element.sum() == 72
    assert np.abs(kernel[element]).min() >= np.abs(kernel[~element]).max()
    blocks = mask_of(kernel, 0.75, "block")
    for start, end in ((0, 4), (4, 8), (8, 10)):
        assert (blocks[..., start:end] == blocks[..., start : start + 1]).all()
    assert blocks.mean() == pytest.approx(0.25, abs=0.02)
    halves = mask_of(kernel, 0.5, "two_of_four")
    assert (halves.reshape(-1, 4, 10).sum(axis=1) == 2).all()


@pytest.mark.parametrize("pattern", ["two_of_four", "block"])
def test_patterns_of_a_transposed_convolution_follow_its_outputs(pattern: str) -> None:
    given = keras.Input((8, 8, 8))
    model = keras.Model(given, keras.layers.Conv2DTranspose(4, 3, name="up")(given))
    settings = SparsifyWeights(sparsity=0.5, pattern=pattern)
    _, last = schedule_steps(100, settings.begin_fraction, settings.end_fraction)
    optimizer = keras.optimizers.SGD()
    optimizer.build(model.trainable_variables)
    GradualSparsification(model, settings).before_step(last, 100, optimizer)
    # [rows, columns, outputs, inputs].
    kept = np.asarray(model.get_layer("up").kernel) != 0
    assert kept.mean() == 0.5
    if pattern == "two_of_four":
        assert (kept.reshape(3, 3, 4, 2, 4).sum(axis=-1) == 2).all()
    else:
        assert set(kept.sum(axis=2).ravel().tolist()) == {0, 4}


@pytest.mark.parametrize(("pattern", "sparsity"), [("element", 0.75), ("two_of_four", 0.5)])
def test_every_kernel_is_as_sparse_as_asked(pattern, sparsity: float) -> None:
    model = trained(SparsifyWeights(sparsity=sparsity, pattern=pattern, distribution="uniform"))
    for path, kernel in sparsifiable_kernels(model):
        inputs, outputs = np.prod(kernel.shape[:-1]), kernel.shape[-1]
        # A group of inputs that is not full may keep both that it has.
        spare = outputs * (inputs % 4) if pattern == "two_of_four" else 0.5
        gone = (np.asarray(kernel) == 0).sum()
        assert abs(gone - sparsity * inputs * outputs) <= spare, path


def test_blocks_of_a_trained_kernel_are_zero_together() -> None:
    for _, kernel in sparsifiable_kernels(
        trained(SparsifyWeights(sparsity=0.75, pattern="block", distribution="uniform"))
    ):
        kept = np.asarray(kernel).reshape(-1, kernel.shape[-1]) != 0
        blocks = [kept[:, start : start + 4] for start in range(0, kept.shape[1], 4)]
        assert all((block == block[:, :1]).all() for block in blocks)
        assert sum(block[:, 0].sum() for block in blocks) == pytest.approx(
            0.25 * len(kept) * len(blocks), abs=0.5
        )


def test_ratios_by_layer_leave_the_others_dense() -> None:
    names = [path for path, _ in sparsifiable_kernels(build_model("lenet", (32, 32, 1), 10))]
    found = zeros(trained(SparsifyWeights(ratios={names[1]: 0.8})))
    assert found[names[1]] == pytest.approx(0.8, abs=1e-2)
    assert all(part == 0 for name, part in found.items() if name != names[1])
    with pytest.raises(UserError, match=r"ratios: nose is no layer that can be sparse; there are: "):
        trained(SparsifyWeights(ratios={"nose": 0.5}))


def test_an_average_of_weights_brings_none_back() -> None:
    course = COURSE.model_copy(update={"ema": 0.9})
    found = [
        np.asarray(kernel)
        for _, kernel in sparsifiable_kernels(trained(SparsifyWeights(sparsity=0.8), course))
    ]
    gone = sum((kernel == 0).sum() for kernel in found)
    assert gone == pytest.approx(0.8 * sum(kernel.size for kernel in found), abs=1)


def test_no_epoch_is_kept_that_is_not_yet_as_sparse_as_asked() -> None:
    """Though the model does better with more of its weights."""
    model = build_model("lenet", (32, 32, 1), 10, seed=0)
    task = infer_task(model, 10)
    train(model, DIGITS, task, COURSE, seed=0)
    method = GradualSparsification(model, SparsifyWeights(sparsity=0.99, distribution="uniform"))
    history = train(model, DIGITS, task, COURSE.model_copy(update={"epochs": 4}), seed=1, method=method)
    assert history.val_score[0] > history.val_score[history.kept_epoch - 1]
    assert history.kept_epoch >= 3
    # A layer keeps a weight at least, which counts in small ones.
    assert sum(zeros(model).values()) / len(zeros(model)) > 0.98


def test_a_weight_comes_back_where_those_that_stayed_have_shrunk() -> None:
    model = keras.Sequential([keras.Input((4,)), layers.Dense(1, use_bias=False, name="dense")])
    kernel = model.get_layer("dense").kernel
    kernel.assign([[4.0], [3.0], [2.0], [1.0]])
    method = GradualSparsification(model, SparsifyWeights(sparsity=0.5, refresh_steps=1))
    optimizer = keras.optimizers.AdamW()
    optimizer.build(model.trainable_variables)
    slot = next(v for v in optimizer.variables if "velocity" in v.path)
    slot.assign(np.ones(slot.shape))
    # 7/8 of the way to one half: 0.4375 of four weights are two.
    method.before_step(30, 100, optimizer)
    np.testing.assert_array_equal(kernel, [[4], [3], [0], [0]])
    np.testing.assert_array_equal(slot, [[1], [1], [0], [0]])
    kernel.assign([[4.0], [1.5], [0.0], [0.0]])
    method.before_step(60, 100, optimizer)
    np.testing.assert_array_equal(kernel, [[4], [0], [2], [0]])


@pytest.mark.parametrize(
    "make",
    [
        lambda: keras.optimizers.AdamW(use_ema=True),
        lambda: keras.optimizers.SGD(momentum=0.9),
        lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.AdamW()),
        lambda: Lars(learning_rate=1.0, momentum=0.9, decay=0.0),
        lambda: Lamb(decay=0.0, use_ema=True),
    ],
    ids=["adamw and average", "sgd", "loss scale", "lars", "lamb and average"],
)
def test_a_layer_is_not_taken_for_its_namesake(make) -> None:
    model, optimizer = twins(), make()
    optimizer.build(model.trainable_variables)
    for slot in optimizer.variables:
        slot.assign(np.ones(slot.shape))
    method = GradualSparsification(model, SparsifyWeights(ratios={"left/conv": 0.5}))
    method.before_step(60, 100, optimizer)
    assert zeros(model) == {
        "left/conv": 0.5,
        "left/dense": 0,
        "right/conv": 0,
        "right/dense": 0,
        "out": 0,
    }
    kept = np.asarray(model.get_layer("left").get_layer("conv").kernel) != 0
    changed = [slot for slot in optimizer.variables if not np.all(slot)]
    own = [
        slot for slot in optimizer.variables if slot.path.endswith(("momentum", "velocity", "average"))
    ]
    assert len(changed) == len(own) / len(model.trainable_variables)
    for slot in changed:
        np.testing.assert_array_equal(slot, kept)


@pytest.mark.parametrize("frozen", [("back",), ("back", "head")], ids=["backbone", "all"])
def test_frozen_layers_become_sparse_and_are_not_trained(frozen: tuple[str, ...]) -> None:
    model = keras.Sequential(
        [keras.Input((32, 32, 1)), layers.Conv2D(8, 9, strides=9, name="back"), layers.Flatten()]
    )
    model.add(layers.Dense(10, name="head"))
    for name in frozen:
        model.get_layer(name).trainable = False
    before = {name: np.asarray(model.get_layer(name).kernel) for name in ("back", "head")}
    begun = begin_sparsifying(model, SparsifyWeights(sparsity=0.5, distribution="uniform"))
    task = infer_task(model, 10)
    train(model, DIGITS, task, Training(epochs=1, batch_size=256), seed=0, method=begun.method)
    assert zeros(model) == {"back": 0.5, "head": 0.5}
    for name, kernel in before.items():
        now = np.asarray(model.get_layer(name).kernel)
        assert np.array_equal(now[now != 0], kernel[now != 0]) == (name in frozen)
    assert begun.notes == [
        f"Frozen layers become sparse, too; what is left of them is not trained: {len(frozen)} of 2."
    ]


def test_a_second_course_goes_on_from_the_zeros_of_the_first() -> None:
    model = keras.Sequential(
        [keras.Input((20,)), layers.Dense(10, name="one"), layers.Dense(10, name="other")]
    )
    optimizer = keras.optimizers.AdamW()
    optimizer.build(model.trainable_variables)

    def course(**settings) -> dict[str, float]:
        method = GradualSparsification(model, SparsifyWeights(refresh_steps=1, **settings))
        before = zeros(model)
        for step in range(20):
            method.before_step(step, 20, optimizer)
            found = zeros(model)
            assert all(found[name] >= before[name] for name in found)
            if not step:
                assert found == before
            # A step of training: it moves what the method lets it move.
            trained = model.trainable_variables
            moves = method.gradients([tf.ones(v.shape) for v in trained], trained)
            for variable, move in zip(trained, moves, strict=True):
                variable.assign_add(1e-3 * move)
        method.finish()
        return zeros(model)

    assert course(ratios={"one": 0.8}) == {"one": 0.8, "other": 0}
    assert course(ratios={"other": 0.5}) == {"one": 0.8, "other": 0.5}
    # Less than there is, in one layer: it stays as it is, the other gets what was asked for.
    assert course(sparsity=0.6, distribution="uniform") == {"one": 0.8, "other": 0.6}
    # At most half of each four goes, and at least what is there.
    assert course(pattern="two_of_four")["one"] == pytest.approx(0.8, abs=0.05)
    found = course(sparsity=0.9)
    assert (200 * found["one"] + 100 * found["other"]) / 300 == pytest.approx(0.9)


def test_training_on_keeps_the_zeros() -> None:
    model = trained(SparsifyWeights(sparsity=0.9))
    before = {path: np.asarray(kernel) == 0 for path, kernel in sparsifiable_kernels(model)}
    train(model, DIGITS, infer_task(model, 10), COURSE, seed=1, method=KeptZeros(model))
    for path, kernel in sparsifiable_kernels(model):
        np.testing.assert_array_equal(np.asarray(kernel) == 0, before[path])


def test_a_course_that_was_cut_off_ends_at_the_same_weights(tmp_path: Path, monkeypatch) -> None:
    course = COURSE.model_copy(update={"checkpoint_steps": 7})
    settings = SparsifyWeights(sparsity=0.8, refresh_steps=3)
    wanted = trained(settings, course)

    before_step = GradualSparsification.before_step

    def cut_off(self, step, steps, optimizer) -> None:
        if step == 17:
            raise KeyboardInterrupt
        before_step(self, step, steps, optimizer)

    with monkeypatch.context() as patch:
        patch.setattr(GradualSparsification, "before_step", cut_off)
        with pytest.raises(KeyboardInterrupt):
            trained(settings, course, checkpoints=tmp_path)
    assert list(tmp_path.glob("*.npz"))
    resumed = trained(settings, course, checkpoints=tmp_path)
    for one, other in zip(resumed.weights, wanted.weights, strict=True):
        np.testing.assert_array_equal(one, other)


def test_half_of_each_four_needs_no_more_said() -> None:
    settings = SparsifyWeights(pattern="two_of_four")
    assert (settings.sparsity, settings.distribution) == (0.5, "uniform")
    with pytest.raises(ValueError, match="pattern two_of_four makes half of each layer zero"):
        SparsifyWeights(pattern="two_of_four", sparsity=0.8)


@pytest.mark.slow
def test_four_fifths_of_a_networks_weights_are_not_needed() -> None:
    course = Training(epochs=10, batch_size=64)
    model = build_model("lenet", (32, 32, 1), 10, seed=0)
    task = infer_task(model, 10)
    train(model, DIGITS, task, course, seed=0)
    dense = evaluate(model, DIGITS.test, task).score
    method = GradualSparsification(model, SparsifyWeights(sparsity=0.8))
    train(model, DIGITS, task, course, seed=1, method=method)
    assert evaluate(model, DIGITS.test, task).score > dense - 0.01


def test_what_stays_dense_is_told() -> None:
    parts = [
        keras.Input((8, 8, 3)),
        layers.DepthwiseConv2D(3, depth_multiplier=2),
        layers.SeparableConv2D(10, 3),
        layers.Flatten(),
        layers.Dense(5),
    ]
    (told,) = depthwise_note(keras.Sequential(parts))
    # Both depthwise kernels, the pointwise one, and the dense layer's of 4 x 4 x 10 inputs.
    dense, others = 3 * 3 * 3 * 2 + 3 * 3 * 6, 6 * 10 + 4 * 4 * 10 * 5
    assert f"they hold {dense} of the {dense + others} weights of kernels (11.2%)" in told
    assert depthwise_note(keras.Sequential([keras.Input((3,)), layers.Dense(5)])) == []
