"""A pruner is asked more than once: it gives equal answers in any order, and plans without cutting."""

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from pocketkube.errors import UserError
from pocketkube.extension import criteria
from pocketkube.graph.cost import profile_model
from pocketkube.graph.file_bytes import FileBytes, FileForm
from pocketkube.models import build_model
from pocketkube.pruning.calibration import Calibration
from pocketkube.pruning.criteria import BUILT_IN, criterion_named
from pocketkube.pruning.criteria.base import Criterion
from pocketkube.pruning.prune import prune
from pocketkube.pruning.pruner import Pruned, Pruner
from pocketkube.spec.sections import PruneChannels
from pocketkube.spec.sections.prune_channels import CRITERIA, DATA_FREE
from tests.graph.nets import NETS


def images(count: int = 48) -> Calibration:
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(count, 8, 8, 3)).astype(np.float32)
    return Calibration((inputs,), (rng.integers(0, 5, count),), cross_entropy)


def cross_entropy(labels: Any, outputs: Any) -> Any:
    return keras.ops.sparse_categorical_crossentropy(labels[0], outputs, from_logits=True)


def residual() -> keras.Model:
    keras.utils.set_random_seed(0)
    return NETS["residual"]()


def assert_equal(one: Pruned, other: Pruned) -> None:
    assert (one.kept, one.notes) == (other.kept, other.notes)
    assert (one.after.macs, one.after.parameters) == (other.after.macs, other.after.parameters)
    for ours, theirs in zip(one.model.get_weights(), other.model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("criterion", ["l2", "lasso", pytest.param("dcp", marks=pytest.mark.slow)])
def test_answers_are_the_same_in_any_order_and_those_of_a_new_pruner(criterion: str) -> None:
    def pruner() -> Pruner:
        return Pruner(residual(), criterion=criterion, calibration=images(), round_to=1)

    asked = pruner()
    first, ratios = asked.to_speedup(1.5), asked.to_ratios({"inner": 0.5})
    assert_equal(asked.to_speedup(1.5), first)
    assert_equal(asked.to_counts({"inner": 6}), ratios)
    assert_equal(pruner().to_ratios({"inner": 0.5}), ratios)
    settings = PruneChannels(criterion=criterion, round_to=1)  # type: ignore[arg-type]
    assert_equal(prune(residual(), settings, speedup=1.5, calibration=images()), first)


def test_a_plan_is_made_without_cutting_and_costs_what_was_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pruner = Pruner(build_model("resnet20", (16, 16, 1), 5))
    with monkeypatch.context() as patch:
        patch.setattr(keras.Layer, "__init__", lambda *_, **__: pytest.fail("a layer was built"))
        plans = {speedup: pruner.counts_for_speedup(speedup) for speedup in (1.5, 2, 3)}
    pruned = pruner.to_counts(plans[2])
    assert pruned.after.macs == pruner.costs.macs(pruner.costs.counts(plans[2]))
    assert 2 <= pruned.before.macs / pruned.after.macs <= 2.02


def test_the_model_is_left_as_it_is() -> None:
    model = residual()
    before = [np.array(weight) for weight in model.weights]
    pruner = Pruner(model, criterion="lasso", calibration=images(), round_to=1)
    pruner.to_speedup(1.5)
    nothing = pruner.to_counts({})
    assert profile_model(nothing.model) == profile_model(model)
    nothing.model.layers[1].kernel.assign(np.zeros(nothing.model.layers[1].kernel.shape))
    for weight, was in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(weight, was)


def test_any_budget_can_be_the_target() -> None:
    pruner = Pruner(build_model("resnet20", (16, 16, 1), 5))
    size = FileBytes(pruner.costs, FileForm("int8"))
    whole = size.cost({})
    pruned = pruner.to_budget(size, whole / 2)
    left = {name: count for name, (count, _) in pruned.kept.items()}
    assert 0.98 * whole / 2 <= size.cost(left) <= whole / 2


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ({"nose": 3}, "counts: nose is no layer whose channels may be cut; there are: stem, inner."),
        ({"inner": 13}, "counts: inner can keep 1 to 12 units; received 13."),
        ({"inner": 0}, "counts: inner can keep 1 to 12 units; received 0."),
        ({"stem": 4, "last": 3}, "counts: last and stem share their channels and need the same count."),
    ],
)
def test_counts_that_make_no_sense(counts: dict[str, int], said: str) -> None:
    with pytest.raises(UserError) as caught:
        Pruner(residual()).to_counts(counts)
    assert str(caught.value) == said


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"scope": "local"}, "prune: scope has to be one of global, uniform; received 'local'."),
        ({"max_ratio": 1.5}, "prune: max_ratio has to be at least 0 and less than 1; received 1.5."),
        ({"round_to": 0}, "prune: round_to has to be at least 1; received 0."),
    ],
)
def test_settings_that_make_no_sense(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError) as caught:
        Pruner(residual(), **settings)
    assert str(caught.value) == said


def test_ratios_and_budgets_that_make_no_sense() -> None:
    pruner = Pruner(residual())
    for ratio in (-0.5, 1.0, 1.5):
        with pytest.raises(UserError, match=r"ratios: inner has to be at least 0 and less than 1"):
            pruner.to_ratios({"inner": ratio})
    with pytest.raises(UserError, match="budget has to be one of macs, parameters; received 'bytes'"):
        pruner.to_speedup(2, budget="bytes")


