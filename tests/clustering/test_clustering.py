"""Kernels get the best few values, training makes them better, and zeros stay zero."""

import itertools
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from sklearn.cluster import KMeans

from pocketkube.bundle import Bundle, load_bundle, load_model, save_bundle
from pocketkube.clustering import Clustering
from pocketkube.clustering.lloyd import POINTS_AT_ONCE, kmeans, nearest, quantiles
from pocketkube.data import load_dataset
from pocketkube.errors import UserError
from pocketkube.graph.kernels import kernels_of
from pocketkube.models import build_model
from pocketkube.packing import decode
from pocketkube.sparsity import GradualSparsification
from pocketkube.spec.sections import ClusterWeights, DatasetSettings, SparsifyWeights, Training
from pocketkube.stages.begun import begin_clustering
from pocketkube.training.evaluation import evaluate
from pocketkube.training.loop import train
from pocketkube.training.task import infer_task
from tests.graph.nets import twins

DIGITS = load_dataset(DatasetSettings(builtin="digits"))
COURSE = Training(epochs=2, batch_size=64)


def lenet() -> keras.Model:
    return build_model("lenet", (32, 32, 1), 10, seed=0)


@pytest.fixture(scope="module")
def dense() -> list[np.ndarray]:
    """The weights of a trained LeNet."""
    model = lenet()
    train(model, DIGITS, infer_task(model, 10), Training(epochs=4, batch_size=64), seed=0)
    return model.get_weights()


def clustered(dense, course: Training = COURSE, **settings) -> tuple[keras.Model, Clustering]:
    model = lenet()
    model.set_weights(dense)
    method = Clustering(model, ClusterWeights(**settings))
    train(model, DIGITS, infer_task(model, 10), course, seed=1, method=method)
    return model, method


def least_cost(values: np.ndarray, count: int) -> float:
    """What no division of sorted numbers into runs falls below, by trying them all."""
    values = np.sort(values.astype(np.float64))
    costs = []
    for inner in itertools.combinations(range(1, len(values)), count - 1):
        parts = np.split(values, inner)
        costs.append(sum(((part - part.mean()) ** 2).sum() for part in parts))
    return min(costs)


@pytest.mark.parametrize("count", [2, 3, 5, 9])
def test_kmeans_finds_the_optimum(count: int) -> None:
    rng = np.random.default_rng(count)
    values = rng.standard_t(2, size=(40, 12)).astype("float32")
    owners = np.repeat(np.arange(40), 12)
    centroids = kmeans(values.ravel(), owners, 40, count)
    found = centroids[owners, nearest(values.ravel(), owners, centroids)].reshape(values.shape)
    for row, decoded in zip(values, found, strict=True):
        assert ((row - decoded) ** 2).sum() == pytest.approx(least_cost(row, count), rel=1e-5)


def test_many_numbers_are_as_near_to_their_centroids_as_theory_has_it() -> None:
    values = np.random.default_rng(0).normal(size=100_000).astype("float32")
    owners = np.zeros(len(values), int)
    # Max (1960), Quantizing for minimum distortion, table 1: a Gaussian's levels and their error.
    for count, error in ((2, 0.3634), (4, 0.1175), (16, 0.009497)):
        centroids = kmeans(values, owners, 1, count)
        decoded = centroids[0, nearest(values, owners, centroids)]
        assert np.mean((values - decoded) ** 2) == pytest.approx(error, rel=0.02)
        # Nothing would move any more: each centroid is amid its members.
        for value in centroids[0]:
            assert values[decoded == value].mean() == pytest.approx(value, abs=1e-4)


def test_one_number_far_away_costs_the_others_nothing_but_its_own_centroid() -> None:
    values = np.random.default_rng(0).normal(scale=0.05, size=5000)
    # In steps of that size, all others would be one.
    centroids = kmeans(np.append(values, 100.0), np.zeros(5001, int), 1, 16)
    assert centroids.max() == pytest.approx(100.0)
    error = np.square(values[:, None] - centroids).min(axis=1).sum()
    alone = KMeans(15, n_init=10, random_state=0).fit(values[:, None])
    assert error <= 1.01 * alone.inertia_


def test_blocks_that_are_divided_in_parts_are_divided_as_each_alone() -> None:
    """Of so many blocks not all are divided at once."""
    values = np.random.default_rng(0).standard_t(3, size=(300, 60)).astype("float32")
    assert values.size > POINTS_AT_ONCE
    together = kmeans(values.ravel(), np.repeat(np.arange(300), 60), 300, 16)
    for place in (0, 150, 299):
        (alone,) = kmeans(values[place], np.zeros(60, int), 1, 16)
        np.testing.assert_allclose(together[place], alone, rtol=1e-6)


