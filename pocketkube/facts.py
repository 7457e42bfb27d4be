"""What is known of a bundle's model: read without Keras, whose import takes seconds."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, TypeVar

from pydantic import Field, model_validator

from pocketkube import __version__
from pocketkube.errors import UserError
from pocketkube.files.layout import FACTS_FILE
from pocketkube.files.records import Document, Record, Upgrade, document_of
from pocketkube.graph.bounds import Bound
from pocketkube.measures.task_facts import TaskFacts

Role = Literal["model", "teacher", "baseline"]


class Parent(Record):
    """Where a stage's model comes from.

    Attributes:
        role: "model" is what the stage changed; a "teacher" was learnt from; targets count from the
            "baseline".
        stage: The id of the stage that made it, in the same lineage; None where that is not known.
        place: Where a model from outside of the lineage lies; None within it.
    """

    role: Role
    stage: str | None = None
    place: str | None = None


class OutputScore(Record):
    """How right one output is.

    Attributes:
        name: The output's.
        score_name: What machines call the score.
        score: On the test examples.
        val_score: On the validation examples; None where it was not judged on them.
    """

    name: str
    score_name: str
    score: float
    val_score: float | None = None


class HistoryFacts(Record):
    """A course of training, an entry for each epoch; see `History`."""

    loss: tuple[float, ...]
    score: tuple[float, ...]
    val_loss: tuple[float, ...]
    val_score: tuple[float, ...]
    learning_rate: tuple[float, ...]
    seconds: float = 0.0
    workers: int = 1
    kept_epoch: int = 0

    @model_validator(mode="after")
    def _has_an_entry_for_each_epoch(self) -> Self:
        series = (self.loss, self.score, self.val_loss, self.val_score, self.learning_rate)
        epochs = [len(each) for each in series]
        if len(set(epochs)) > 1:
            raise ValueError(
                f"loss, score, val_loss, val_score and learning_rate have {epochs} entries"
            )
        return self


class StageFacts(Record):
    """One stage of a lineage, and the model that it made.

    Attributes:
        id: Names it among all stages: a digest of what follows, parents included.
        name: The stage's.
        parents: What it came from; none where it made its model from nothing.
        seconds: How long it took.
        score: The model's, on the test examples; None where outputs have no unit in common.
        val_score: The same on the validation examples, where they were judged.
        heads: The score of each output.
        macs: Multiply-adds; at least so many with `macs_bound`.
        macs_bound: How sure `macs` is.
        parameters: Numbers in all weights.
        zeros: Part of the weights of kernels that is zero.
        weight_bits: Bits of a kernel's weight, ascending: several where kernels differ.
        packed_bytes: What the packed model takes, where there is one.
        history: How training went, where there was any.
        notes: Sentences for the user.
        warnings: The same, of what may have gone wrong.
    """

    id: str = ""
    name: str
    parents: tuple[Parent, ...] = ()
    seconds: float
    score: float | None = None
    val_score: float | None = None
    heads: tuple[OutputScore, ...] = ()
    macs: int
    macs_bound: Bound = "exact"
    parameters: int
    zeros: float | None = None
    weight_bits: tuple[int, ...] | None = None
    packed_bytes: int | None = None
    history: HistoryFacts | None = None
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def origin(self) -> str | None:
        """The id of the stage whose model this one changed; None where it made a new one."""
        return next((parent.stage for parent in self.parents if parent.role == "model"), None)

    def identified(self) -> "StageFacts":
        """The same with its id."""
        content = self.model_dump(mode="json", exclude={"id", "packed_bytes"})
        return self.model_copy(update={"id": _digest(content)})


class LayerFacts(Record):
    """What one layer costs; see `LayerCost`."""

    name: str
    kind: str
    macs: int
    parameters: int
    activation_bytes: int
    output_shape: tuple[int, ...]
    calls: int
    other_flops: int
    uncounted: tuple[str, ...] = ()


class ProfileFacts(Record):
    """What a model costs; see `Profile`."""

    layers: tuple[LayerFacts, ...]
    macs: int
    parameters: int
    activation_bytes: int
    unknown: tuple[str, ...]
    flops: int
    bound: Bound


class PruningFacts(Record):
    """The settings of a pruning that decide what helps where it cost too much."""

    ratios: dict[str, float]
    reconstruct: bool
    criterion: str
    group_size: int | None


class PackedFacts(Record):
    """What a packed model takes; see `PackedSize`."""

    file_bytes: int
    huffman_bytes: int


class SkippedFacts(Record):
    """Examples that cannot be used, and were left out; see `pocketkube.data.dataset.Skipped`."""

    count: int
    total: int
    first: str


class InputSize(Record):
    """The size at which one of a model's inputs is compressed, which takes others, too.

    Attributes:
        shape: Its shape, without the batch.
        open_axes: Those of its axes that may have other sizes.
    """

    shape: tuple[int, ...]
    open_axes: tuple[int, ...]

    @property
    def open_shape(self) -> tuple[int | None, ...]:
        """The shape with None for what may have any size."""
        return tuple(None if axis in self.open_axes else size for axis, size in enumerate(self.shape))


class BundleFacts(Document):
    """The content of a bundle.json.

    Attributes:
        pocketkube: The version that wrote it.
        model: What the model began as: a built-in network's name, or a file.
        dataset: The data set's name.
        task: What it was trained for.
        seed: Everything random follows from it.
        stages: The lineage: all stages that had a part in the model, each after its parents.
        made_by: The id of the stage that made this model.
        profile: What the model costs.
        kept: Channels that are left, and that were there, of each layer that was cut.
        folded: Layers that others have taken up, by their paths, and the paths of those.
        unrecovered: Each pruning that no training has followed yet.
        packed: What the packed model takes, where there is one.
        input_sizes: Of a model that takes inputs of any size: those at which it is compressed.
        skipped: What was left out of the data set; None where nothing was.
        at_chance: Sentences on outputs that told nothing of the labels when the model came.
    """

    schema_version: int = 2
    pocketkube: str = __version__
    model: str
    dataset: str
    task: TaskFacts
    seed: int
    stages: tuple[StageFacts, ...]
    made_by: str
    profile: ProfileFacts
    kept: dict[str, tuple[int, ...]] = Field(default_factory=dict)
    folded: dict[str, str] = Field(default_factory=dict)
    unrecovered: tuple[PruningFacts, ...] = ()
    packed: PackedFacts | None = None
    input_sizes: tuple[InputSize, ...] = ()
    skipped: SkippedFacts | None = None
    at_chance: tuple[str, ...] = ()

    upgrades: ClassVar[tuple[Upgrade, ...]] = (lambda content: _with_parents(content),)

    @model_validator(mode="after")
    def _lineage_is_whole(self) -> Self:
        known: set[str] = set()
        for stage in self.stages:
            if any(parent.stage and parent.stage not in known for parent in stage.parents):
                raise ValueError(f"stages: {stage.name} has a parent that is not before it")
            known.add(stage.id)
        if self.made_by not in known:
            raise ValueError(f"made_by: there is no stage {self.made_by}")
        return self

    @property
    def made(self) -> StageFacts:
        """The stage that made this model."""
        return next(stage for stage in self.stages if stage.id == self.made_by)

    def changed_by(self) -> Iterator[StageFacts]:
        """The stages that the model's own weights went through, the last one first.

        What only taught it, or was compared with it, is not among them.
        """
        known = {stage.id: stage for stage in self.stages}
        at: str | None = self.made_by
        while at in known:
            yield known[at]
            at = known[at].origin


class OutputAgreementFacts(Record):
    """How far one output of a file is its model's; see `OutputAgreement`."""

    name: str
    share: float
    error: float
    spread: float
    range: float
    lost: tuple[int, ...] = ()


