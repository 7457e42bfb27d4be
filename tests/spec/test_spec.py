from collections.abc import Sequence
from pathlib import Path

import jsonschema
import pytest
import yaml

from pocketkube.errors import UserError
from pocketkube.spec import document_of, explain, json_schema, load_spec, parse_spec, resolve_paths
from pocketkube.spec.model_files import is_model_file
from pocketkube.spec.searched import DECIDED, searched_budget
from pocketkube.spec.sections import Search
from pocketkube.spec.stage_settings import STAGE_NAMES

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.yaml"))
GOOD = """\
model: resnet20
dataset: digits
target: {speedup: 2.5}
stages:
  - prune_channels: {criterion: l1}
  - fine_tune
  - quantize_int8
training: {epochs: 3}
"""


def load(folder: Path, text: str):
    (folder / "spec.yaml").write_text(text)
    return load_spec(folder / "spec.yaml")


def test_short_forms_take_the_defaults(tmp_path: Path) -> None:
    spec = load(tmp_path, GOOD)
    assert spec.dataset.source == ("builtin", "digits")
    assert [stage.name for stage in spec.stages] == ["prune_channels", "fine_tune", "quantize_int8"]
    assert spec.stages[0].criterion == "l1"
    assert spec.training.epochs == 3
    assert spec.training.batch_size == 128


@pytest.mark.parametrize(
    ("change", "line", "said"),
    [
        (("criterion: l1", "criterion: l3"), 5, "'l3' is not known; use one of l1, l2"),
        (("epochs: 3", "epochs: 0"), 8, "training.epochs"),
        (("epochs: 3", "epoch: 3"), 8, "epochs"),
        (("speedup: 2.5", "speedup: 0.9"), 3, "speedup"),
        (("speedup: 2.5", "speedup: fast"), 3, "speedup"),
        (("model: resnet20\n", ""), 1, "model"),
        (("dataset: digits", "dataset: {npz: a.npz, idx: b}"), 2, "exactly one of"),
        (("  - fine_tune\n", "  - quantize_int8\n"), 4, "nothing can follow"),
        (("target: {speedup: 2.5}", "target: {}"), 3, "asks for nothing"),
        (("fine_tune", "fine_tuning"), 6, "fine_tune"),
        (("  - prune", "  - sparsify_weights\n  - prune"), 4, "prune_channels fits the weights"),
        (("  - prune", "  - cluster_weights\n  - prune"), 4, "prune_channels fits the weights"),
        (("fine_tune", "cluster_weights\n  - sparsify_weights"), 4, "zeros stay zero"),
        (("fine_tune", "cluster_weights\n  - cluster_weights"), 4, "a second cluster_weights"),
        (("fine_tune", "cluster_weights\n  - fine_tune"), 4, "give cluster_weights more epochs"),
        (("fine_tune", "cluster_weights"), 4, "end with quantize_float16"),
        (("fine_tune", "cluster_weights: {bits: 9}"), 6, "at most 8"),
        (("fine_tune", "cluster_weights: {bucket_size: 64}"), 6, "needs granularity bucket"),
        (("fine_tune", "quantize_weights: {bucket_size: 16}"), 6, "needs granularity bucket"),
        (
            ("fine_tune", "quantize_weights: {granularity: bucket, bucket_size: null}"),
            6,
            "granularity bucket needs a bucket_size",
        ),
        (
            ("fine_tune", "cluster_weights: {granularity: bucket, bucket_size: null}"),
            6,
            "granularity bucket needs a bucket_size",
        ),
        (
            ("fine_tune", "sparsify_weights: {pattern: two_of_four, sparsity: 0.8}"),
            6,
            "half of each layer",
        ),
        (("fine_tune", "distill_model: {student: lenet}"), 4, "put it first, before prune_channels"),
        (
            ("  - prune", "  - distill_model\n  - prune"),
            5,
            "student: is missing; give the small",
        ),
        (
            ("  - prune", "  - distill_model: {student: a.keras, width: 0.5}\n  - prune"),
            5,
            "width multiplies built-in networks only",
        ),
        (
            ("stages:", "distillation: {weight: 0}\nstages:\n  - distill_model: {student: lenet}"),
            4,
            "learn nothing from its teacher",
        ),
        (("training:", "distillation: {layers: {a: b}}\ntraining:"), 8, "which are both 0"),
    ],
)
def test_mistakes_name_the_line_and_what_is_right(tmp_path: Path, change, line: int, said: str) -> None:
    with pytest.raises(UserError) as caught:
        load(tmp_path, GOOD.replace(*change))
    assert str(caught.value).startswith(f"spec.yaml line {line}")
    assert said in str(caught.value)