def test_blocks_with_numbers_far_away_are_divided_as_each_alone() -> None:
    """However many stand before: what is near is not lost in the sums of all."""
    values = np.random.default_rng(0).normal(size=(60, 300)).astype("float32")
    values[:, 0] = 1e6
    owners = np.repeat(np.arange(60), 300)
    together = kmeans(values.ravel(), owners, 60, 64)
    last = kmeans(values[-1], np.zeros(300, int), 1, 64)
    np.testing.assert_allclose(together[-1], last[0], rtol=1e-6)


def test_quantiles_are_taken_equally_often() -> None:
    values = np.random.default_rng(0).standard_exponential(4096).astype("float32")
    centroids = quantiles(values, np.zeros(4096, int), 1, 8)
    parts = np.sort(values).reshape(8, 512)
    np.testing.assert_allclose(centroids[0], parts.mean(axis=1), rtol=1e-5)


def test_blocks_of_few_or_equal_numbers_are_held_as_they_are() -> None:
    values = np.array([1.0, 2.0, 5.0, 5.0, 5.0], "float32")
    owners = np.array([0, 0, 2, 2, 2])
    for initialize in (kmeans, quantiles):
        centroids = initialize(values, owners, 3, 4)
        assert centroids.shape == (3, 4)
        assert np.isfinite(centroids).all()
        np.testing.assert_array_equal(centroids[owners, nearest(values, owners, centroids)], values)


def test_the_nearest_centroid_is_found_whatever_their_order() -> None:
    rng = np.random.default_rng(0)
    values, owners = rng.normal(size=500), rng.integers(3, size=500)
    for centroids in (rng.normal(size=(3, 7)), rng.normal(size=(3, 1)), rng.normal(size=(1, 256))):
        whose = np.minimum(owners, len(centroids) - 1)
        wanted = np.abs(values[:, None] - centroids[whose]).argmin(axis=1)
        np.testing.assert_array_equal(nearest(values, whose, centroids), wanted)


@pytest.mark.parametrize("train_what", ["weights", "centroids", "both"])
def test_training_is_better_than_none_and_the_values_stay_few(dense, train_what: str) -> None:
    untrained = lenet()
    untrained.set_weights(dense)
    Clustering(untrained, ClusterWeights(bits=2)).finish()
    task = infer_task(untrained, 10)
    model, method = clustered(dense, bits=2, train=train_what)
    assert evaluate(model, DIGITS.train, task).loss < evaluate(untrained, DIGITS.train, task).loss
    for kernel in kernels_of(model):
        assert len(np.unique(kernel.variable)) <= 4
        np.testing.assert_array_equal(kernel.variable, decode(method.forms[kernel.variable.path]))


@pytest.mark.parametrize("granularity", [{"granularity": "channel"}, {"granularity": "bucket"}])
def test_each_channel_or_bucket_has_values_of_its_own(dense, granularity: dict) -> None:
    size = {"bucket_size": 50} if granularity["granularity"] == "bucket" else {}
    course = COURSE.model_copy(update={"epochs": 1})
    model, _ = clustered(dense, course, bits=2, **granularity, **size)
    whole = 0
    for kernel in kernels_of(model):
        rows = np.asarray(kernel.variable).reshape(-1, kernel.variable.shape[-1]).T
        for row in rows:
            for bucket in np.split(row, range(50, len(row), 50)) if size else [row]:
                assert len(np.unique(bucket)) <= 4
        whole += len(np.unique(rows)) > 4
    assert whole == 5


def test_layers_have_the_bits_that_are_asked_for_and_zero_bits_leave_them(dense) -> None:
    names = [kernel.layer for kernel in kernels_of(lenet())]
    given = [w.copy() for w in dense]
    given[-2][::2] = 0
    model, method = clustered(given, bits=3, layers={names[0]: 5, names[-1]: 0})
    values = [len(np.unique(kernel.variable)) for kernel in kernels_of(model)]
    assert 8 < values[0] <= 32
    assert max(values[1:-1]) <= 8
    last = np.asarray(list(kernels_of(model))[-1].variable)
    assert values[-1] > 100
    np.testing.assert_array_equal(last == 0, given[-2] == 0)
    assert len(method.forms) == len(names) - 1


