"""Plans and cuts: what a network's channels are worth and cost is found out once, and asked often."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType

import keras
import numpy as np

from pocketkube.console.progress import progress
from pocketkube.errors import UserError
from pocketkube.graph.bounds import uncounted_note
from pocketkube.graph.budgets import Budget, Macs, Parameters
from pocketkube.graph.cost import Profile, profile_model
from pocketkube.graph.cost_model import CostModel
from pocketkube.graph.cost_model_of import cost_model_of
from pocketkube.graph.dependency import trace_channels
from pocketkube.graph.inputs import refuse_other_examples
from pocketkube.graph.ranking import keep_best, needed_units, rank_units
from pocketkube.graph.surgery import copy_model, remove_channels
from pocketkube.graph.unwrapping import SPECTRAL, spectral_note, unwrapped
from pocketkube.pruning.allocation import allocate, by_group, counts_from_ratios
from pocketkube.pruning.batch_statistics import recalibrate_where_better
from pocketkube.pruning.calibration import FEWEST, Calibration
from pocketkube.pruning.criteria import BUILT_IN, criterion_named
from pocketkube.pruning.criteria.base import Criterion, Selection
from pocketkube.pruning.criteria.returned import numbers_of
from pocketkube.pruning.front_to_back import Wanted, fit_where_better, fitted_paths, wanted_outputs
from pocketkube.pruning.layer_by_layer import LayerOutcome, cut_layer_by_layer

TOLERANCE = 0.01
SCOPES = ("global", "uniform")
# What a speed-up may count.
BUDGETS: Mapping[str, type[Macs] | type[Parameters]] = MappingProxyType(
    {"macs": Macs, "parameters": Parameters}
)


@dataclass(frozen=True)
class Pruned:
    """A pruned model and what became of it.

    Attributes:
        model: The smaller model.
        before: What the model cost.
        after: What it costs now.
        kept: For each group's name, how many units it has left and had.
        notes: Sentences for the user: layers left whole, and the like.
    """

    model: keras.Model
    before: Profile
    after: Profile
    kept: Mapping[str, tuple[int, int]]
    notes: tuple[str, ...]


class Pruner:
    """Removes the least important channels of a model, as far as it is asked to, as often as asked.

    Tracing, scoring and pricing are done once, when it is made; every answer is a new model, and the
    same whatever was asked before. The model's weights have to stay as they are meanwhile.

    Args:
        model: The trained Keras model; it is left as it is.
        criterion: How a channel's importance is judged: a name, or a criterion of one's own.
        calibration: Training examples with the loss that judges them; some criteria need them. Where
            they are given, weights are fitted as `reconstruct` says and BatchNorm's statistics
            estimated anew.
        scope: "global" ranks all groups together; "uniform" cuts the same part of each.
        max_ratio: Most of a group's channels that may go where a cost is the target.
        round_to: Channel counts are multiples of this where they can.
        reconstruct: Whether weights that read what is left are fitted by least squares.
        seed: Of the image positions that reconstruction looks at.

    Raises:
        UserError: If the model has no channels that may be cut, the criterion needs examples and there
            are none, or an argument makes no sense.

    Example:
        >>> import keras
        >>> from pocketkube import Pruner
        >>> layers = [keras.Input((8,)), keras.layers.Dense(64), keras.layers.Dense(4)]
        >>> pruner = Pruner(keras.Sequential(layers))
        >>> [pruner.to_speedup(ratio).after.macs for ratio in (2, 4)]
        [384, 192]
    """

    def __init__(
        self,
        model: keras.Model,
        *,
        criterion: str | Criterion = "l2",
        calibration: Calibration | None = None,
        scope: str = "global",
        max_ratio: float = 0.9,
        round_to: int = 8,
        reconstruct: bool = True,
        seed: int = 0,
    ) -> None:
        judge = criterion_named(criterion) if isinstance(criterion, str) else criterion
        _refuse_wrong_settings(scope, max_ratio, round_to, seed)
        if calibration is not None:
            refuse_other_examples(model, calibration.inputs)
        self.before = profile_model(model)
        self._model = unwrapped(model, SPECTRAL)
        self._graph = trace_channels(self._model)
        if not self._graph.groups:
            why = self._graph.why_nothing_goes()
            raise UserError(f"The model {model.name} has no channels that may be cut. {why}")
        _refuse_missing_examples(judge, calibration)
        self._criterion, self._calibration = judge, calibration
        self._max_ratio, self._round_to, self._reconstruct = max_ratio, round_to, reconstruct
        self._scope, self._seed = scope, seed
        self._fits = judge.always_fits or reconstruct
        self._scores = numbers_of(
            judge.scores(self._model, self._graph, calibration),
            self._graph.units.count,
            f"criterion {judge.name}: scores",
            "graph.units",
            least=0,
        )
        self._ranking = rank_units(self._graph, self._scores)
        self.costs: CostModel = cost_model_of(
            self._model, self._graph, scores=self._scores, round_to=round_to, max_ratio=max_ratio
        )
        notes = [*spectral_note(model), *self._graph.left_whole]
        if self.before.unknown:
            notes.append(uncounted_note(self.before.unknown))
        self.notes = tuple(notes)

    @property
    def scores(self) -> np.ndarray:
        """The criterion's score of each unit of the network, `[units]`."""
        return self._scores

    def to_speedup(self, speedup: float, *, budget: str = "macs") -> Pruned:
        """Prunes until the model costs `speedup` times less.

        Args:
            speedup: Multiply-adds before over after, or parameters.
            budget: Which of them: "macs" or "parameters".

        Raises:
            UserError: If that cannot be reached, is no number above 1, or the budget is none of them.
        """
        return self.to_counts(self.counts_for_speedup(speedup, budget=budget))

    def to_budget(self, budget: Budget, most: float) -> Pruned:
        """Prunes until no more than `most` is spent.

        Args:
            budget: A budget of this pruner's `costs`, as `FileBytes(pruner.costs)`.
            most: The most that may be spent, in the budget's unit.

        Raises:
            UserError: If that cannot be reached.
        """
        return self.to_counts(self.counts_for_budget(budget, most))

    def to_ratios(self, ratios: Mapping[str, float]) -> Pruned:
        """Removes given parts.

        Args:
            ratios: Part of the units that goes, by the name of any layer of a group; other groups keep
                all. What is left is rounded as `round_to` says, and every layer keeps a channel.

        Raises:
            UserError: If a name is that of no layer whose channels may be cut, two contradict, or a
                ratio is below 0, or 1 and more.
        """
        return self.to_counts(self.counts_for_ratios(ratios))

    def to_counts(self, counts: Mapping[str, int]) -> Pruned:
        """Keeps given numbers of units.

        Args:
            counts: Units to keep, by the name of any layer of a group; other groups keep all.

        Raises:
            UserError: If a name is that of no layer whose channels may be cut, a group has not so
                many, or a layer would be left without channels.
        """
        asked = self._asked(counts)
        outcome = self.cut(counts)
        kept = {group.name: (asked[group.name], group.size) for group in self.costs.groups}
        return pruned(self, outcome.model, kept, outcome.notes, outcome.not_fitted)

    def counts_for_speedup(self, speedup: float, *, budget: str = "macs") -> dict[str, int]:
        """How many units each group keeps for a speed-up, without cutting; see `to_speedup`."""
        refuse_wrong_speedup(speedup)
        if budget not in BUDGETS:
            raise UserError(
                f"prune: budget has to be one of {', '.join(BUDGETS)}; received {budget!r}."
            )
        priced = BUDGETS[budget](self.costs)
        goal = wanted = getattr(self.before, budget) / speedup
        for _ in range(4):
            counts = self._allocated(priced, goal)
            if priced.is_exact:
                break
            keep = keep_best(self._ranking, counts)
            real = getattr(profile_model(remove_channels(self._model, self._graph, keep)), budget)
            off = real / priced.costs(counts[None])[0]
            if abs(off - 1) < TOLERANCE / 4:
                break
            # Layers of the user's own may shrink otherwise than estimated: aim lower or higher.
            goal = wanted / off
        return self.costs.assignment(counts)

    def counts_for_budget(self, budget: Budget, most: float) -> dict[str, int]:
        """How many units each group keeps for a budget, without cutting; see `to_budget`."""
        return self.costs.assignment(self._allocated(budget, most))

    def counts_for_ratios(self, ratios: Mapping[str, float]) -> dict[str, int]:
        """How many units each group keeps where parts go, without cutting; see `to_ratios`."""
        return self.costs.assignment(counts_from_ratios(self.costs, ratios, self._needed))

    def cut(self, counts: Mapping[str, int]) -> LayerOutcome:
        """The smaller network with what there is to say of cutting it; see `to_counts`."""
        kept = self.costs.counts(self._asked(counts))
        if (kept == self.costs.sizes).all():
            return LayerOutcome(copy_model(self._model))
        calibration = self._calibration
        if calibration is None:
            return LayerOutcome(
                remove_channels(self._model, self._graph, keep_best(self._ranking, kept))
            )
        notes = []
        enough = calibration.can_be_fitted_to
        if not enough and (self._fits or self._prepared[1] is not None):
            notes.append(
                f"Weights were not fitted: {calibration.size} calibration_examples are too few, "
                f"{FEWEST} are needed to hold a fit against some that it has not seen."
            )
        prepared, selection = self._prepared
        if selection is not None:
            outcome = cut_layer_by_layer(
                self._model,
                copy_model(prepared),
                self._scores,
                kept,
                calibration,
                selection=selection,
                fits=self._fits and enough,
                seed=self._seed,
            )
            notes += [*outcome.notes, *recalibrate_where_better(outcome.model, calibration)]
            return LayerOutcome(outcome.model, tuple(notes), outcome.not_fitted)
        keep = keep_best(self._ranking, kept)
        smaller = remove_channels(self._model, self._graph, keep)
        if not (self._fits and enough):
            notes += recalibrate_where_better(smaller, calibration)
            return LayerOutcome(smaller, tuple(notes))
        paths = fitted_paths(self._graph)

        def wanted() -> Iterator[Wanted]:
            return wanted_outputs(self._model, paths, calibration, self._seed)

        with progress("reconstruct", len(paths), "layer") as shown:
            not_fitted, said = fit_where_better(smaller, self._graph, keep, wanted, calibration, shown)
        return LayerOutcome(smaller, (*notes, *said), tuple(not_fitted.items()))

    def copy(self) -> keras.Model:
        """The network that is cut: the model, its layers out of wrappers that prune nothing."""
        return copy_model(self._model)

    def of_model(self, model: keras.Model) -> "Pruner":
        """The same for another model, as one that was trained on."""
        return Pruner(
            model,
            criterion=self._criterion,
            calibration=self._calibration,
            scope=self._scope,
            max_ratio=self._max_ratio,
            round_to=self._round_to,
            reconstruct=self._reconstruct,
            seed=self._seed,
        )

    @cached_property
    def _prepared(self) -> tuple[keras.Model, Selection | None]:
        """The network as it is before anything is cut, and the criterion's own selection."""
        assert self._calibration is not None
        prepared = copy_model(self._model)
        return prepared, self._criterion.selection(prepared, self._calibration)

    @cached_property
    def _needed(self) -> list[int]:
        needed = needed_units(self._graph, self._scores)
        return [int(needed[group.units].sum()) for group in self._graph.groups]

    def _allocated(self, budget: Budget, goal: float) -> np.ndarray:
        scores = [self._scores[group.units] for group in self._graph.groups]
        return allocate(
            budget,
            scores,
            goal,
            scope=self._scope,
            max_ratio=self._max_ratio,
            are_losses=self._criterion.is_loss,
        )

    def _asked(self, counts: Mapping[str, int]) -> dict[str, int]:
        found = by_group(self.costs, counts, "counts", "count")
        asked = {group.name: int(found.get(group.name, group.size)) for group in self.costs.groups}
        for group, needed in zip(self.costs.groups, self._needed, strict=True):
            if not max(needed, 1) <= asked[group.name] <= group.size:
                raise UserError(
                    f"counts: {group.name} can keep {max(needed, 1)} to {group.size} units; received "
                    f"{asked[group.name]}."
                )
        return asked