class AgreementFacts(Record):
    """How far a file does what its model does; see `Agreement`.

    Attributes:
        on_random_inputs: Whether there were no examples: random numbers say little of real ones.
    """

    share: float
    examples: int
    on_random_inputs: bool = False
    outputs: tuple[OutputAgreementFacts, ...] = ()


class ExportFacts(Record):
    """How a LiteRT file was written.

    Attributes:
        name: What the report calls the writing of it.
        seconds: How long it took.
        notes: Sentences for the user.
        warnings: The same, of what may have gone wrong.
    """

    name: str
    seconds: float
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


class ExportedFacts(BundleFacts):
    """The content of a bundle.json beside a LiteRT file.

    Attributes:
        format: The file's number format.
        agreement: How far it does what its model does.
        export: How it was written.
    """

    format: str
    agreement: AgreementFacts
    export: ExportFacts


Facts = TypeVar("Facts", bound=BundleFacts)


def load_facts(folder: Path) -> BundleFacts:
    """Reads what is known of a bundle's model, without the model.

    Raises:
        UserError: If the folder is no bundle, or what is known is damaged or newer than this program.
    """
    return _load(BundleFacts, folder)


def load_exported(folder: Path) -> ExportedFacts:
    """Reads what is known of a LiteRT file and its model.

    Raises:
        UserError: As `load_facts` does.
    """
    return _load(ExportedFacts, folder)


def load_warnings(folder: Path) -> list[str]:
    """What the stage that wrote a folder warns of, after its name; nothing where it wrote no facts."""
    if not (folder / FACTS_FILE).is_file():
        return []
    content = _content(folder)
    is_export = isinstance(content, dict) and "export" in content
    last = load_exported(folder).export if is_export else load_facts(folder).made
    return [f"{last.name}: {warning}" for warning in last.warnings]


def merged(*lineages: Sequence[StageFacts]) -> tuple[StageFacts, ...]:
    """All stages of several lineages, each once and after its parents."""
    return tuple({stage.id: stage for lineage in lineages for stage in lineage}.values())


def in_a_line(stages: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Stages as version 1 wrote them, with the ids and parents that version 2 has.

    Each went on from the one before it; a student began anew, and learnt from it.
    """
    found: list[dict[str, Any]] = []
    for stage in stages:
        parents = []
        if found:
            role = "teacher" if stage["name"] == "distill_model" else "model"
            parents = [{"role": role, "stage": found[-1]["id"]}]
        content = stage | {"parents": parents}
        found.append(content | {"id": _digest(content)})
    return found


def _with_parents(content: dict[str, Any]) -> dict[str, Any]:
    stages = in_a_line(content["stages"])
    return content | {"stages": stages, "made_by": stages[-1]["id"]}


def _digest(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]


def _load(kind: type[Facts], folder: Path) -> Facts:
    return document_of(kind, _content(folder), str(folder / FACTS_FILE))


def _content(folder: Path) -> Any:
    try:
        return json.loads((folder / FACTS_FILE).read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:
        raise UserError(
            f"{folder} is no model bundle: it needs a {FACTS_FILE} that is JSON."
        ) from error
