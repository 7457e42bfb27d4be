import re

import keras
import numpy as np
import pytest
from keras import layers

from pocketkube.errors import UserError
from pocketkube.graph.cost import profile_model
from pocketkube.graph.dependency import trace_channels
from pocketkube.models import build_model
from pocketkube.pruning.batch_statistics import recalibrate
from pocketkube.pruning.calibration import Calibration
from pocketkube.pruning.criteria import criterion_named
from pocketkube.pruning.prune import prune
from pocketkube.pruning.pruner import Pruner
from pocketkube.spec.sections import PruneChannels
from pocketkube.training.task import infer_task
from tests.graph.nets import NETS
from tests.graph.own_nets import HalfNorm

CRITERIA = ("l1", "l2", "bn_scale", "fpgm", "taylor", "lasso")


def cross_entropy(labels, outputs):
    return keras.ops.sparse_categorical_crossentropy(labels[0], outputs, from_logits=True)


def images(shape: tuple[int, ...], count: int = 64) -> Calibration:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 5, count)
    inputs = rng.normal(size=(count, *shape)).astype(np.float32)
    return Calibration((inputs,), (labels,), cross_entropy)


@pytest.mark.parametrize("criterion", CRITERIA)
def test_every_criterion_hits_the_target(criterion: str) -> None:
    model = build_model("resnet20", (16, 16, 1), 5)
    pruned = prune(
        model,
        PruneChannels(criterion=criterion),  # type: ignore[arg-type]
        speedup=2.5,
        calibration=images((16, 16, 1), 32),
    )
    assert 2.5 <= pruned.before.macs / pruned.after.macs <= 2.5 * 1.01
    assert pruned.after == profile_model(pruned.model)
    assert pruned.model.output_shape == model.output_shape


@pytest.mark.parametrize("scope", ["global", "uniform"])
@pytest.mark.parametrize("budget", ["macs", "parameters"])
def test_the_budget_is_what_was_asked_for(scope, budget) -> None:
    model = build_model("mobilenet_v2", (32, 32, 3), 5, width=0.5)
    settings = PruneChannels(criterion="l1", scope=scope, budget=budget, round_to=1)
    pruned = prune(model, settings, speedup=3)
    ratio = getattr(pruned.before, budget) / getattr(pruned.after, budget)
    assert 3 <= ratio <= 3 * 1.01


@pytest.mark.parametrize("net", [n for n in NETS if n != "sequential"])
def test_small_networks_of_every_kind_go_through(net: str) -> None:
    model = NETS[net]()
    pruned = prune(model, PruneChannels(criterion="l2", round_to=1), speedup=1.5)
    assert pruned.before.macs / pruned.after.macs >= 1.5


def test_channel_counts_are_multiples() -> None:
    model = build_model("resnet18", (32, 32, 3), 10, width=0.5)
    pruned = prune(model, PruneChannels(criterion="l2", round_to=8), speedup=2)
    assert all(left % 8 == 0 for left, _ in pruned.kept.values())
    assert 2 <= pruned.before.macs / pruned.after.macs <= 2 * 1.01


def test_an_unreachable_target_names_the_best_reachable() -> None:
    model = NETS["residual"]()
    with pytest.raises(
        UserError, match=r"The target of 500\.00x cannot be reached: .* gives \d+\.\d+x"
    ):
        prune(model, PruneChannels(criterion="l1"), speedup=500)


def test_ratios_by_layer_name() -> None:
    model = NETS["residual"]()
    pruned = prune(model, PruneChannels(criterion="l1", ratios={"inner": 0.5}))
    assert pruned.model.get_layer("inner").filters == 6
    assert pruned.model.get_layer("stem").filters == 8


def test_ratios_for_an_unknown_layer_name_the_known_ones() -> None:
    with pytest.raises(UserError, match=r"ratios: nose is no layer .* there are: stem, inner"):
        prune(NETS["residual"](), PruneChannels(criterion="l1", ratios={"nose": 0.5}))