def test_what_cannot_be_clustered_is_named(dense) -> None:
    model = lenet()
    with pytest.raises(UserError, match=r"layers: nose is no layer that can be clustered; there are: "):
        Clustering(model, ClusterWeights(layers={"nose": 2}))
    names = {kernel.layer: 0 for kernel in kernels_of(model)}
    with pytest.raises(UserError, match="layers gives all of them 0 bits"):
        Clustering(model, ClusterWeights(layers=names))
    bare = keras.Sequential([keras.Input((4,)), layers.ReLU()])
    with pytest.raises(UserError, match="no dense layer or convolution that could be clustered"):
        Clustering(bare, ClusterWeights())


def test_layers_of_nested_models_are_told_apart_by_whose_they_are(tmp_path: Path) -> None:
    twins().save(tmp_path / "net.keras")
    model = load_model(tmp_path / "net.keras")
    method = Clustering(model, ClusterWeights(bits=2, layers={"right/conv": 3}))
    method.finish()
    save_bundle(tmp_path / "bundle", Bundle(model, forms=method.forms))
    again = load_bundle(tmp_path / "bundle")
    assert {path: form.bits for path, form in again.forms.items()} == {
        **dict.fromkeys(("left/conv/kernel", "left/dense/kernel", "right/dense/kernel"), 2),
        "right/conv/kernel": 3,
        "out/kernel": 2,
    }
    for kernel in kernels_of(again.model):
        np.testing.assert_array_equal(kernel.variable, decode(again.forms[kernel.path]))


@keras.saving.register_keras_serializable("tests.clustering")
class Pair(layers.Layer):
    """Two layers of the same kind, with one name that is given to both or with those of Keras."""

    def __init__(self, inner: str | None = None, **options) -> None:
        super().__init__(**options)
        self.inner = inner
        self.one, self.other = layers.Dense(4, name=inner), layers.Dense(4, name=inner)

    def build(self, shape):
        for layer in (self.one, self.other):
            layer.build(shape)

    def call(self, x):
        return self.other(self.one(x))

    def get_config(self):
        return {**super().get_config(), "inner": self.inner}


@pytest.mark.parametrize("inner", ["same", None])
def test_layers_that_a_layer_makes_itself_are_called_the_same_when_loaded(tmp_path, inner) -> None:
    model = keras.Sequential([keras.Input((4,)), Pair(inner, name="pair")])
    method = Clustering(model, ClusterWeights(bits=2, layers={f"pair/{inner or 'dense'}_2": 1}))
    method.finish()
    save_bundle(tmp_path / "bundle", Bundle(model, forms=method.forms))
    # Layers without a name are numbered on.
    layers.Dense(1)
    again = load_bundle(tmp_path / "bundle")
    name = f"pair/{inner or 'dense'}"
    bits = {path: form.bits for path, form in again.forms.items()}
    assert bits == {f"{name}/kernel": 2, f"{name}_2/kernel": 1}
    for kernel in kernels_of(again.model):
        np.testing.assert_array_equal(kernel.variable, decode(again.forms[kernel.path]))


@pytest.mark.parametrize("train_what", ["weights", "centroids", "both"])
def test_zeros_stay_zero_beside_the_values(dense, train_what: str) -> None:
    sparse = [np.where(np.abs(w) < np.quantile(np.abs(w), 0.8), 0, w) for w in dense]
    model, _ = clustered(sparse, bits=2, train=train_what)
    before = lenet()
    before.set_weights(sparse)
    for now, was in zip(kernels_of(model), kernels_of(before), strict=True):
        np.testing.assert_array_equal(np.asarray(now.variable) == 0, np.asarray(was.variable) == 0)
        assert len(np.unique(now.variable)) <= 4 + 1


@pytest.mark.parametrize("train_what", ["weights", "centroids", "both"])
def test_frozen_layers_keep_the_values_that_they_begin_with(train_what: str) -> None:
    model = keras.Sequential(
        [keras.Input((32, 32, 1)), layers.Conv2D(4, 9, strides=9, name="back"), layers.Flatten()]
    )
    model.add(layers.Dense(10, name="head"))
    model.get_layer("back").trainable = False
    settings = ClusterWeights(bits=2, initialization="quantile", train=train_what, epochs=1)
    begun = begin_clustering(model, settings)
    first = {path: decode(form) for path, form in begun.method.forms.items()}
    course = Training(epochs=1, batch_size=256)
    train(model, DIGITS, infer_task(model, 10), course, seed=0, method=begun.method)
    for name, moves in (("back", False), ("head", True)):
        kernel = np.asarray(model.get_layer(name).kernel)
        assert len(np.unique(kernel)) == 4
        assert np.array_equal(kernel, first[f"{name}/kernel"]) != moves
    assert begun.notes == ["Frozen layers take few values, too, which are not trained: 1 of 2."]


