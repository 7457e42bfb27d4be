"""A student learns from its teachers: what they say, what they see and where they look."""

from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

from pocketkube.data import load_dataset
from pocketkube.data.dataset import Examples
from pocketkube.distillation import FromTeachers, Teacher
from pocketkube.errors import UserError
from pocketkube.sparsity import GradualSparsification
from pocketkube.spec.sections import (
    Augmentation,
    DatasetSettings,
    Distillation,
    SparsifyWeights,
    Training,
)
from pocketkube.training.distillation_term import DistillationTerm
from pocketkube.training.loop import train
from pocketkube.training.method import Method
from pocketkube.training.task import Task
from pocketkube.training.workers import SingleProcess, Workers
from tests.tasks import class_task, value_task

LOGITS = class_task()
PROBABILITIES = class_task(from_logits=False)
DIGITS = load_dataset(DatasetSettings(builtin="digits", image_size=(8, 8)))
COURSE = Training(epochs=3, batch_size=64, learning_rate=0.01)
FEATURES = Distillation(weight=0.0, features_weight=1.0)


def net(filters: int = 8, seed: int = 0, classes: int = 10, activation=None) -> keras.Model:
    keras.utils.set_random_seed(seed)
    parts = [keras.Input((8, 8, 1)), layers.Conv2D(filters, 3, activation="relu", name="conv1")]
    parts += [layers.Conv2D(filters, 3, strides=2, activation="relu", name="conv2")]
    parts += [layers.Flatten(), layers.Dense(classes, activation=activation, name="out")]
    return keras.Sequential(parts)


@pytest.fixture(scope="module")
def teacher() -> Teacher:
    model = net(16)
    train(model, DIGITS, LOGITS, COURSE.model_copy(update={"epochs": 8}), seed=0)
    return Teacher("big", model, LOGITS)


def term_of(student: keras.Model, settings: Distillation, *teachers: Teacher) -> FromTeachers:
    return FromTeachers(student, LOGITS, teachers, settings, seed=0)


def taught(settings: Distillation, *teachers: Teacher, course: Training = COURSE, **more):
    student = net(6, seed=1)
    given = term_of(student, settings, *teachers)
    train(student, DIGITS, LOGITS, course, seed=0, distillation=given, **more)
    return student, given


def term(settings: Distillation, given: FromTeachers, student: keras.Model) -> float:
    """The teachers' part of the loss on the validation examples."""
    (x,), labels = DIGITS.validation.arrays
    _, answers = given.answers((x,), labels)
    outputs, seen = given.observe(student, x, training=False)
    return float(np.mean(given.terms(outputs, seen, answers, labels)))


def same(one: keras.Model, other: keras.Model, **tolerance) -> None:
    for ours, theirs in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, **tolerance)


@pytest.mark.parametrize(
    "settings",
    [
        Distillation(weight=1.0),
        FEATURES,
        Distillation(weight=0.0, attention_weight=4.0),
        FEATURES.model_copy(update={"layers": {"conv1": "conv2"}}),
    ],
)
def test_a_student_ends_nearer_to_its_teacher(teacher: Teacher, settings: Distillation) -> None:
    student, given = taught(settings, teacher)
    alone = net(6, seed=1)
    train(alone, DIGITS, LOGITS, COURSE, seed=0)
    untaught = term_of(alone, settings, teacher)
    # Both are judged with the projections that were trained, where there are any.
    for ours, theirs in zip(untaught.trained, given.trained, strict=True):
        ours.assign(theirs)
    assert term(settings, given, student) < term(settings, untaught, alone)


def test_where_there_are_no_labels_the_teachers_count_alone_and_that_is_said(teacher: Teacher) -> None:
    to_answers = LOGITS.with_answers()
    for weight, notes in (
        (0.5, ()),
        (1.0, ()),
        (0.2, ("There are no labels to learn from beside teachers' outputs: distillation.weight",)),
    ):
        given = FromTeachers(net(6), to_answers, [teacher], Distillation(weight=weight), seed=0)
        assert len(given.notes) == len(notes)
        assert all(a.startswith(b) for a, b in zip(given.notes, notes, strict=True))


def test_a_teacher_is_left_as_it_is(teacher: Teacher) -> None:
    before = teacher.model.get_weights()
    taught(Distillation(features_weight=1.0, attention_weight=1.0), teacher)
    for was, now in zip(before, teacher.model.get_weights(), strict=True):
        np.testing.assert_array_equal(was, now)


