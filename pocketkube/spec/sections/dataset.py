"""The spec's section dataset: where the examples are."""

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from pocketkube.extension import datasets
from pocketkube.spec.added import added_settings, below_added
from pocketkube.spec.settings import Place, Settings

if TYPE_CHECKING:
    from pocketkube.data import Dataset

NONE = "none"
IDX_HINT = (
    "On Debian, the package dataset-fashion-mnist installs such files in "
    "/usr/share/datasets/fashion-mnist."
)
# A single image of more is beyond any memory.
Pixels = Annotated[int, Field(ge=1, le=2**16)]
Language = Annotated[str, Field(pattern=r"^\w[\w-]*$")]


class AddedDataset(Settings):
    """A data set that a package adds; its fields are its settings in a spec.

    It is made when a spec is read, in processes that have no TensorFlow: its module imports that, NumPy
    and `pocketkube.data` within `load` only.
    """

    @abstractmethod
    def load(self, settings: "DatasetSettings") -> "Dataset":
        """Loads and splits the examples; called by every stage that needs them, in each process anew.

        Args:
            settings: What stands beside it: fractions, max_train, image_size, value_range, and labels,
                which may be ignored: they are left out afterwards.
                `pocketkube.data.in_memory.in_memory_dataset` splits arrays by them.

        Returns:
            The data set: the same examples in the same splits each time, none in two of them.

        Raises:
            UserError: If the examples are missing or unusable.
        """

    def reads(self) -> Sequence[str]:
        """Files, folders or s3:// addresses that it reads.

        Called before a stage runs, to see whether they changed since its output was kept.
        """
        return ()

    def resolved(self, base: Path) -> Self:
        """The same with absolute paths; called once, when a spec's file was read.

        Args:
            base: The folder of the spec's file, which relative paths start from.
        """
        return self