def pruned(
    pruner: Pruner,
    model: keras.Model,
    kept: Mapping[str, tuple[int, int]],
    notes: tuple[str, ...],
    not_fitted: tuple[tuple[str, str], ...],
) -> Pruned:
    """What became of a pruner's model."""
    said = [*pruner.notes, *notes, *_why_not_fitted(not_fitted)]
    return Pruned(model, pruner.before, profile_model(model), kept, tuple(dict.fromkeys(said)))


def refuse_wrong_speedup(speedup: object) -> None:
    """Raises a UserError where a speed-up is no number above 1."""
    is_number = isinstance(speedup, float | int | np.number) and not isinstance(speedup, bool)
    if not (is_number and 1 < float(speedup) < np.inf):  # type: ignore[arg-type]
        raise UserError(f"prune: speedup has to be a number above 1; received {speedup!r}.")


def _refuse_wrong_settings(scope: str, max_ratio: float, round_to: int, seed: int) -> None:
    for name, value, is_right, wanted in (
        ("scope", scope, scope in SCOPES, f"one of {', '.join(SCOPES)}"),
        ("max_ratio", max_ratio, 0 <= max_ratio < 1, "at least 0 and less than 1"),
        ("round_to", round_to, round_to >= 1, "at least 1"),
        ("seed", seed, seed >= 0, "at least 0"),
    ):
        if not is_right:
            raise UserError(f"prune: {name} has to be {wanted}; received {value!r}.")


def _why_not_fitted(not_fitted: tuple[tuple[str, str], ...]) -> list[str]:
    """A sentence for each reason why layers were not fitted."""
    layers: dict[str, list[str]] = {}
    for path, reason in dict(not_fitted).items():
        layers.setdefault(reason, []).append(path)
    return [
        f"Weights were not fitted in {', '.join(paths)}: {reason}." for reason, paths in layers.items()
    ]


def _refuse_missing_examples(criterion: Criterion, calibration: Calibration | None) -> None:
    if criterion.needs_data and calibration is None:
        *others, last = [name for name, each in BUILT_IN.items() if not each.needs_data]
        raise UserError(
            f"The criterion {criterion.name} looks at examples: give a dataset, or use "
            f"{', '.join(others)} or {last}."
        )