def test_projections_are_trained(teacher: Teacher) -> None:
    student = net(6, seed=1)
    before = [np.asarray(each) for each in term_of(student, FEATURES, teacher).trained]
    _, given = taught(FEATURES, teacher)
    assert [each.shape for each in before] == [(6, 16), (16,), (6, 16), (16,)]
    assert all(np.abs(now - was).max() > 1e-3 for was, now in zip(before, given.trained, strict=True))


def test_looking_at_features_changes_nothing_else(teacher: Teacher) -> None:
    body = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(4, 3),
            layers.BatchNormalization(),
            layers.ReLU(name="relu"),
            layers.Dropout(0.3),
        ],
        name="body",
    )
    end = [layers.Flatten(), layers.Dense(10, kernel_regularizer="l2")]
    start = body.get_weights()
    students = []
    for settings in (Distillation(weight=0.0, features_weight=1e-30), None):
        body.set_weights(start)
        keras.utils.set_random_seed(0)
        ends = [type(each).from_config(each.get_config()) for each in end]
        student = keras.Sequential([keras.Input((8, 8, 1)), body, *ends])
        given = term_of(student, settings, teacher) if settings else DistillationTerm()
        train(student, DIGITS, LOGITS, COURSE, seed=0, distillation=given)
        students.append(student.get_weights())
    for ours, theirs in zip(*students, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4)


def test_layers_of_a_rebuilt_student_go_by_their_old_names(teacher: Teacher) -> None:
    settings = FEATURES.model_copy(update={"layers": {"body/conv": "conv1"}})
    renamed = {"body/conv": "conv1", "body/out": "out"}
    student = net(6, seed=1)
    given = FromTeachers(student, LOGITS, (teacher,), settings, seed=0, renamed=renamed)
    plain = term_of(student, FEATURES.model_copy(update={"layers": {"conv1": "conv1"}}), teacher)
    assert term(settings, given, student) == term(settings, plain, student)
    wrong = FEATURES.model_copy(update={"layers": {"conv1": "conv1"}})
    with pytest.raises(UserError, match="conv1 is no layer of the student; there are: body/conv"):
        FromTeachers(student, LOGITS, (teacher,), wrong, seed=0, renamed=renamed)


class Halved(Method):
    """Computes with half of each kernel."""

    def __init__(self, model: keras.Model) -> None:
        self.kernels = [v for v in model.trainable_variables if v.name == "kernel"]

    def replaced(self):
        return [(kernel, kernel.value / 2) for kernel in self.kernels]


def test_features_are_those_of_the_weights_that_a_method_computes_with(teacher: Teacher) -> None:
    halved, plain = net(6, seed=1), net(6, seed=1)
    for kernel in Halved(plain).kernels:
        kernel.assign(kernel.value / 2)
    losses = []
    for student, method in ((halved, Halved(halved)), (plain, Method())):
        given = term_of(student, Distillation(features_weight=1.0), teacher)
        one = COURSE.model_copy(update={"epochs": 1, "batch_size": 2000, "learning_rate": 1e-9})
        history = train(student, DIGITS, LOGITS, one, seed=0, distillation=given, method=method)
        losses.append(history.loss[0])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_other_methods_go_together_with_features(teacher: Teacher) -> None:
    student = net(6, seed=1)
    method = GradualSparsification(student, SparsifyWeights(sparsity=0.5, distribution="uniform"))
    given = term_of(student, FEATURES, teacher)
    course = COURSE.model_copy(update={"ema": 0.9, "optimizer": "sgd", "mixed_precision": True})
    train(student, DIGITS, LOGITS, course, seed=0, method=method, distillation=given)
    kernel = np.asarray(student.get_layer("conv2").kernel)
    assert (kernel == 0).mean() == pytest.approx(0.5, abs=0.01)


def test_two_teachers_count_the_same(teacher: Teacher) -> None:
    other = Teacher("other", net(4, seed=5), LOGITS)
    student = net(6, seed=1)
    x = DIGITS.validation.arrays[0][0]
    _, both = term_of(student, Distillation(), teacher, other).answers((x,), ())
    softened = [np.exp(LOGITS.softened(each.model(x), 4.0)[0]) for each in (teacher, other)]
    np.testing.assert_allclose(np.exp(both.outputs[0]), np.mean(softened, axis=0), rtol=1e-4)
    # Features and attention are the first one's, which is asked once for both.
    _, seen = term_of(student, Distillation(features_weight=1.0), teacher, other).answers((x,), ())
    np.testing.assert_allclose(seen.outputs[0], both.outputs[0], rtol=1e-4, atol=1e-5)
    assert [each.shape[-1] for each in seen.features] == [16, 16]