def test_ratios_that_contradict_each_other() -> None:
    with pytest.raises(UserError, match="last and stem share their channels"):
        prune(NETS["residual"](), PruneChannels(criterion="l1", ratios={"stem": 0.5, "last": 0.25}))


def test_an_einsum_of_three_is_cut_by_what_it_really_multiplies() -> None:
    """Its products are estimated where channels go: what was asked for is reached all the same."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((10, 12))
    one, two, three = (layers.Dense(8, name=name)(inputs) for name in ("one", "two", "three"))
    x = keras.ops.einsum("btc,bsc,bsd->btd", one, two, three)
    model = keras.Model(inputs, layers.Dense(4, name="head")(x))
    pruner = Pruner(model, round_to=1)
    assert not pruner.costs.is_exact
    smaller = pruner.to_speedup(1.5).model
    assert profile_model(model).macs / profile_model(smaller).macs == pytest.approx(1.5, rel=0.05)


def test_steps_that_cut_much_more_than_was_asked_for_are_told() -> None:
    images = keras.Input((8, 8, 3))
    x = layers.Conv2D(16, 3, activation="relu")(images)
    x = layers.Conv2D(16, 3, activation="relu")(x)
    model = keras.Model(images, layers.Dense(3)(layers.GlobalAveragePooling2D()(x)))
    coarse = prune(model, PruneChannels(criterion="l2", round_to=8), speedup=2.2)
    assert coarse.before.macs / coarse.after.macs > 2.4
    (note,) = (each for each in coarse.notes if "was asked for" in each)
    assert re.match(r"\d\.\d\dx came out where 2\.2x was asked for: channels go in steps of 8; ", note)
    fine = prune(model, PruneChannels(criterion="l2", round_to=1), speedup=2.2)
    assert fine.before.macs / fine.after.macs < 2.4
    assert not any("was asked for" in each for each in fine.notes)


@pytest.mark.parametrize(
    ("round_to", "ratio", "left"),
    [(8, 0.5, 12), (8, 0.4, 16), (4, 0.4, 16), (1, 0.4, 14), (8, 0.95, 4)],
)
def test_ratios_leave_multiples(round_to: int, ratio: float, left: int) -> None:
    """A group of 24 has multiples of 4 where 8 are asked for, as it has fewer than four times 8."""
    net = [keras.Input((8, 8, 3)), layers.Conv2D(24, 3, name="conv"), layers.Flatten(), layers.Dense(5)]
    settings = PruneChannels(criterion="l1", ratios={"conv": ratio}, round_to=round_to)
    assert prune(keras.Sequential(net), settings).model.get_layer("conv").filters == left


@pytest.mark.parametrize("criterion", ["l1", "taylor", "lasso"])
def test_ratios_leave_every_layer_a_channel(criterion: str) -> None:
    model = concatenation_that_is_added_to()
    settings = PruneChannels(criterion=criterion, ratios={"one": 0.95}, round_to=1)  # type: ignore[arg-type]
    pruned = prune(model, settings, calibration=images((8, 8, 3)))
    assert pruned.kept == {"one": (2, 12)}
    assert [pruned.model.get_layer(name).filters for name in ("one", "two", "three")] == [1, 1, 2]


@pytest.mark.parametrize(
    ("speedup", "ratios", "said"),
    [
        (0.5, {}, "speedup has to be a number above 1; received 0.5."),
        (1, {}, "speedup has to be a number above 1; received 1."),
        (-3.0, {}, "speedup has to be a number above 1; received -3.0."),
        (np.inf, {}, "speedup has to be a number above 1; received inf."),
        (np.nan, {}, "speedup has to be a number above 1; received nan."),
        ("2", {}, "speedup has to be a number above 1; received '2'."),
        (None, {}, "give a speedup, as 2.0, or settings with ratios; received neither."),
        (2.0, {"stem": 0.5}, "give one; received 2.0 and {'stem': 0.5}."),
    ],
)
def test_a_request_that_makes_no_sense(speedup, ratios: dict, said: str) -> None:
    with pytest.raises(UserError) as caught:
        prune(NETS["residual"](), PruneChannels(criterion="l1", ratios=ratios), speedup=speedup)
    assert str(caught.value).endswith(said)


def test_examples_that_are_none_for_the_model() -> None:
    settings, model = PruneChannels(criterion="l1"), NETS["residual"]()
    with pytest.raises(
        UserError, match=r"of the shapes \[\(8, 8, 3\)\] an example; received \[\(8, 8, 1\)"
    ):
        prune(model, settings, speedup=1.5, calibration=images((8, 8, 1)))
    with pytest.raises(UserError, match="seed has to be at least 0; received -1"):
        prune(model, settings, speedup=1.5, seed=-1)
    with pytest.raises(UserError, match="as many inputs as labels; received 0, 0"):
        images((8, 8, 3), 0)
    spoiled = images((8, 8, 3))
    spoiled.inputs[0][3, 0, 0, 0] = np.nan
    with pytest.raises(UserError, match="inputs must be finite; "):
        prune(model, settings, speedup=1.5, calibration=spoiled)


def test_bn_scale_without_batch_norm_says_what_to_use() -> None:
    with pytest.raises(UserError, match="bn_scale needs BatchNormalization"):
        prune(NETS["reshaped"](), PruneChannels(criterion="bn_scale"), speedup=2)


def test_data_criteria_without_data_say_what_to_use() -> None:
    with pytest.raises(UserError, match="taylor looks at examples: give a dataset"):
        prune(NETS["residual"](), PruneChannels(criterion="taylor"), speedup=2)


def scale_units(model: keras.Model, layer: str, factors: list[float]) -> None:
    kernel = model.get_layer(layer).kernel
    kernel.assign(np.asarray(kernel) * np.asarray(factors))


@pytest.mark.parametrize("criterion", ["l1", "l2", "taylor", "lasso"])
def test_small_filters_go_first(criterion: str) -> None:
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Conv2D(8, 3, name="conv"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(5, kernel_initializer="ones", name="head"),
        ]
    )
    head = model.get_layer("head").kernel
    head.assign(np.sign(np.random.default_rng(0).normal(size=head.shape)))
    scale_units(model, "conv", [1, 0.001, 1, 0.001, 1, 0.001, 1, 0.001])
    before = np.array(model.get_layer("conv").kernel)
    settings = PruneChannels(criterion=criterion, ratios={"conv": 0.5})  # type: ignore[arg-type]
    pruned = prune(model, settings, calibration=images((8, 8, 3)))
    np.testing.assert_array_equal(pruned.model.get_layer("conv").kernel, before[..., ::2])


def test_fpgm_takes_the_filter_that_others_can_stand_for() -> None:
    model = keras.Sequential(
        [keras.Input((4,)), layers.Dense(3, name="dense"), layers.Dense(2, name="head")]
    )
    # The middle one is the geometric median of the three, though it has the largest norm in none.
    model.get_layer("dense").kernel.assign(np.array([[1.0, 2.0, 3.0]] * 4))
    graph = trace_channels(model)
    scores = criterion_named("fpgm").scores(model, graph, None)
    assert scores.argmin() == 1


def test_taylor_scores_are_the_loss_that_is_lost() -> None:
    """To first order, as a small step towards zero of one channel shows."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((6,)),
            layers.Dense(4, activation="tanh", name="dense"),
            layers.Dense(5, name="head"),
        ]
    )
    calibration = images((6,))
    scores = criterion_named("taylor").scores(model, trace_channels(model), calibration)
    head = model.get_layer("head").kernel
    whole, step = np.array(head), 1e-2

    def losses() -> np.ndarray:
        return np.asarray(cross_entropy(calibration.labels, model(calibration.inputs[0])), np.float64)

    for channel in range(4):
        less, more = whole.copy(), whole.copy()
        less[channel] *= 1 - step
        more[channel] *= 1 + step
        head.assign(less)
        low = losses()
        head.assign(more)
        slope = (losses() - low) / (2 * step)
        head.assign(whole)
        assert scores[channel] == pytest.approx((slope**2).mean(), rel=1e-2)