def test_gradients_of_centroids_are_the_sums_of_their_members() -> None:
    inputs = keras.Input((6, 6, 3))
    x = layers.DepthwiseConv2D(3, depth_multiplier=2, name="depthwise")(inputs)
    x = layers.Conv2DTranspose(5, 3, name="transposed")(x)
    model = keras.Model(inputs, layers.Dense(4, name="dense")(layers.Flatten()(x)))
    images = np.random.default_rng(0).normal(size=(8, 6, 6, 3)).astype("float32")
    method = Clustering(model, ClusterWeights(bits=2, granularity="channel", train="both"))

    def loss() -> tf.Tensor:
        return tf.reduce_sum(tf.tanh(model(images)) ** 2)

    with tf.GradientTape() as tape, keras.StatelessScope(state_mapping=method.replaced()):
        total = loss()
    kernels = list(kernels_of(model))
    watched = [*(k.variable.value for k in kernels), *(v.value for v in method.trained)]
    found = tape.gradient(total, watched)
    to_weights, to_centroids = found[: len(kernels)], found[len(kernels) :]

    scales = [10 * np.sqrt(np.mean(np.square(np.asarray(k.variable)))) for k in kernels]
    method.finish()
    with tf.GradientTape() as tape:
        total = loss()
    wanted = tape.gradient(total, [k.variable.value for k in kernels])
    for kernel, direct, weights, centroids, scale in zip(
        kernels, wanted, to_weights, to_centroids, scales, strict=True
    ):
        np.testing.assert_allclose(weights, direct, rtol=1e-4, atol=1e-5)
        book = method.forms[kernel.variable.path]
        sums = np.zeros(book.centroids.shape)
        owners = book.blocks.owners(book.indices.shape)
        np.add.at(sums, (owners, book.indices), direct.numpy())
        assert sums.shape == (
            kernel.variable.shape[kernel.axes[0]] * (2 if "depth" in kernel.layer else 1),
            4,
        )
        # Centroids are kept in tens of the kernel's root mean square.
        np.testing.assert_allclose(centroids, sums * scale, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("train_what", ["weights", "both"])
def test_a_course_that_was_cut_off_ends_at_the_same_weights(
    dense, train_what: str, tmp_path: Path, monkeypatch
) -> None:
    course = COURSE.model_copy(update={"checkpoint_steps": 7})

    def course_of(**options) -> list[np.ndarray]:
        model = lenet()
        model.set_weights(dense)
        method = Clustering(model, ClusterWeights(bits=3, train=train_what))
        train(model, DIGITS, infer_task(model, 10), course, seed=1, method=method, **options)
        return model.get_weights()

    wanted = course_of()
    before_step = Clustering.before_step

    def cut_off(self, step, steps, optimizer) -> None:
        if step == 17:
            raise KeyboardInterrupt
        before_step(self, step, steps, optimizer)

    with monkeypatch.context() as patch:
        patch.setattr(Clustering, "before_step", cut_off)
        with pytest.raises(KeyboardInterrupt):
            course_of(checkpoints=tmp_path)
    assert list(tmp_path.glob("*.npz"))
    for one, other in zip(course_of(checkpoints=tmp_path), wanted, strict=True):
        np.testing.assert_array_equal(one, other)


def test_an_average_of_weights_leaves_the_values_few(dense) -> None:
    model, _ = clustered(dense, COURSE.model_copy(update={"ema": 0.9}), bits=2)
    assert max(len(np.unique(kernel.variable)) for kernel in kernels_of(model)) == 4


@pytest.mark.slow
def test_two_bits_are_enough_for_digits_and_four_lose_nothing() -> None:
    model, course = lenet(), Training(epochs=10, batch_size=64)
    task = infer_task(model, 10)
    train(model, DIGITS, task, course, seed=0)
    weights, dense = model.get_weights(), evaluate(model, DIGITS.test, task).score
    for bits, drop in ((4, 0.01), (2, 0.01)):
        clusters, _ = clustered(weights, course.model_copy(update={"epochs": 5}), bits=bits)
        assert evaluate(clusters, DIGITS.test, task).score > dense - drop


@pytest.mark.parametrize(
    "method",
    [
        lambda net: Clustering(net, ClusterWeights()),
        lambda net: GradualSparsification(net, SparsifyWeights()),
    ],
)
def test_a_model_that_is_not_built_is_refused(method) -> None:
    with pytest.raises(UserError, match="has no input shape yet"):
        method(keras.Sequential([layers.Dense(3)]))