def test_a_teacher_may_end_in_probabilities_or_in_one_output() -> None:
    student, x = net(classes=2), DIGITS.validation.arrays[0][0]
    logits, sigmoid = net(classes=1, seed=2), net(classes=1, seed=2, activation="sigmoid")
    said = [
        term_of(student, Distillation(), Teacher("t", model, task)).answers((x,), ())[1].outputs[0]
        for model, task in ((logits, LOGITS), (sigmoid, PROBABILITIES))
    ]
    assert said[0].shape == (len(x), 2)
    np.testing.assert_allclose(said[0], said[1], rtol=1e-3, atol=1e-4)


def test_answers_that_are_remembered_train_the_same_student(teacher: Teacher, monkeypatch) -> None:
    asked: list[int] = []
    prepared = FromTeachers.prepared

    def counted(self, examples: Examples, settings: Training, workers: Workers) -> Examples:
        given = prepared(self, examples, settings, workers)
        asked.append(len(given.arrays[1]) - len(examples.arrays[1]))
        return given

    monkeypatch.setattr(FromTeachers, "prepared", counted)
    remembered, _ = taught(Distillation(), teacher)
    monkeypatch.setattr("pocketkube.distillation.from_teachers.LARGEST", 0)
    at_each_step, _ = taught(Distillation(), teacher)
    assert asked == [1, 0]
    same(remembered, at_each_step, rtol=1e-4, atol=1e-5)


def test_answers_are_asked_for_where_examples_change(teacher: Teacher) -> None:
    given = term_of(net(), Distillation(), teacher)
    augmented = COURSE.model_copy(update={"augmentation": Augmentation(shift=1)})
    assert given.prepared(DIGITS.train, augmented, SingleProcess()) is DIGITS.train
    features = term_of(net(), FEATURES, teacher)
    assert features.prepared(DIGITS.train, COURSE, SingleProcess()) is DIGITS.train


def test_ranks_share_the_asking(teacher: Teacher) -> None:
    given = term_of(net(), Distillation(), teacher)
    whole = given.prepared(DIGITS.train, COURSE, SingleProcess()).arrays[1][-1]

    class Rank(SingleProcess):
        def __init__(self, rank: int) -> None:
            self.rank, self.size = rank, 3

    parts = [given.prepared(DIGITS.train, COURSE, Rank(rank)).arrays[1][-1] for rank in range(3)]
    for rank, part in enumerate(parts):
        assert set(np.flatnonzero(part.any(axis=1)) % 3) == {rank}
    np.testing.assert_allclose(sum(parts), whole, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("settings", [Distillation(), Distillation(features_weight=1.0)])
def test_distillation_that_was_cut_off_goes_on(
    teacher: Teacher, settings: Distillation, tmp_path: Path
) -> None:
    course = COURSE.model_copy(update={"epochs": 2, "checkpoint_steps": 7})
    wanted, given = taught(settings, teacher, course=course)

    class Cut(Method):
        def before_step(self, step: int, steps: int, optimizer) -> None:
            if step == 30:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        taught(settings, teacher, course=course, method=Cut(), checkpoints=tmp_path)
    resumed, again = taught(settings, teacher, course=course, checkpoints=tmp_path)
    same(resumed, wanted, rtol=0, atol=0)
    for ours, theirs in zip(again.trained, given.trained, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_checkpoint_of_another_distillation_is_left_alone(teacher: Teacher, tmp_path: Path) -> None:
    course = COURSE.model_copy(update={"epochs": 1})
    one, _ = taught(Distillation(weight=0.1), teacher, course=course, checkpoints=tmp_path)
    other, _ = taught(Distillation(weight=0.9), teacher, course=course, checkpoints=tmp_path)
    again, _ = taught(Distillation(weight=0.9), teacher, course=course, checkpoints=tmp_path)
    same(again, other, rtol=0, atol=0)
    assert not np.array_equal(one.get_weights()[0], other.get_weights()[0])


@pytest.mark.parametrize(
    ("model", "task", "said"),
    [
        (net(classes=7), LOGITS, "gives 7 classes, but the student 10: both need the same"),
        (
            keras.Sequential([keras.Input((9, 9, 1)), layers.Flatten(), layers.Dense(10)]),
            LOGITS,
            "takes inputs of 9 x 9 x 1, but the student takes 8 x 8 x 1",
        ),
        (net(), value_task(), "is for regression, the student for classification"),
    ],
)
def test_teachers_that_do_not_fit_are_refused(model: keras.Model, task: Task, said: str) -> None:
    with pytest.raises(UserError, match=f"^The teacher odd {said}"):
        term_of(net(), Distillation(), Teacher("odd", model, task))
