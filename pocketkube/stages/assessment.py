"""What a stage writes down about the model that it hands on."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import keras

from pocketkube import __version__
from pocketkube.data.dataset import Dataset, Skipped
from pocketkube.errors import MachineError, UserError
from pocketkube.facts import (
    BundleFacts,
    HistoryFacts,
    InputSize,
    OutputScore,
    Parent,
    ProfileFacts,
    SkippedFacts,
    StageFacts,
    merged,
)
from pocketkube.graph.cost import Profile, profile_model
from pocketkube.graph.kernels import kernels_of
from pocketkube.measures.task_facts import TaskFacts
from pocketkube.packing import Form
from pocketkube.sparsity.selection import count_zeros
from pocketkube.training.evaluation import Scores, evaluate_all
from pocketkube.training.history import History
from pocketkube.training.task import Task, task_of_config
from pocketkube.translation.bleu import bleu_of


@dataclass(frozen=True)
class Costs:
    """What a model costs.

    Attributes:
        profile: Multiply-adds, parameters and so on.
        zeros: Part of the weights of kernels that is zero.
        weight_bits: Bits of a kernel's weight, ascending: several where kernels differ.
    """

    profile: Profile
    zeros: float
    weight_bits: tuple[int, ...]


@dataclass(frozen=True)
class Assessment(Costs):
    """A model's scores and cost.

    Attributes:
        validation: On the validation examples.
        test: On the test examples; for the report alone.
        bleu: A sentence on how near its translations of these are to people's, where it translates.
    """

    validation: Scores
    test: Scores
    bleu: str = ""


def assess(
    model: keras.Model, dataset: Dataset, task: Task, forms: Mapping[str, Form] | None = None
) -> Assessment:
    """Scores a model on what it was not trained on.

    Args:
        model: The model.
        dataset: Its validation and test examples.
        task: The score.
        forms: The forms of weights that have few values, by the weight's name.
    """
    validation, test = evaluate_all(model, [dataset.validation, dataset.test], task)
    costs = costs_of(model, forms)
    bleu = _bleu(model, dataset) if dataset.translation else ""
    return Assessment(costs.profile, costs.zeros, costs.weight_bits, validation, test, bleu)


def _bleu(model: keras.Model, dataset: Dataset) -> str:
    try:
        return bleu_of(model, dataset).told
    except MachineError:
        raise
    except UserError as error:
        return f"There is no BLEU: {error}"


def costs_of(model: keras.Model, forms: Mapping[str, Form] | None = None) -> Costs:
    """What a model costs, where there are no examples to score it on.

    Args:
        model: The model.
        forms: The forms of weights that have few values, by the weight's name.
    """
    zeros, weights = count_zeros(model)
    return Costs(profile_model(model), zeros / max(weights, 1), _weight_bits(model, forms or {}))


def _weight_bits(model: keras.Model, forms: Mapping[str, Form]) -> tuple[int, ...]:
    found = ((kernel, forms.get(kernel.path)) for kernel in kernels_of(model))
    bits = {form.bits if form else 8 * kernel.variable.value.dtype.size for kernel, form in found}
    return tuple(sorted(bits))


def first_facts(
    model: str,
    dataset: str,
    task: Task,
    seed: int,
    stage: StageFacts,
    found: Costs,
    before: Sequence[StageFacts] = (),
    *,
    sizes: Sequence[InputSize] = (),
    skipped: Skipped | None = None,
    at_chance: Sequence[str] = (),
) -> BundleFacts:
    """Facts of a model that a stage has brought into being.

    Args:
        model: What it began as: a built-in network's name, or a file.
        dataset: Its data set's name.
        task: Its task.
        seed: The job's.
        stage: The stage.
        found: The model's scores and cost.
        before: The stages that had a part in it.
        sizes: Those at which it is compressed, where it takes inputs of any.
        skipped: What was left out of the data set.
        at_chance: Sentences on outputs that tell nothing of the labels.
    """
    return BundleFacts(
        model=model,
        dataset=dataset,
        task=TaskFacts.model_validate(task.config),
        seed=seed,
        stages=(*before, stage),
        made_by=stage.id,
        profile=_profile_facts(found.profile),
        input_sizes=tuple(sizes),
        skipped=skipped and SkippedFacts(**asdict(skipped)),
        at_chance=tuple(at_chance),
    )


def after_stage(
    facts: BundleFacts, stage: StageFacts, found: Costs, others: Sequence[StageFacts] = ()
) -> BundleFacts:
    """Facts of a model that a stage has changed.

    Args:
        facts: Facts of the model that the stage took.
        stage: The stage.
        found: The scores and cost of the model that it gives.
        others: Stages that had a part in it beside those of `facts`, as those of a teacher.
    """
    return facts.model_copy(
        update={
            "pocketkube": __version__,
            "stages": (*merged(facts.stages, others), stage),
            "made_by": stage.id,
            "profile": _profile_facts(found.profile),
        }
    )


def stage_facts(
    name: str,
    parents: Sequence[Parent],
    task: Task,
    found: Costs,
    began: float,
    *,
    history: History | None = None,
    notes: Sequence[str] = (),
    warnings: Sequence[str] = (),
) -> StageFacts:
    """What a stage writes down of itself.

    Args:
        name: The stage.
        parents: What its model came from.
        task: The model's task.
        found: The cost of the model that it gives, and its scores where there are examples.
        began: When it began, by time.monotonic().
        history: How training went, where it trained; what it took before an interruption counts.
        notes: Sentences for the user.
        warnings: The same, of what may have gone wrong: said at the end of the stage, too, and of the
            whole job.
    """
    scored = found if isinstance(found, Assessment) else None
    earlier = history.earlier_seconds if history else 0.0
    return StageFacts(
        name=name,
        parents=tuple(parents),
        seconds=earlier + time.monotonic() - began,
        score=scored and scored.test.score,
        val_score=scored and scored.validation.score,
        heads=_output_scores(task, scored) if scored else (),
        macs=found.profile.macs,
        macs_bound=found.profile.bound,
        parameters=found.profile.parameters,
        zeros=found.zeros,
        weight_bits=found.weight_bits,
        history=HistoryFacts(**asdict(history)) if history and history.loss else None,
        notes=(*_kept(history), *([scored.bleu] if scored and scored.bleu else []), *notes),
        warnings=tuple(warnings),
    ).identified()


def task_of(facts: BundleFacts) -> Task:
    """The task that the first stage settled on."""
    return task_of_config(facts.task.model_dump(mode="json"))


def is_original(facts: BundleFacts) -> bool:
    """Whether a model is the one that its job began with."""
    return len(facts.stages) == 1


def is_sparse(facts: BundleFacts) -> bool:
    """Whether a stage has made weights zero, which later ones are to leave so."""
    return was_done(facts, "sparsify_weights")


def was_done(facts: BundleFacts, stage: str) -> bool:
    """Whether a model's own weights have been through a stage."""
    return any(done.name == stage for done in facts.changed_by())


def _kept(history: History | None) -> list[str]:
    """Which epoch's weights the model has, where they are not the last one's."""
    if history is None or history.kept_epoch == len(history.loss):
        return []
    return [
        f"The weights are those of epoch {history.kept_epoch} of {len(history.loss)}: later ones did "
        "worse on the validation examples."
    ]


def _output_scores(task: Task, found: Assessment) -> tuple[OutputScore, ...]:
    """How right each output is that is scored."""
    scores = zip(task.trained, found.test.heads, found.validation.heads, strict=True)
    return tuple(
        OutputScore(
            name=head.name,
            score_name=head.measure.read_as.score_name,
            score=test,
            val_score=validation,
        )
        for head, test, validation in scores
    )


def _profile_facts(profile: Profile) -> ProfileFacts:
    return ProfileFacts.model_validate(profile.to_dict())