class DatasetSettings(Settings):
    """Where the examples are. Exactly one of builtin, npz, idx, cifar10, cifar100, ...

    A name alone, `dataset: digits`, means `{builtin: digits}`.
    """

    builtin: Literal["digits", "none"] | None = Field(
        None,
        description="A data set that comes with the Python packages; none is without any example.",
    )
    npz: Place | None = Field(
        None,
        description="A NumPy file with x and y, or x0, x1, … y0, y1, …, or x_train and y_train; x "
        "alone is without labels. Its sample_weight, if any, is what each example counts in training; "
        "x_test and y_test are a test set of its own, x_val and y_val (or x_valid and so on) a "
        "validation set.",
    )
    idx: Place | None = Field(None, description="A folder of MNIST's IDX files, gzipped or not.")
    cifar10: Place | None = Field(None, description="CIFAR-10's folder or archive, binary or python.")
    cifar100: Place | None = Field(None, description="CIFAR-100's, likewise; fine labels.")
    image_folder: Place | None = Field(
        None,
        description="A folder with a folder of images for each class, or of images alone, without "
        "labels; or with such in train, val and test.",
    )
    tfrecord: Place | None = Field(
        None,
        description="A file pattern of TFRecords with image/encoded and, but for data without labels, "
        "image/class/label.",
    )
    text: Place | None = Field(
        None,
        description="A folder of parallel text for translation, a sentence a line: train.en and "
        "train.de, or train.news.en and so on, packed by gzip or not, and validation and test files, "
        "likewise. Its sentencepiece.model is used where there is one.",
    )
    added: added_settings(datasets, (), AddedDataset) | None = Field(  # type: ignore[valid-type]
        None,
        description="A data set that a package adds, with its settings; also without this key, as in "
        "{name: {setting: value}}.",
    )
    labels: bool = Field(
        True,
        description="Whether labels are used, where there are any. Without, what the model answers "
        "before it is compressed stands in for them: scores are of agreement with it.",
    )
    image_size: tuple[Pixels, Pixels] | None = Field(
        None,
        description="Height and width that images are brought to; needed where they differ. "
        "idx puts its images in the middle of a black frame where this is larger, as is usual for "
        "MNIST; all else is resized, but for npz, whose arrays are taken as they are. Digits are "
        "32 x 32 if unset. A model that takes images of any size is compressed at this one, or at the "
        "data's own.",
    )
    central_crop: float | None = Field(
        None,
        gt=0.0,
        le=1.0,
        description="The part of an image's middle that is brought to image_size, in its shape; 0.875 "
        "is usual for ImageNet. If unset, the whole image is, in whatever shape. For image_folder and "
        "tfrecord.",
    )
    first_label: int = Field(
        0,
        ge=0,
        description="The label of the first class of a tfrecord; 1 in ImageNet's.",
    )
    value_range: tuple[float, float] = Field(
        (0.0, 1.0),
        description="What an image's 0 and 255 become; [0, 255] leaves them as they are. Of an npz, "
        "those of uint8 arrays.",
    )
    languages: tuple[Language, Language] | None = Field(
        None,
        description="For text: from which language to which, as its files' names end: [en, de].",
    )
    vocabulary_size: int = Field(
        32000,
        ge=8,
        le=2**20,
        description="For text: tokens of both languages together, where a SentencePiece model is "
        "trained.",
    )
    max_length: int = Field(
        128,
        ge=2,
        le=2**14,
        description="For text: tokens of a sentence, its end included. Longer ones are left out of "
        "training, and cut where a model is judged.",
    )
    on_bad_example: Literal["fail", "skip"] = Field(
        "fail",
        description="What is done about an image that cannot be decoded or a record that is none: skip "
        "leaves it out, and the report says how many. All are looked at for that whenever the data are "
        "loaded. For image_folder, tfrecord and text.",
    )
    validation_fraction: float = Field(
        0.1, gt=0.0, lt=0.5, description="Part of the training data held out for decisions."
    )
    test_fraction: float = Field(
        0.2, gt=0.0, lt=0.5, description="Part held out for the report, where there is no test set."
    )
    max_train: int | None = Field(
        None,
        gt=0,
        description="Use only the first so many training examples; a validation set that is held out "
        "is among them.",
    )

    @model_validator(mode="before")
    @classmethod
    def _a_name_alone(cls, value: Any) -> Any:
        if isinstance(value, str):
            return named(value)
        return below_added(value, cls.model_fields, datasets)

    @model_validator(mode="after")
    def _exactly_one_source(self) -> Self:
        given = [name for name in SOURCES if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(
                f"needs exactly one of {', '.join(SOURCES[:-1])}; received "
                f"{' and '.join(given) or 'none'}"
            )
        if self.on_bad_example == "skip" and given[0] in _IN_ARRAYS:
            raise ValueError(
                f"on_bad_example: skip is for files and records of which one may be broken, as of "
                f"image_folder, tfrecord and text; {given[0]} is read as a whole"
            )
        if self.central_crop is not None and (given[0] not in _ENCODED or self.image_size is None):
            raise ValueError(
                "central_crop is for image_folder and tfrecord, and needs image_size, which the middle "
                "of each image is brought to"
            )
        if self.image_size is not None and given[0] == "npz":
            raise ValueError(
                "image_size does not go with npz, whose arrays are taken as they are; leave it out"
            )
        if self.first_label and given[0] != "tfrecord":
            raise ValueError(f"first_label is for tfrecord; leave it out for {given[0]}")
        if (given[0] == "text") != (self.languages is not None):
            raise ValueError(
                "languages and text go together, as in {text: wmt14, languages: [en, de]}; received "
                f"{given[0]} with{'out' if self.languages is None else ''} languages"
            )
        if self.languages and self.languages[0] == self.languages[1]:
            raise ValueError(f"languages are two; received {list(self.languages)}")
        if self.value_range[0] >= self.value_range[1]:
            raise ValueError(
                "value_range must rise, as in [0, 1]; received "
                f"[{self.value_range[0]:g}, {self.value_range[1]:g}]"
            )
        return self

    @property
    def is_none(self) -> bool:
        """Whether there are no examples at all."""
        return self.builtin == NONE

    @property
    def source(self) -> tuple[str, str]:
        """The kind of source and where it is, as in ("npz", "faces.npz"); of an added one its name."""
        if self.added is not None:
            return "added", next(iter(self.added))
        return next((name, getattr(self, name)) for name in SOURCES if getattr(self, name))


def source_of(text: str) -> dict[str, Any]:
    """The settings that a text alone stands for: the path of an .npz file, or a data set's name."""
    return {"npz": text} if text.endswith(".npz") else named(text)


def named(name: str) -> dict[str, Any]:
    """The settings that a data set's name alone stands for."""
    added = name not in BUILT_IN and name in datasets.names()
    return {"added": {name: {}}} if added else {"builtin": name}


SOURCES = ("builtin", "npz", "idx", "cifar10", "cifar100", "image_folder", "tfrecord", "text", "added")
BUILT_IN = ("digits", "none")
_ENCODED = ("image_folder", "tfrecord")
_IN_ARRAYS = ("builtin", "npz", "idx", "cifar10", "cifar100")