def test_taylor_counts_each_call_of_a_layer() -> None:
    """Called on the same input twice and averaged, a layer matters as much as called once."""
    keras.utils.set_random_seed(0)
    calibration = images((6,))
    one, two = layers.Dense(8, activation="tanh", name="one"), layers.Dense(4, name="two")
    head = layers.Dense(5, name="head")
    inputs = keras.Input((6,))
    once = keras.Model(inputs, head(two(one(inputs))))
    again = keras.Model(inputs, head(layers.Average()([two(one(inputs)), two(one(inputs))])))
    wanted, found = (
        criterion_named("taylor").scores(model, graph, calibration)[graph.groups[0].units]
        for model, graph in ((model, trace_channels(model)) for model in (once, again))
    )
    np.testing.assert_allclose(found, wanted, rtol=1e-4)


def test_taylor_knows_what_ends_in_each_call_of_a_layer_without_weights() -> None:
    """Attention at two places matters as much there as two layers of attention would."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6, 5))
    makers = [layers.Dense(4, name=name) for name in "abcdef"]
    head = layers.Dense(5, name="head")

    def network(*attention: layers.Layer) -> keras.Model:
        made = [make(inputs) for make in makers]
        both = [attention[0](made[:3]), attention[1](made[3:])]
        return keras.Model(inputs, head(layers.Flatten()(layers.Concatenate()(both))))

    shared = layers.Attention()
    calibration = images((6, 5))
    found, wanted = (
        criterion_named("taylor").scores(model, trace_channels(model), calibration)
        for model in (network(shared, shared), network(layers.Attention(), layers.Attention()))
    )
    np.testing.assert_allclose(found, wanted, rtol=1e-4)


def test_a_layer_that_is_called_several_times_is_not_fitted_to_its_first_call() -> None:
    keras.utils.set_random_seed(0)
    one, two = layers.Dense(16, activation="relu", name="one"), layers.Dense(4, name="two")
    a, b = keras.Input((6,)), keras.Input((6,))
    model = keras.Model([a, b], layers.Dense(5)(layers.Concatenate()([two(one(a)), two(one(b))])))
    rng = np.random.default_rng(0)
    x = [scale * rng.normal(size=(64, 6)).astype("float32") for scale in (1, 5)]
    calibration = Calibration(tuple(x), (rng.integers(5, size=64),), cross_entropy)
    pruner = Pruner(model, calibration=calibration, round_to=1)
    pruned = pruner.to_ratios({"one": 0.5})
    kept = Pruner(model, round_to=1).to_ratios({"one": 0.5}).model.get_layer("two").kernel
    np.testing.assert_array_equal(pruned.model.get_layer("two").kernel, kept)
    assert any("two: it is called several times" in note for note in pruned.notes)


def test_batch_statistics_leave_out_steps_that_are_masked() -> None:
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((12, 3)),
            layers.Masking(),
            layers.Dense(4, name="dense"),
            layers.BatchNormalization(momentum=0.0, name="norm"),
            layers.LSTM(4),
        ]
    )
    x = np.random.default_rng(0).normal(size=(32, 12, 3)).astype("float32")
    x[:, 3:] = 0
    recalibrate(model, Calibration((x,), (np.zeros(32, int),), cross_entropy))
    found = [np.array(each) for each in model.get_layer("norm").non_trainable_variables]
    # What Keras itself makes of one batch of all.
    model(x, training=True)
    wanted = [np.array(each) for each in model.get_layer("norm").non_trainable_variables]
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


def test_reconstruction_recovers_what_other_channels_can_say() -> None:
    """Two equal halves, one read faintly: after it goes, the fit adds its weights to the other's."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Conv2D(8, 3, padding="same", activation="relu", name="one"),
            layers.Conv2D(5, 3, strides=2, padding="same", name="two"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(5, name="head"),
        ]
    )
    kernel = np.array(model.get_layer("one").kernel)
    kernel[..., 4:] = kernel[..., :4]
    model.get_layer("one").kernel.assign(kernel)
    reader = model.get_layer("two").kernel
    reader.assign(np.asarray(reader) * np.repeat([1.0, 0.1], 4)[:, None])
    calibration = images((8, 8, 3))
    whole = model.predict(calibration.inputs[0], verbose=0)

    def error(**settings) -> float:
        pruned = prune(model, PruneChannels(ratios={"one": 0.5}, **settings), calibration=calibration)
        return float(np.abs(pruned.model.predict(calibration.inputs[0], verbose=0) - whole).max())

    assert error(criterion="lasso") < 1e-3
    assert error(criterion="l1") < 1e-3
    assert error(criterion="l1", reconstruct=False) > 1e-2