LANDMARKS = GOOD + "task: {landmarks: {normalize_by: [36, 45]}}\n"


def test_a_task_has_short_forms(tmp_path: Path) -> None:
    for text, by in (
        (LANDMARKS, (36, 45)),
        (GOOD + "task: landmarks\n", "box_size"),
        (GOOD + "task:\n  landmarks:\n", "box_size"),
        (GOOD + "task: {landmarks: {normalize_by: box_diagonal}}\n", "box_diagonal"),
    ):
        spec = load(tmp_path, text)
        assert spec.task.landmarks.normalize_by == by
        assert parse_spec(document_of(spec)) == spec
        jsonschema.validate(
            yaml.safe_load(text.replace("landmarks:\n", "landmarks: {}\n")), json_schema()
        )
    assert load(tmp_path, GOOD).task is None


@pytest.mark.parametrize(
    ("change", "line", "said"),
    [
        (("[36, 45]", "[36]"), 9, "task.landmarks.normalize_by: must be box_size, box_diagonal or"),
        (("[36, 45]", "[36, 36]"), 9, "as in [36, 45]; received [36, 36]"),
        (("[36, 45]", "[36, -1]"), 9, "normalize_by"),
        (("[36, 45]", "eyes"), 9, "received 'eyes'"),
        (("{landmarks: {normalize_by: [36, 45]}}", "landmark"), 9, "'landmark' is not a task"),
        (("{landmarks: {normalize_by: [36, 45]}}", "{}"), 9, "landmarks"),
        (("epochs: 3", "augmentation: {shift: 2}"), 8, "but not its landmarks"),
        (("epochs: 3", "augmentation: {flip: true}"), 8, "but not its landmarks"),
        (("epochs: 3", "label_smoothing: 0.1"), 8, "label_smoothing is for classes"),
        (("epochs: 3", "class_weights: balanced"), 8, "class_weights is for classes"),
    ],
)
def test_mistakes_in_a_task(tmp_path: Path, change, line: int, said: str) -> None:
    load(tmp_path, LANDMARKS.replace("epochs: 3", "augmentation: {cutout: 4}"))
    with pytest.raises(UserError) as caught:
        load(tmp_path, LANDMARKS.replace(*change))
    assert str(caught.value).startswith(f"spec.yaml line {line}")
    assert said in str(caught.value)


def test_a_latency_of_one_thread_is_measured_with_one(tmp_path: Path) -> None:
    asked = GOOD.replace("{speedup: 2.5}", "{max_latency_ms: 4}") + "benchmark: {threads: [%s]}\n"
    assert load(tmp_path, asked % "8, 1").benchmark.threads == (8, 1)
    with pytest.raises(
        UserError, match=r"^spec.yaml line 9: benchmark: threads has to have 1 .*; received 8"
    ):
        load(tmp_path, asked % "8")
    assert load(tmp_path, GOOD + "benchmark: {threads: [8]}\n").benchmark.threads == (8,)


