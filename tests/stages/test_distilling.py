"""A small network takes the uncompressed one's place, and whoever the spec names teaches it."""

from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

from pocketkube.bundle import load_bundle
from pocketkube.errors import UserError
from pocketkube.facts import load_facts
from pocketkube.spec import document_of, parse_spec
from pocketkube.spec.spec import Spec
from pocketkube.stages.plan import plan
from pocketkube.stages.reporting import _layers
from pocketkube.stages.run import Ran
from tests.steps import run_step

STUDENT = {"student": "lenet", "width": 0.5, "epochs": 8}


def spec(student: dict | None = None, **distillation) -> Spec:
    return parse_spec(
        {
            "model": "lenet",
            "dataset": {"builtin": "digits", "image_size": [16, 16]},
            "stages": [{"distill_model": student or STUDENT}, {"fine_tune": {"epochs": 1}}],
            "training": {"epochs": 4, "batch_size": 64},
            "distillation": distillation,
        }
    )


@pytest.fixture(scope="module")
def uncompressed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("job") / "uncompressed"
    run_step(spec(), "train_model", {}, folder)
    return folder


def distill(job: Spec, uncompressed: Path, output: Path) -> Ran:
    inputs = {"model": uncompressed, "teacher": uncompressed}
    return run_step(job, "distill_model", inputs, output)


def save_net(path: Path, *, size: int = 16, classes: int = 10) -> Path:
    parts = [layers.Conv2D(4, 3, activation="relu", name="conv"), layers.Flatten()]
    model = keras.Sequential([keras.Input((size, size, 1)), *parts, layers.Dense(classes)])
    model.save(path)
    return path


def test_the_student_goes_on_in_the_models_place(uncompressed: Path, tmp_path: Path) -> None:
    job = spec(features_weight=0.1)
    distill(job, uncompressed, tmp_path / "student")
    given, before = load_bundle(tmp_path / "student"), load_bundle(uncompressed)
    assert given.model.get_layer("conv2").filters == 8
    assert [stage.name for stage in given.facts.stages] == ["train_model", "distill_model"]
    made = given.facts.stages[-1]
    assert len(made.history.loss) == 8
    assert made.macs < before.facts.stages[-1].macs
    assert made.score > 0.5
    assert list(made.notes) == [
        "Layers compared with those of the uncompressed model: conv1 with conv1, conv2 with conv2."
    ]
    assert [step.inputs for step in plan(job)[2:4]] == [
        {"model": "train_model"},
        {"model": "1_distill_model", "teacher": "train_model"},
    ]
    inputs = {"model": tmp_path / "student", "teacher": uncompressed}
    run_step(job, "fine_tune_model", inputs, tmp_path / "tuned")
    assert load_bundle(tmp_path / "tuned").model.get_layer("conv2").filters == 8


def test_a_target_counts_from_the_uncompressed_model(uncompressed: Path, tmp_path: Path) -> None:
    def pruned(speedup: float) -> tuple[float, list[str]]:
        stages = [{"distill_model": STUDENT | {"epochs": 1}}, {"prune_channels": {"round_to": 1}}]
        given = document_of(spec())
        job = parse_spec(given | {"stages": stages, "target": {"speedup": speedup}})
        if not (tmp_path / "student").exists():
            distill(job, uncompressed, tmp_path / "student")
        inputs = {"model": tmp_path / "student", "teacher": uncompressed}
        run_step(job, "prune_channels", inputs, tmp_path / "pruned")
        first, last = load_facts(tmp_path / "pruned").stages[0::2]
        return first.macs / last.macs, list(last.notes)

    reached, notes = pruned(2)
    assert notes == [
        f"Nothing is cut: the model costs {reached:.2f}x less than the uncompressed one already."
    ]
    further = pruned(2 * reached)[0]
    assert 2 * reached <= further < 3 * reached
    with pytest.raises(
        UserError, match=r"target of 9999.00x cannot be reached from a model that costs"
    ):
        pruned(9999)


def test_a_file_may_be_the_student(uncompressed: Path, tmp_path: Path) -> None:
    file = save_net(tmp_path / "net.keras")
    job = spec({"student": str(file), "epochs": 1}, attention_weight=1.0)
    distill(job, uncompressed, tmp_path / "student")
    given = load_bundle(tmp_path / "student")
    assert given.facts.model == str(file)
    assert given.model.get_layer("conv").filters == 4
    # Bars of layers would compare what has nothing to do with each other.
    assert _layers(load_bundle(uncompressed).facts, given.facts) == []