@pytest.mark.parametrize("criterion", ["fpgm", "lasso"])
def test_a_bias_makes_up_for_channels_that_never_change(criterion: str) -> None:
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((6,)),
            layers.Dense(8, activation="relu", name="one"),
            layers.Dense(5, name="head"),
        ]
    )
    one = model.get_layer("one")
    one.kernel.assign(np.asarray(one.kernel) * ([1.0] * 4 + [0.0] * 4))
    one.bias.assign([0.0] * 4 + [2.0, -1.0, 3.0, 1.0])
    calibration = images((6,))
    settings = PruneChannels(criterion=criterion, ratios={"one": 0.5})  # type: ignore[arg-type]
    pruned = prune(model, settings, calibration=calibration)
    whole = model.predict(calibration.inputs[0], verbose=0)
    left = pruned.model.predict(calibration.inputs[0], verbose=0)
    assert np.abs(left - whole).max() < 1e-3 * whole.std()


def test_reconstruction_helps_any_criterion_on_a_residual_network() -> None:
    model = build_model("resnet20", (16, 16, 1), 5, seed=1)
    calibration = images((16, 16, 1))
    recalibrate(model, calibration)
    whole = model.predict(calibration.inputs[0], verbose=0)

    def error(reconstruct: bool) -> float:
        settings = PruneChannels(criterion="l2", reconstruct=reconstruct)
        pruned = prune(model, settings, speedup=1.5, calibration=calibration)
        return float(np.square(pruned.model.predict(calibration.inputs[0], verbose=0) - whole).mean())

    assert error(True) < 0.7 * error(False)


