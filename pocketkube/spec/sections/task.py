"""The spec's section task: what the labels are."""

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from pocketkube.extension import tasks
from pocketkube.spec.added import added_settings, below_added
from pocketkube.spec.settings import Settings

if TYPE_CHECKING:
    import keras

    from pocketkube.data import Dataset
    from pocketkube.measures import Measure
    from pocketkube.training.heads import Head
    from pocketkube.training.task import Task


TASKS = ("landmarks", "classification", "segmentation", "multi_label", "regression")


class AddedTask(Settings):
    """A task that a package adds; its fields are its settings in a spec.

    It is made when a spec is read, and asked for its measure where files are benchmarked, in processes
    that have no TensorFlow: its module imports that within `head` and `task` only.

    Attributes:
        measure: How an output is judged in NumPy, a subclass of `pocketkube.measures.Measure` and a
            frozen dataclass; its `kind` is the task's name in specs.
    """

    measure: ClassVar[type["Measure"]]

    @classmethod
    @abstractmethod
    def head(cls) -> type["Head"]:
        """How an output is trained and scored in TensorFlow.

        Called wherever a bundle of this task is opened.

        Returns:
            A subclass of `pocketkube.training.heads.Head`, whose score is that of the measure.
        """

    @abstractmethod
    def task(self, model: "keras.Model", dataset: "Dataset") -> "Task":
        """What a model is to learn; called once a job, before anything is trained, and at its check.

        Args:
            model: The uncompressed model.
            dataset: Its examples.

        Returns:
            A head for each of the model's outputs, whose losses are Keras's or registered with it.

        Raises:
            UserError: If model, labels and task do not fit each other.
        """


class Landmarks(Settings):
    """Points in an image, `[N, K, 2]` or `[N, 2K]`, judged by their normalised mean error (NME)."""

    normalize_by: Literal["box_size", "box_diagonal"] | tuple[int, int] = Field(
        "box_size",
        description="What an image's errors are divided by: the distance of two of its true points, as "
        "[36, 45], the outer eye corners of 300-W; or the size, the root of the area, or the diagonal "
        "of the box around them all.",
    )

    @field_validator("normalize_by", mode="before")
    @classmethod
    def _a_box_or_two_points(cls, value: Any) -> Any:
        pair = isinstance(value, list | tuple) and len(value) == 2 and len(set(map(str, value))) == 2
        if value in ("box_size", "box_diagonal") or (
            pair and all(type(point) is int and point >= 0 for point in value)
        ):
            return value
        raise ValueError(
            "must be box_size, box_diagonal or the numbers of two points, as in [36, 45]; received "
            f"{list(value) if isinstance(value, tuple) else value!r}"
        )


class OneClass(Settings):
    """One class for each example, or for each of its positions or pixels."""

    ignore_class: int | None = Field(
        None,
        description="A label that does not count, as 255 in PASCAL VOC and Cityscapes; a loss's own "
        "ignore_class needs no telling.",
    )


class NoSettings(Settings):
    """What labels are is all that there is to say."""


class TaskSettings(Settings):
    """What the labels are, where the model's loss, their shape and their type do not tell.

    A name alone, `task: landmarks`, means `{landmarks: {}}`. It holds for all outputs that are trained.
    """

    landmarks: Landmarks | None = Field(None, description="Points in an image.")
    classification: OneClass | None = Field(
        None, description="One class for each example or position, judged by accuracy."
    )
    segmentation: OneClass | None = Field(
        None, description="One class for each pixel, judged by the mean IoU."
    )
    multi_label: NoSettings | None = Field(
        None, description="Zeros and ones, of which any number may be one, judged by the macro F1."
    )
    regression: NoSettings | None = Field(
        None, description="Values, integers too, judged by the mean absolute error."
    )
    added: added_settings(tasks, TASKS, AddedTask) | None = Field(  # type: ignore[valid-type]
        None,
        description="A task that a package adds, with its settings; also without this key, as in "
        "{name: {setting: value}}.",
    )

    @model_validator(mode="before")
    @classmethod
    def _a_name_alone(cls, value: Any) -> Any:
        if isinstance(value, str) and value not in TASKS and value not in tasks.names(TASKS):
            raise ValueError(f"{value!r} is not a task; use {', '.join(tasks.names(TASKS))}")
        named = {value: {}} if isinstance(value, str) else value
        if isinstance(named, dict):
            whole = {name: {} if given is None else given for name, given in named.items()}
            return below_added(whole, cls.model_fields, tasks)
        return named

    @model_validator(mode="after")
    def _exactly_one_task(self) -> Self:
        if sum(getattr(self, name) is not None for name in (*TASKS, "added")) != 1:
            raise ValueError(f"needs one task; use {', '.join(tasks.names(TASKS))}")
        return self