def test_a_student_learns_each_label_by_the_output_of_its_name(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    above, wide = rng.normal(size=(60, 3)), rng.normal(size=(60, 5))
    labels = {"y0": np.full((60, 1), 5.0), "y1": np.full((60, 1), -5.0)}
    np.savez(tmp_path / "data.npz", x0=above, x1=wide, **labels)

    def save(name: str, inputs: str, outputs: str) -> str:
        given = {"above": keras.Input((3,), name="above"), "wide": keras.Input((5,), name="wide")}
        x = layers.Concatenate()([given["above"], given["wide"]])
        made = {key: layers.Dense(1, bias_initializer=key, name=key)(x) for key in ("ones", "zeros")}
        model = keras.Model(
            [given[key] for key in inputs.split()], [made[key] for key in outputs.split()]
        )
        model.compile("adam", ["mse", "mse"])
        model.save(tmp_path / name)
        return str(tmp_path / name)

    job = parse_spec(
        {
            "model": save("first.keras", "above wide", "ones zeros"),
            "dataset": {"npz": str(tmp_path / "data.npz")},
            "training": {"epochs": 1, "batch_size": 8, "learning_rate": 0.001},
            "stages": [{"distill_model": {"student": save("s.keras", "wide above", "zeros ones")}}],
            "distillation": {"weight": 0.1},
        }
    )
    run_step(job, "train_model", {}, tmp_path / "first")
    distill(job, tmp_path / "first", tmp_path / "student")
    student = load_bundle(tmp_path / "student")
    assert [x.name for x in student.model.inputs] == ["above", "wide"]
    assert student.model.output_names == ["ones", "zeros"]
    # Each goes from where it began to the labels of its own: 5 and -5.
    ones, zeros = (student.model.get_layer(key).bias.numpy()[0] for key in ("ones", "zeros"))
    assert ones > 1.0
    assert zeros < 0.0


def test_one_spelling_of_layers_holds_where_a_stage_rebuilds_the_model(tmp_path: Path) -> None:
    parts = [layers.Conv2D(4, 3, name="conv"), layers.BatchNormalization(name="norm")]
    body = keras.Sequential([keras.Input((16, 16, 1)), *parts, layers.ReLU(name="act")], name="body")
    keras.Sequential([body, layers.Flatten(), layers.Dense(10)]).save(tmp_path / "net.keras")
    job = parse_spec(
        {
            "model": str(tmp_path / "net.keras"),
            "dataset": {"builtin": "digits", "image_size": [16, 16]},
            "stages": [{"fine_tune": {"epochs": 1}}, {"quantize_weights": {"epochs": 1}}],
            "distillation": {
                "features_weight": 0.1,
                "layers": {"body/norm": "body/norm", "body/act": "body/act"},
            },
        }
    )
    run_step(job, "train_model", {}, tmp_path / "whole")
    inputs = {"model": tmp_path / "whole", "teacher": tmp_path / "whole"}
    for stage in ("fine_tune_model", "quantize_weights"):
        run_step(job, stage, inputs, tmp_path / stage)
        assert load_bundle(tmp_path / stage).facts.stages[-1].history.loss


def test_a_changed_teacher_teaches_anew(uncompressed: Path, tmp_path: Path) -> None:
    file = save_net(tmp_path / "other.keras")
    student = {**STUDENT, "epochs": 1}
    job = spec(student, teachers=["model", str(file), str(uncompressed)])
    inputs = {"model": uncompressed}

    def again() -> Ran:
        return run_step(job, "distill_model", inputs, tmp_path / "student", tmp_path / "cache")

    done = [again() for _ in range(2)]
    save_net(file)
    done.append(again())
    assert [each.cached for each in done] == [False, True, False]


@pytest.mark.parametrize(
    ("net", "said"),
    [
        ({"classes": 12}, r"^The teacher .*other.keras gives 12 classes, but the student 10"),
        ({"classes": 7}, r"^distillation.teachers: .*other.keras: .*tells 7 classes apart"),
        (
            {"size": 20},
            r"^distillation.teachers: .*other.keras: digits: .* the shapes \[\(20, 20, 1\)\]",
        ),
        (None, r"^distillation.teachers: .*other.keras: There is no model file"),
    ],
)
def test_teachers_that_do_not_fit_are_one_line(
    uncompressed: Path, tmp_path: Path, net: dict | None, said: str
) -> None:
    file = tmp_path / "other.keras"
    if net is not None:
        save_net(file, **net)
    with pytest.raises(UserError, match=said):
        distill(spec(teachers=[str(file)]), uncompressed, tmp_path / "student")
    assert not (tmp_path / "student").exists()


@pytest.mark.parametrize(
    ("student", "said"),
    [
        ("lennet", "There is no network 'lennet'"),
        ("{folder}/none.keras", "There is no model file"),
        ("{folder}/big.keras", r"^student: .*big.keras takes inputs of .*20, 20, 1"),
    ],
)
def test_a_student_that_cannot_be_is_refused_before_its_teacher_is_trained(
    tmp_path: Path, student: str, said: str
) -> None:
    save_net(tmp_path / "big.keras", size=20)
    job = spec({"student": student.format(folder=tmp_path)})
    with pytest.raises(UserError, match=said):
        run_step(job, "check_export", {}, tmp_path / "check")
    assert not (tmp_path / "check").exists()