def augmenting(augmentation: list[layers.Layer]) -> keras.Model:
    """The same network with and without layers that change images at random while it is trained."""
    x = inputs = keras.Input((8, 8, 3))
    if augmentation:
        x = keras.Sequential(augmentation)(x)
    for name in ("one", "two"):
        x = layers.Conv2D(8, 3, use_bias=False, name=name)(x)
        x = layers.ReLU()(layers.BatchNormalization()(x))
    model = keras.Model(inputs, layers.Dense(5)(layers.GlobalAveragePooling2D()(x)))
    rng = np.random.default_rng(0)
    for weight in model.trainable_weights:
        weight.assign(rng.normal(size=weight.shape))
    return model


@pytest.mark.parametrize("criterion", ["l2", "taylor", "lasso", "dcp"])
def test_layers_that_augment_do_so_only_in_training(criterion: str) -> None:
    """What remains is what remains of the network without them; their own state is left as it is."""
    settings = PruneChannels(criterion=criterion, ratios={"one": 0.5}, round_to=1)  # type: ignore[arg-type]
    model = augmenting([layers.RandomFlip(seed=1), layers.RandomTranslation(0.3, 0.3, seed=2)])
    before = [np.array(each) for each in model.variables]
    with_them, without = (
        prune(each, settings, calibration=images((8, 8, 3))).model for each in (model, augmenting([]))
    )
    for one, other in zip(with_them.weights, without.weights, strict=True):
        np.testing.assert_array_equal(np.array(one), np.array(other))
    for was, now in zip(before, model.variables, strict=True):
        np.testing.assert_array_equal(was, np.array(now))


def test_recalibration_gives_the_statistics_of_the_data() -> None:
    model = keras.Sequential(
        [keras.Input((8, 8, 3)), layers.BatchNormalization(name="norm", momentum=0.9)]
    )
    calibration = images((8, 8, 3), 128)
    recalibrate(model, calibration)
    norm = model.get_layer("norm")
    x = calibration.inputs[0]
    np.testing.assert_allclose(norm.moving_mean, x.mean(axis=(0, 1, 2)), atol=1e-5)
    np.testing.assert_allclose(norm.moving_variance, x.var(axis=(0, 1, 2)), rtol=1e-3)
    assert norm.momentum == 0.9