def test_classes_that_a_task_names_are_trained_as_others(tmp_path: Path) -> None:
    for task in ("classification", "{segmentation: {ignore_class: 255}}"):
        for training in ("augmentation: {flip: true}", "label_smoothing: 0.1"):
            text = GOOD.replace("epochs: 3", training) + f"task: {task}\n"
            assert load(tmp_path, text).task is not None


def test_a_folder_does_not_stand_in_for_a_built_in_network(tmp_path: Path) -> None:
    for name in ("lenet", "mine"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "saved_model.pb").touch()
    assert not is_model_file("lenet", tmp_path)
    assert is_model_file("mine", tmp_path)


def test_a_home_folder_of_nobody_is_a_name_like_any_other(tmp_path: Path) -> None:
    place = "~nobody-of-that-name/net.keras"
    spec = parse_spec({"model": place, "dataset": {"npz": place}, "stages": ["fine_tune"]})
    assert resolve_paths(spec, tmp_path).model == str(tmp_path / place)
    assert not is_model_file("~nobody-of-that-name/net", tmp_path)


def test_contradictory_targets_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="contradict each other"):
        load(tmp_path, GOOD.replace("criterion: l1", "ratios: {conv: 0.5}"))


def test_each_of_several_prunings_knows_how_far() -> None:
    ratios = {"prune_channels": {"ratios": {"conv1": 0.5}}}
    spec = {"model": "lenet", "dataset": "digits"}
    for stages in ([ratios, "prune_channels"], ["prune_channels", ratios]):
        with pytest.raises(UserError, match="prune_channels needs to know how far"):
            parse_spec(spec | {"stages": stages})
        parse_spec(spec | {"stages": stages, "target": {"speedup": 2}})
    parse_spec(spec | {"stages": [ratios, ratios]})
    with pytest.raises(UserError, match="contradict each other"):
        parse_spec(spec | {"stages": [ratios, ratios], "target": {"speedup": 2}})


SEARCHED = GOOD.replace("criterion: l1", "") + "search: {over: [prune_channels], trials: 5}\n"


def test_a_search_names_its_stages_and_finds_its_budget(tmp_path: Path) -> None:
    spec = load(tmp_path, SEARCHED)
    assert (spec.search.over, spec.search.sampler) == (("prune_channels",), "ddpg")
    assert searched_budget(spec.search, spec.stages, spec.target) == "macs"
    assert parse_spec(document_of(spec)) == spec
    jsonschema.validate(yaml.safe_load(SEARCHED), json_schema())

    def budget(
        over: list[str],
        target: dict[str, object] | None,
        stages: Sequence[str] = ("prune_channels", "sparsify_weights", "quantize_weights"),
        **more: object,
    ) -> str:
        document = {
            "model": "lenet",
            "dataset": "digits",
            "stages": list(stages),
            "search": {"over": over, **more},
        } | ({"target": target} if target else {})
        spec = parse_spec(document)
        return searched_budget(spec.search, spec.stages, spec.target)

    def steps(over: str) -> int:
        return Search.model_validate({"over": over.split()}).fine_tune_steps

    assert steps("prune_channels") == steps("prune_channels sparsify_weights") == 25
    assert steps("quantize_weights") == steps("prune_channels quantize_weights") == 0

    size, speed = {"max_size": 9000}, {"speedup": 2}
    assert budget(["prune_channels", "quantize_weights"], size) == "bytes"
    assert budget(["quantize_weights"], speed, mean_bits=4) == "mean_bits"
    assert budget(["sparsify_weights"], speed) == "parameters"
    with pytest.raises(UserError, match=r"nothing of sparsify_weights; give target\.speedup and prune"):
        budget(["prune_channels", "sparsify_weights"], size)
    for over in (["sparsify_weights", "quantize_weights"], list(DECIDED)):
        for target in (size, speed, {"max_accuracy_drop": 0.1}):
            with pytest.raises(UserError, match="no budget counts zeros and bits together: leave one"):
                budget(over, target)
    # A file of floats leaves zeros out.
    stages = ["prune_channels", "sparsify_weights", "quantize_float16"]
    assert budget(["prune_channels", "sparsify_weights"], size, stages) == "bytes"
    table = {"max_latency_ms": 2, "latency_table": "table.json"}
    assert budget(["prune_channels"], table) == "latency"


