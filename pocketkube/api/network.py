"""The value that the API's functions hand around: a Keras model, and what was done to it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from os import PathLike, fspath
from pathlib import Path
from typing import TypeAlias

import keras
from rich.table import Table

from pocketkube.api.shown import Shown
from pocketkube.api.traces import settings_left
from pocketkube.bundle import Bundle, computes_in_half, in_float32, refuse_unfit_weights
from pocketkube.errors import UserError
from pocketkube.figures import NUMBER, bounded, count, ratio
from pocketkube.files.whole import place_of, replaced_file
from pocketkube.graph.by_name import in_order, order_of
from pocketkube.graph.cost import Profile, profile_model
from pocketkube.graph.fixed_size import open_shapes
from pocketkube.graph.surgery import copy_model
from pocketkube.graph.walk import functional_graph
from pocketkube.packing import Form, write_packed
from pocketkube.sparsity.selection import count_zeros
from pocketkube.spec.order import broken_order
from pocketkube.spec.sections import Quantize, QuantizeWeights, StageBase, Trait
from pocketkube.spec.stage_settings import StageSettings
from pocketkube.training.history import History
from pocketkube.training.task import Task

# What the API calls stages.
CALLS = {
    "prune_channels": "prune",
    "sparsify_weights": "sparsify",
    "cluster_weights": "cluster",
    "quantize_weights": "quantize",
    "distill_model": "distil",
}


@dataclass(frozen=True)
class AppliedStage:
    """What one call did to a model.

    Attributes:
        settings: The settings of the stage that does the same in a spec.
        notes: Sentences for the user.
        history: How training went, where there was any.
    """

    settings: StageSettings
    notes: tuple[str, ...] = ()
    history: History | None = None


@dataclass(frozen=True, eq=False, repr=False)
class Network(Shown):
    """A Keras model, and what was done to it so far.

    Functions of the API take one wherever they take a Keras model, and so know which weights are zero
    and are to stay so, which stand on levels, and what a LiteRT file is to be.

    Attributes:
        model: The model.
        original: The model that the first call was given.
        steps: What was done, in this order.
        forms: The forms of weights that have few values, by the weight's path.
        task: The loss and the score, once there were labels.
        notes: Sentences for the user, on what its file had and was left behind.
    """

    model: keras.Model
    original: keras.Model
    steps: tuple[AppliedStage, ...] = ()
    forms: Mapping[str, Form] = field(default_factory=dict)
    task: Task | None = None
    notes: tuple[str, ...] = ()

    @cached_property
    def profile(self) -> Profile:
        """What the model costs."""
        return profile_model(self.model)

    @cached_property
    def before(self) -> Profile:
        """What the original cost."""
        return profile_model(self.original)

    @property
    def speedup(self) -> float:
        """Multiply-adds of the original over those of the model."""
        return self.before.speedup_to(self.profile).value

    @property
    def is_sparse(self) -> bool:
        """Whether weights were made zero, which later calls leave so."""
        return any(Trait.ZEROS in step.settings.leaves for step in self.steps)

    @property
    def is_trained(self) -> bool:
        """Whether a call has trained it, so that there are examples that it was trained on."""
        return any(step.history is not None for step in self.steps)

    @property
    def numbers(self) -> Quantize | QuantizeWeights | None:
        """The settings that say which numbers a file holds; floats where there are none."""
        found = [s.settings for s in self.steps if isinstance(s.settings, Quantize | QuantizeWeights)]
        return found[-1] if found else None

    @property
    def bundle(self) -> Bundle:
        """The model and its forms, as stages hand them on."""
        return Bundle(self.model, forms=self.forms)

    @property
    def remarks(self) -> Sequence[str]:
        """The notes of the last step; where there are none, those on the model's file."""
        return (self.steps[-1].notes if self.steps else ()) or self.notes

    def stepped(
        self,
        model: keras.Model,
        step: AppliedStage,
        *,
        forms: Mapping[str, Form] | None = None,
        task: Task | None = None,
    ) -> "Network":
        """What became of it in one step more."""
        return replace(
            self, model=model, steps=(*self.steps, step), forms=forms or {}, task=task or self.task
        )

    def save(self, path: str | Path) -> Path:
        """Writes the model as a .keras file, or as a .packed one, which is small where weights are.

        Args:
            path: The file to write; what it ends in says which.

        Returns:
            The file.

        Raises:
            UserError: If it ends in neither.
        """
        place = path_of("save", path, "net.keras")
        if place.suffix == ".packed":
            write_packed(place, self.model, self.forms)
        elif place.suffix == ".keras":
            with replaced_file(place) as aside:
                self.model.save(aside)
        else:
            raise UserError(f"save: {place} has to end in .keras or .packed.")
        return place

    def table(self) -> Table:
        """The costs before and after."""
        shown = Table(title=self.model.name, caption=self._done, caption_justify="left")
        for name in ("", "before", "after", "change"):
            shown.add_column(name, justify="right" if name else "left")
        costs = self._costs
        for row in cost_rows(*costs) if costs else ():
            shown.add_row(*row)
        if costs is None:
            before, now = (model.count_params() for model in (self.original, self.model))
            change = ratio(max(before, 1), max(now, 1), NUMBER)
            shown.add_row("Parameters", count(before), count(now), change)
        zeros, total = count_zeros(self.model)
        if self.is_sparse:
            parts = f"{zeros / max(total, 1):.1%} of {count(total)}"
            shown.add_row("Zero weights of kernels", "", parts, "")
        return shown

    @property
    def in_brief(self) -> str:
        """What was done, and how much smaller it is."""
        costs = self._costs
        told = (
            f"{costs[0].speedup_to(costs[1]).change} MACs" if costs else "MACs follow the inputs' size"
        )
        return f"{self.model.name}: {self._done or 'as it came'}; {told}"

    @property
    def _costs(self) -> tuple[Profile, Profile] | None:
        """What the original cost, and the model; None where one takes inputs of any size."""
        if open_shapes(self.original) or open_shapes(self.model):
            return None
        return self.before, self.profile

    @property
    def _done(self) -> str:
        return " → ".join(CALLS.get(step.settings.name, step.settings.name) for step in self.steps)


