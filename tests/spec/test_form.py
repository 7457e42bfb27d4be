"""A form's parameters become the spec that a file would hold; what is wrong names the parameter."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pocketkube.errors import UserError
from pocketkube.spec import parse_spec
from pocketkube.spec.form import CompressForm, choices, merged, spec_of


def test_the_form_as_it_is() -> None:
    assert (
        spec_of({})
        == spec_of(CompressForm())
        == parse_spec(
            {
                "model": "lenet",
                "dataset": "digits",
                "target": {"speedup": 2},
                "stages": ["prune_channels", "fine_tune", "quantize_int8"],
            }
        )
    )


def test_every_parameter_has_its_place() -> None:
    form = {
        "model": "s3://models/faces.keras",
        "dataset_kind": "npz",
        "dataset": "s3://data/faces.npz",
        "speedup": 0,
        "max_size": 90_000.0,
        "max_latency_ms": 2,
        "max_accuracy_drop": 0.01,
        "epochs": 3,
        "fine_tune_epochs": 5,
        "batch_size": 64,
        "workers": 2,
        "launcher": "mpijob",
        "number_format": "float16",
        "benchmark_arch": "arm64",
        "seed": 7,
        "object_store_secret": "keys",
        "settings": {"training": {"optimizer": "sgd"}, "task": "landmarks"},
    }
    assert set(form) == set(CompressForm.model_fields)
    assert spec_of(form) == parse_spec(
        {
            "model": "s3://models/faces.keras",
            "dataset": {"npz": "s3://data/faces.npz"},
            "task": "landmarks",
            "target": {"max_size": 90_000, "max_latency_ms": 2.0, "max_accuracy_drop": 0.01},
            "stages": ["prune_channels", {"fine_tune": {"epochs": 5}}, "quantize_float16"],
            "training": {"epochs": 3, "batch_size": 64, "workers": 2, "optimizer": "sgd"},
            "cluster": {
                "launcher": "mpijob",
                "benchmark": {"arch": "arm64"},
                "object_store": {"secret": "keys"},
            },
            "seed": 7,
        }
    )


def test_floats_end_without_a_format() -> None:
    assert [stage.name for stage in spec_of({"number_format": "float32"}).stages] == [
        "prune_channels",
        "fine_tune",
    ]


def test_settings_come_last_and_reach_deep() -> None:
    spec = spec_of(
        {
            "epochs": 3,
            "settings": {
                "dataset": {"max_train": 100},
                "training": {"epochs": 4, "augmentation": {"shift": 2}},
                "benchmark": {"threads": [1.0]},
                "stages": [
                    {"quantize_int8": {"min_agreement": 0.9}},
                    {"name": "prune_channels", "criterion": "l2"},
                    "fine_tune",
                ],
            },
        }
    )
    assert (spec.dataset.builtin, spec.dataset.max_train) == ("digits", 100)
    assert (spec.training.epochs, spec.training.augmentation.shift) == (4, 2)
    assert spec.benchmark.threads == (1,)
    pruning, _, quantizing = spec.stages
    assert (pruning.criterion, quantizing.min_agreement) == ("l2", 0.9)


def test_ratios_take_the_place_of_a_target() -> None:
    stages = [{"prune_channels": {"ratios": {"conv": 0.5}}}]
    assert spec_of({"speedup": 0, "settings": {"stages": stages}}).target is None


OWN = "pocketkube submit SPEC"
REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"epochs": -1}, "epochs: must be at least 1"),
    ({"epochs": "many"}, "epochs: must be a whole number"),
    ({"epochs": 1.5}, "epochs: must be a whole number"),
    ({"fine_tune_epochs": -2}, "fine_tune_epochs: must be at least 1"),
    ({"batch_size": 4, "workers": 8}, "epochs, batch_size, workers: batch_size 4 leaves"),
    (
        {"batch_size": 9, "workers": 2, "settings": {"training": {"gradient_accumulation_steps": 5}}},
        "settings.training: gradient_accumulation_steps 5 is more than the 4 examples",
    ),
    ({"speedup": 0.5}, "speedup: must be above 1"),
    ({"speedup": 0}, "speedup, max_size, max_latency_ms, max_accuracy_drop: all are 0"),
    ({"max_size": -1}, "max_size: must be above 0"),
    ({"number_format": "int4"}, "number_format: 'int4' is not known; did you mean int8?"),
    ({"launcher": "mpirun"}, "launcher: 'mpirun' is not known"),
    ({"dataset": "digit"}, "dataset: 'digit' is not known"),
    ({"model": ""}, "model: must be text that is not empty"),
    ({"seed": -1}, "seed: must be at least 0"),
    ({"object_store_secret": ""}, "object_store_secret: must be text"),
    ({"nonsense": 1}, "nonsense: is not a known key"),
    ({"settings": [1]}, "settings: must be a mapping"),
    ({"settings": {"trainning": {}}}, "settings.trainning: is not a known key; did you mean training?"),
    ({"settings": {"training": {"epochs": 0}}}, "settings.training.epochs: must be at least 1"),
    ({"settings": {"training": 3}}, "settings.training: must be a mapping"),
    ({"settings": {"dataset": {"npz": "s3://a/b"}}}, "settings.dataset: needs exactly one of"),
    ({"settings": {"stages": "prune"}}, "settings.stages: must be a list"),
    ({"settings": {"stages": ["distill_model"]}}, "settings.stages: distill_model is none of"),
    ({"settings": {"stages": [{"a": 1, "b": 2}]}}, "settings.stages: {'a': 1, 'b': 2} is none of"),
    ({"settings": {"stages": [None]}}, "settings.stages: None is none of"),
    ({"settings": {"stages": ["fine_tune"] * 2}}, "settings.stages: fine_tune is given twice"),
    ({"settings": {"stages": ["quantize_dynamic"]}}, "(number_format says in which numbers it ends)"),
    (
        {"settings": {"stages": [{"prune_channels": {"criterion": "l9"}}]}},
        "settings.stages.prune_channels.criterion: 'l9' is not known",
    ),
    (
        {"settings": {"stages": [{"fine_tune": {"epochs": 0}}]}},
        "settings.stages.fine_tune.epochs: must be at least 1",
    ),
    ({"settings": {"cluster": {"task": {"retries": 5}}}}, "settings.cluster.task.retries: is fixed"),
    (
        {"settings": {"cluster": {"tasks": {"train_model": {"timeout_minutes": 5}}}}},
        "settings.cluster.tasks.train_model.timeout_minutes: is fixed",
    ),
    (
        {"settings": {"cluster": {"object_store": {"secret": "others"}}}},
        "settings.cluster.object_store.secret: give it as the parameter object_store_secret",
    ),
    (
        {"settings": {"cluster": {"object_store": {"endpoint": "http://a:9000"}}}},
        "settings.cluster.object_store.endpoint: this pipeline's tasks have",
    ),
    ({"settings": {"cluster": {"task": {"memory": "1.5Gi"}}}}, "settings.cluster.task.memory: "),
]


@pytest.mark.parametrize(("form", "said"), REFUSED, ids=[said[:40] for _, said in REFUSED])
def test_what_is_wrong_is_said_in_one_line_that_names_the_parameter(
    form: dict[str, Any], said: str
) -> None:
    with pytest.raises(UserError) as refusal:
        spec_of(form)
    assert said in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert str(refusal.value).startswith(said[:8]) or said.startswith("(")


def test_another_shape_is_told_what_to_do() -> None:
    for settings_ in ({"stages": ["sparsify_weights"]}, {"cluster": {"task": {"retries": 5}}}):
        with pytest.raises(UserError, match=OWN):
            spec_of({"settings": settings_})


def test_choices_are_those_that_are_taken() -> None:
    for name, values in choices(CompressForm).items():
        for value in values:
            given_ = {name: value} | ({"dataset": "s3://a/b"} if value != "builtin" else {})
            spec_of(given_ if name == "dataset_kind" else {name: value})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
MAPPING = st.dictionaries(st.sampled_from("abc"), JSON, max_size=3)


@settings(max_examples=50, deadline=None)
@given(MAPPING, MAPPING)
def test_merging_keeps_what_is_laid_over(under: dict, over: dict) -> None:
    both = merged(under, over)
    assert set(both) == set(under) | set(over)
    assert merged(both, over) == both
    assert merged(under, {}) == under
    for key, value in over.items():
        if not (isinstance(value, dict) and isinstance(under.get(key), dict)):
            assert both[key] == value


@settings(max_examples=150, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(
            ["stages", "training", "dataset", "cluster", "target", "model", "task", "benchmark", "seed"]
        ),
        JSON,
    )
)
def test_no_settings_end_in_a_traceback(anything: dict) -> None:
    try:
        spec_of({"settings": anything})
    except UserError as refusal:
        assert "\n" not in str(refusal)  # noqa: PT017