@pytest.mark.parametrize(
    ("changes", "line", "said"),
    [
        ([("[prune_channels]", "[fine_tune]")], 9, "'fine_tune' is not known; use one of prune"),
        ([("trials: 5", "sampler: nsga2")], 9, "nsga2 weighs scores against budgets; give it their"),
        ([("trials: 5", "front: {speedup: [2, 6]}")], 9, "ddpg searches one budget, not a front; name"),
        (
            [("trials: 5", "sampler: milp, front: {max_size: [9, 99]}")],
            9,
            "front is of max_size, and the budget is target.speedup",
        ),
        (
            [("trials: 5", "sampler: milp, front: {speedup: [3, 6]}")],
            9,
            "target.speedup is 2.5, and the front goes from 3 to 6",
        ),
        ([("trials: 5", "front: {speedup: [6, 2]}")], 9, "speedup has to rise from its first number"),
        ([("trials: 5", "front: {}")], 9, "needs the range of one budget"),
        (
            [
                (
                    "trials: 5}",
                    "sampler: milp, front: {speedup: [2, 6]}}\ncluster: {trials: {launcher: katib}}",
                )
            ],
            9,
            "a front weighs two objectives, and a Katib Experiment has one",
        ),
        (
            [("trials: 5}", "sampler: uniform}\ncluster: {trials: {launcher: katib}}")],
            9,
            "uniform is no algorithm of Katib; name one of ddpg, tpe, milp, random, cmaes, gp",
        ),
        (
            [("trials: 5}", "trials: 5}\ncluster: {trials: {early_stopping: true}}")],
            10,
            "ends trials of a Katib Experiment, and trials.launcher is inline",
        ),
        (
            [
                (
                    "trials: 5}",
                    "evaluate: {fine_tune_steps: 0}}\n"
                    "cluster: {trials: {early_stopping: true, launcher: katib}}",
                )
            ],
            10,
            "ends trials between steps of fine-tuning, and search.evaluate.fine_tune_steps is 0",
        ),
        ([("[prune_channels]", "[]")], 9, "search.over: must have at least 1 values"),
        ([("[prune_channels]", "[prune_channels, prune_channels]")], 9, "names prune_channels twice"),
        ([("[prune_channels]", "[quantize_weights]")], 9, "none of stages; add it there"),
        ([("over: [prune_channels], ", "")], 9, "search.over: is missing"),
        ([("trials: 5", "sampler: bayes")], 9, "'bayes' is not known; did you mean"),
        ([("{speedup: 2.5}", "{max_accuracy_drop: 0.01}")], 9, "how far to go; give target: {speedup"),
        ([("{speedup: 2.5}", "{max_latency_ms: 2}")], 3, "give latency_table"),
        ([("{speedup: 2.5}", "{speedup: 2, max_size: 90}")], 9, "max_size and target.speedup are sev"),
        ([("  - prune_channels: {}", "  - prune_channels: {scope: uniform}")], 9, "scope is to decide"),
        (
            [
                ("{speedup: 2.5}", "{max_size: 9000}"),
                ("  - prune_channels: {}", "  - prune_channels: {ratios: {a: 0.5}}"),
            ],
            9,
            "prune_channels' ratios is to decide",
        ),
        (
            [
                ("fine_tune", "quantize_weights"),
                ("[prune_channels]", "[prune_channels, quantize_weights]"),
            ],
            9,
            "target.speedup limits nothing of quantize_weights; give target: {max_size",
        ),
        (
            [("fine_tune", "quantize_weights"), ("[prune_channels]", "[quantize_weights]")],
            9,
            "how far to go; give mean_bits",
        ),
        (
            [
                ("fine_tune", "quantize_weights: {layers: {a: 4}}"),
                ("[prune_channels]", "[quantize_weights]"),
            ],
            9,
            "quantize_weights' layers is to decide",
        ),
        (
            [
                ("{speedup: 2.5}", "{max_size: 9000}"),
                ("fine_tune", "quantize_weights"),
                ("[prune_channels]", "[quantize_weights]"),
            ],
            9,
            "prune_channels, which would reach max_size by itself",
        ),
        (
            [
                ("fine_tune", "sparsify_weights: {pattern: two_of_four}"),
                ("[prune_channels]", "[sparsify_weights]"),
            ],
            9,
            "two_of_four makes half of each layer zero",
        ),
    ],
)
def test_mistakes_in_a_search(tmp_path: Path, changes, line: int, said: str) -> None:
    text = SEARCHED
    for change in changes:
        text = text.replace(*change)
    with pytest.raises(UserError) as caught:
        load(tmp_path, text)
    assert str(caught.value).startswith(f"spec.yaml line {line}")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["", "- a\n- b\n", "model: [\n", "model: a\nmodel: b\n", "\tmodel: a\n", "model: a\x07\n"]
)
def test_what_is_no_mapping_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(UserError, match=r"spec\.yaml"):
        load(tmp_path, text)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere\.yaml"):
        load_spec(tmp_path / "nowhere.yaml")