ModelLike: TypeAlias = keras.Model | Network


def network_of(function: str, model: ModelLike) -> Network:
    """What a function was given, as a network.

    Args:
        function: The API's function, for messages.
        model: A Keras model, or what another function gave.

    Raises:
        UserError: If it is neither, a subclassed model, whose graph cannot be seen, has weights that
            cannot be compressed, or Keras does not run on TensorFlow.
    """
    if isinstance(model, Network):
        return model
    if isinstance(model, str | PathLike):
        raise UserError(
            f"{function}: takes a Keras model, not the path of its file; read it first, as by "
            f"pk.import_model({fspath(model)!r}) or keras.models.load_model; received {model!r}."
        )
    if not isinstance(model, keras.Model):
        raise UserError(
            f"{function}: takes a Keras model, or what pk.import_model and the other functions give; "
            f"received {model!r:.80}."
        )
    if keras.backend.backend() != "tensorflow":
        raise UserError(
            f"{function}: Keras runs on {keras.backend.backend()}, and PocketKube on TensorFlow: set "
            "KERAS_BACKEND=tensorflow before Keras is imported."
        )
    functional_graph(model)
    refuse_unfit_weights(model, f"{function}: {model.name}")
    if computes_in_half(model):
        # LiteRT has no arithmetic of half precision; the caller's own model stays as it is.
        model = in_float32(copy_model(model))
    return Network(model, model, tuple(map(AppliedStage, settings_left(model))))


def in_order_of(network: Network, like: keras.Model) -> Network:
    """A network whose inputs and outputs stand in the order of another model, where names are the same.

    Args:
        network: The network.
        like: The other model; data are in the order of its inputs and outputs.
    """
    order = order_of(network.model, like)
    model, original = in_order(network.model, order), network.original
    original = model if original is network.model else in_order(original, order_of(original, like))
    task = network.task and network.task.in_order(order.outputs)
    return replace(network, model=model, original=original, task=task)


def path_of(function: str, path: object, example: str) -> Path:
    """The place of a file that a function writes or reads.

    Args:
        function: The API's function, for messages.
        path: What it was given; ~ is the home folder.
        example: A path that would be right.

    Raises:
        UserError: If it is no path.
    """
    if not isinstance(path, str | PathLike):
        raise UserError(f"{function}: needs the path of a file, as {example!r}; received {path!r:.80}.")
    return place_of(fspath(path), Path())


def refuse_order(function: str, network: Network, settings: StageBase) -> None:
    """Refuses what would undo what was done before.

    Raises:
        UserError: Why, and what to do instead.
    """
    problem = broken_order([*(step.settings for step in network.steps), settings])
    if problem:
        for name, call in CALLS.items():
            problem = problem.replace(name, call)
        raise UserError(f"{function}: {problem}.")


def cost_rows(before: Profile, after: Profile) -> list[tuple[str, str, str, str]]:
    """Multiply-adds and parameters before and after."""
    was, now = (bounded(count(each.macs), each.bound) for each in (before, after))
    return [
        ("Multiply-adds (MACs)", was, now, before.speedup_to(after).change),
        (
            "Parameters",
            count(before.parameters),
            count(after.parameters),
            ratio(max(before.parameters, 1), max(after.parameters, 1), NUMBER),
        ),
    ]