def test_statistics_of_a_norm_that_computes_otherwise_stay() -> None:
    norm = HalfNorm(name="norm")
    model = keras.Sequential([keras.Input((8, 8, 3)), norm])
    before = norm.get_weights()
    recalibrate(model, images((8, 8, 3), 128))
    for was, now in zip(before, norm.get_weights(), strict=True):
        np.testing.assert_array_equal(was, now)


def concatenation_that_is_added_to() -> keras.Model:
    x = inputs = keras.Input((8, 8, 3))
    one = layers.Conv2D(6, 3, padding="same", name="one")(x)
    two = layers.Conv2D(6, 3, padding="same", name="two")(x)
    x = layers.Concatenate()([one, two])
    x = layers.Add()([x, layers.Conv2D(12, 3, padding="same", name="three")(x)])
    x = layers.Dense(5)(layers.GlobalAveragePooling2D()(x))
    return keras.Model(inputs, x)


def test_every_layer_keeps_a_channel_where_a_concatenation_is_added_to() -> None:
    model = concatenation_that_is_added_to()
    scale_units(model, "two", [1e-6] * 6)
    pruned = prune(model, PruneChannels(criterion="l1", round_to=1), speedup=4)
    assert pruned.model.get_layer("two").filters >= 1
    assert pruned.model.get_layer("one").filters > pruned.model.get_layer("two").filters


def test_group_after_group_with_fine_tuning_between() -> None:
    model = NETS["residual"]()
    seen = []

    def between(model: keras.Model, number: int) -> keras.Model:
        seen.append((number, model.get_layer("stem").filters, model.get_layer("inner").filters))
        return model

    settings = PruneChannels(criterion="l1", ratios={"stem": 0.5, "inner": 0.5}, group_size=1)
    prune(model, settings, between=between)
    assert seen == [(0, 4, 12), (1, 4, 6)]


def test_what_only_feeds_an_output_without_a_loss_is_not_cut() -> None:
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 1))
    shared = layers.Conv2D(16, 3, padding="same", activation="relu", name="shared")(image)
    ends = []
    for name in ("digit", "spare"):
        h = layers.Conv2D(16, 3, activation="relu", name=f"{name}_conv")(shared)
        ends.append(layers.Dense(5, name=name)(layers.GlobalAveragePooling2D()(h)))
    model = keras.Model(image, ends)
    model.compile(loss=[keras.losses.SparseCategoricalCrossentropy(from_logits=True), None])
    given = images((8, 8, 1), 32)
    task = infer_task(model, 5)
    calibration = Calibration(given.inputs, given.labels, task.loss)
    pruned = prune(model, PruneChannels(round_to=1), speedup=1.4, calibration=calibration)
    kept = {name: left for name, (left, _) in pruned.kept.items()}
    assert kept["spare_conv"] == 16
    assert kept["digit_conv"] < 16


def test_a_layer_in_spectral_normalization_is_cut_like_any_other() -> None:
    inputs = keras.Input((8, 8, 3))
    conv = keras.layers.Conv2D(8, 3, activation="relu", name="conv")
    x = keras.layers.SpectralNormalization(conv, name="spectral")(inputs)
    x = keras.layers.Dense(4, name="head")(keras.layers.GlobalAveragePooling2D()(x))
    model = keras.Model(inputs, x)
    settings = PruneChannels(criterion="l1", ratios={"spectral/conv": 0.5}, round_to=1)
    pruned = prune(model, settings)
    assert pruned.kept == {"spectral/conv": (4, 8)}
    # As a plain convolution: 6 x 6 positions, 3 x 3 x 3 inputs, and the head.
    assert pruned.before.macs == 36 * 27 * 8 + 8 * 4
    assert pruned.after.macs == 36 * 27 * 4 + 4 * 4
    assert any("SpectralNormalization" in note and "spectral" in note for note in pruned.notes)