def test_parameters_of_a_pipeline_may_be_floats() -> None:
    document = yaml.safe_load(GOOD) | {"training": {"epochs": 3.0, "batch_size": 64.0}, "seed": 1.0}
    spec = parse_spec(document)
    assert (spec.training.epochs, spec.training.batch_size, spec.seed) == (3, 64, 1)
    with pytest.raises(UserError, match=r"training\.epochs"):
        parse_spec(document | {"training": {"epochs": 3.5}})


@pytest.mark.parametrize(("stage", "size"), [("quantize_weights", 64), ("cluster_weights", 512)])
def test_a_spec_survives_being_a_parameter(stage: str, size: int) -> None:
    spec = parse_spec(yaml.safe_load(GOOD))
    assert parse_spec(document_of(spec)) == spec
    for settings, wanted in (({}, None), ({"granularity": "bucket"}, size)):
        spec = parse_spec({"model": "lenet", "dataset": "digits", "stages": [{stage: settings}]})
        assert spec.stages[0].bucket_size == wanted
        assert parse_spec(document_of(spec)) == spec


def test_paths_start_at_the_specs_folder(tmp_path: Path) -> None:
    text = GOOD.replace("resnet20", "net.keras").replace("digits", "{npz: data/a.npz}")
    spec = resolve_paths(load(tmp_path, text), tmp_path)
    assert spec.model == str(tmp_path / "net.keras")
    assert spec.dataset.npz == str(tmp_path / "data" / "a.npz")
    distilled = "distillation: {teachers: [model, a.keras, /b]}\nstages:\n"
    text = GOOD.replace("stages:\n", distilled + "  - distill_model: {student: c.keras}\n")
    spec = resolve_paths(load(tmp_path, text), tmp_path)
    assert spec.distillation.teachers == ("model", str(tmp_path / "a.keras"), "/b")
    assert spec.stages[0].student == str(tmp_path / "c.keras")


def test_explain_names_every_field_and_stage() -> None:
    told = explain()
    for word in (*STAGE_NAMES, "criterion", "max_latency_ms", "checkpoint_steps", "temperature"):
        assert f"{word}:" in told
    assert "activation_bits: 8  # at least 2, at most 8, or float" in told
    assert "max_ratio: 0.9  # at least 0, less than 1" in told
    assert "threads: [1, 2]  # each at least 1" in told


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_editors_accept_the_examples(path: Path) -> None:
    document = yaml.safe_load(path.read_text())
    validator = jsonschema.Draft202012Validator(json_schema())
    assert list(validator.iter_errors(document)) == []
    assert load_spec(path) == parse_spec(document)