def test_the_package_knows_the_criteria_that_a_spec_may_name() -> None:
    assert tuple(BUILT_IN) == CRITERIA
    assert tuple(name for name, known in BUILT_IN.items() if not known.needs_data) == DATA_FREE
    for name, known in BUILT_IN.items():
        criterion = criterion_named(name)
        assert (criterion.name, criterion.needs_data, criterion.always_fits) == (
            name,
            known.needs_data,
            known.always_fits,
        )


def test_an_unknown_criterion_is_refused_with_those_there_are() -> None:
    with pytest.raises(UserError, match=r"no criterion l3; use one of l1, l2, bn_scale"):
        criterion_named("l3")


def test_a_criterion_of_ones_own_is_used_by_name_or_as_it_is() -> None:
    class LastFirst(Criterion):
        name = "last_first"

        def scores(self, model: Any, graph: Any, calibration: Any) -> np.ndarray:
            return np.arange(graph.units.count, 0, -1.0)

    criteria.register("last_first")(LastFirst)
    model = keras.Sequential(
        [keras.Input((4,)), layers.Dense(8, name="dense"), layers.Dense(2, name="head")]
    )
    for criterion in ("last_first", LastFirst()):
        pruned = Pruner(model, criterion=criterion, round_to=1).to_ratios({"dense": 0.5})
        np.testing.assert_array_equal(
            pruned.model.get_layer("dense").kernel, np.asarray(model.get_layer("dense").kernel)[:, :4]
        )


@pytest.mark.parametrize(
    ("scores", "received"),
    [
        (None, "None"),
        (np.ones(3), r"an array of the shape \(3,\)"),
        (np.full(8, np.nan), "8 that are not a number"),
        (np.arange(8) - 2.0, "the least of -2"),
        (np.arange(8) > 3, r"array\(\[False, False, False, .*"),
        ([[1.0, 2.0], [3.0]], r"\[\[1\.0, 2\.0\], \[3\.0\]\]"),
    ],
    ids=["none", "shape", "nan", "negative", "yes or no", "ragged"],
)
def test_what_a_criterion_of_ones_own_returns_is_looked_at(scores: Any, received: str) -> None:
    class Odd(Criterion):
        name = "odd"

        def scores(self, model: Any, graph: Any, calibration: Any) -> Any:
            return scores

    model = keras.Sequential([keras.Input((4,)), layers.Dense(8), layers.Dense(2)])
    said = rf"^criterion odd: scores has to return an array of 8 numbers .*; received {received}\.$"
    with pytest.raises(UserError, match=said):
        Pruner(model, criterion=Odd())


@pytest.mark.parametrize("kind", [np.uint8, np.uint32, np.int16, np.float16])
def test_scores_of_any_type_of_number_rank_as_they_are(kind: type) -> None:
    class Counted(Criterion):
        name = "counted"

        def scores(self, model: Any, graph: Any, calibration: Any) -> Any:
            return np.arange(8, dtype=kind)

    kernel = np.arange(32.0).reshape(4, 8)
    dense = layers.Dense(8, name="dense")
    model = keras.Sequential([keras.Input((4,)), dense, layers.Dense(2)])
    dense.kernel.assign(kernel)
    smaller = Pruner(model, criterion=Counted(), round_to=1).to_counts({"dense": 3}).model
    np.testing.assert_array_equal(smaller.get_layer("dense").kernel, kernel[:, 5:])


def test_what_a_selection_of_ones_own_returns_is_looked_at() -> None:
    class FirstOnly:
        otherwise, changes_weights = "the scores", False

        def choose(self, model: Any, readers: Any, members: np.ndarray, count: int) -> Any:
            return members < count, 1.0

    class Odd(Criterion):
        name = "odd"

        def scores(self, model: Any, graph: Any, calibration: Any) -> np.ndarray:
            return np.ones(graph.units.count)

        def selection(self, model: Any, calibration: Any) -> Any:
            return FirstOnly()

    inputs = np.random.default_rng(0).normal(size=(48, 4)).astype(np.float32)
    calibration = Calibration((inputs,), (np.zeros(48, int),), cross_entropy)
    model = keras.Sequential([keras.Input((4,)), layers.Dense(8, name="dense"), layers.Dense(2)])
    pruner = Pruner(model, criterion=Odd(), calibration=calibration, round_to=1)
    said = r"^FirstOnly\.choose has to return an array of 8 numbers, one for each of members; received"
    with pytest.raises(UserError, match=said):
        pruner.to_counts({"dense": 4})


def test_where_nothing_may_go_the_reasons_are_named() -> None:
    inputs = keras.Input((8,))
    x = keras.layers.Dense(6, name="inner")(inputs)
    x = keras.layers.Softmax(name="mixing")(x)
    model = keras.Model(inputs, keras.layers.Dense(3, name="head")(x), name="small")
    said = "small has no channels that may be cut. What head makes goes out of the model. mixing"
    with pytest.raises(UserError, match=said):
        Pruner(model)