@pytest.mark.parametrize(
    "change",
    [
        ("criterion: l1", "criterion: l3"),
        ("fine_tune", "fine_tuning"),
        ("epochs: 3", "epoch: 3"),
        ("dataset: digits", "dataset: {}"),
        ("speedup: 2.5", "speedup: null"),
    ],
)
def test_editors_refuse_what_loading_refuses(change) -> None:
    jsonschema.validate(yaml.safe_load(GOOD), json_schema())
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(yaml.safe_load(GOOD.replace(*change)), json_schema())


@pytest.mark.parametrize(
    ("stages", "said"),
    [
        (["quantize_weights", "prune_channels"], "prune_channels changes whole weights"),
        (["quantize_weights", "sparsify_weights"], "sparsify_weights changes whole weights"),
        (["quantize_weights", "fine_tune"], "or set epochs of quantize_weights"),
        (["quantize_weights", "quantize_weights"], "is there twice; give layers their bits"),
        (["quantize_weights", "quantize_float16"], "stores other numbers than the levels"),
        (["cluster_weights", "quantize_weights"], "give one of the two"),
        (["quantize_weights", "cluster_weights"], "give one of the two"),
        (["sparsify_weights", "prune_channels"], "fills the zeros of sparsify_weights; put it before"),
        (
            [{"quantize_weights": {"activation_bits": 4}}, "quantize_int8"],
            "quantize_int8 after quantize_weights needs activation_bits: 8",
        ),
    ],
)
def test_an_order_that_undoes_what_was_done_is_refused(stages: list, said: str) -> None:
    spec = {"model": "lenet", "dataset": "digits", "target": {"speedup": 2}, "stages": stages}
    if "prune_channels" not in stages:
        del spec["target"]
    with pytest.raises(UserError) as caught:
        parse_spec(spec)
    assert str(caught.value).startswith("spec: stages: ")
    assert said in str(caught.value)


def test_methods_follow_each_other_in_any_order_that_makes_sense() -> None:
    for stages in (
        ["prune_channels", "sparsify_weights", "fine_tune", "quantize_weights"],
        ["prune_channels", "fine_tune", "sparsify_weights", "cluster_weights", "quantize_float16"],
        ["distill_model", "prune_channels", "quantize_weights", "quantize_int8"],
    ):
        names = [{"distill_model": {"student": "lenet"}} if s == "distill_model" else s for s in stages]
        spec = {"model": "resnet20", "dataset": "digits", "target": {"speedup": 2}, "stages": names}
        assert [stage.name for stage in parse_spec(spec).stages] == stages


def test_all_that_is_wrong_is_said_with_its_line(tmp_path: Path) -> None:
    text = GOOD.replace("criterion: l1", "criterion: l3").replace("epochs: 3", "epochs: 0")
    first = "line 5: stages.prune_channels.criterion: 'l3' is not known; use one of l1, l2, bn_scale"
    second = "line 8: training.epochs: must be at least 1; received 0"
    with pytest.raises(UserError) as caught:
        load(tmp_path, text)
    assert str(caught.value).startswith(f"spec.yaml {first}")
    assert str(caught.value).endswith(f" (and 1 more problem: {second})")
    with pytest.raises(UserError) as caught:
        load(tmp_path, text.replace("speedup: 2.5", "speedup: 0.5"))
    assert str(caught.value).startswith("spec.yaml line 3: target.speedup: must be above 1; received")
    assert f" (and 2 more problems: {first}" in str(caught.value)
    assert str(caught.value).endswith(f" | {second})")
    with pytest.raises(UserError, match=r"\(and 1 more problem: training\.epochs: must be at least 1"):
        parse_spec(yaml.safe_load(text))
