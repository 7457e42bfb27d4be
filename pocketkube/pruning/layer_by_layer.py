"""Cuts a network by a selection: chooses each group where it is first read, and fits what reads it."""

from collections.abc import Mapping
from dataclasses import dataclass

import keras
import numpy as np

from pocketkube.console.progress import progress
from pocketkube.graph.dependency import Group, trace_channels
from pocketkube.graph.matrices import states
from pocketkube.graph.ranking import rank_units
from pocketkube.graph.surgery import remove_channels
from pocketkube.pruning.batch_statistics import recalibrate
from pocketkube.pruning.calibration import Calibration
from pocketkube.pruning.criteria.base import Reader, Selection
from pocketkube.pruning.criteria.returned import numbers_of
from pocketkube.pruning.reconstruction import (
    MOST_INPUTS,
    Response,
    inputs_of,
    measure,
    readers,
    silence,
    write_fit,
)


@dataclass(frozen=True)
class LayerOutcome:
    """A network that was cut.

    Attributes:
        model: The smaller network.
        notes: Sentences for the user.
        not_fitted: For the path of a layer whose weights were not fitted, why.
    """

    model: keras.Model
    notes: tuple[str, ...] = ()
    not_fitted: tuple[tuple[str, str], ...] = ()


def cut_layer_by_layer(
    original: keras.Model,
    working: keras.Model,
    scores: np.ndarray,
    counts: np.ndarray,
    calibration: Calibration,
    *,
    selection: Selection,
    fits: bool,
    seed: int,
) -> LayerOutcome:
    """Removes units, each layer seeing what those before it were left with.

    Args:
        original: The network as it was; its outputs are what fits aim at.
        working: A copy of it; its weights change.
        scores: Each unit's score, `[units]`, for those that no layer reads which can be fitted.
        counts: How many units each group keeps, `[groups]`.
        calibration: Examples.
        selection: How a group's units are chosen.
        fits: Whether weights that read what is left are fitted.
        seed: Of the image positions that are looked at.
    """
    return _Pass(original, working, scores, counts, calibration, selection, fits, seed).run()


class _Pass:
    def __init__(
        self,
        original: keras.Model,
        working: keras.Model,
        scores: np.ndarray,
        counts: np.ndarray,
        calibration: Calibration,
        selection: Selection,
        fits: bool,
        seed: int,
    ) -> None:
        self._original, self._working, self._calibration = original, working, calibration
        self._selection, self._fits = selection, fits
        self._rng = np.random.default_rng(seed)
        self._graph = graph = trace_channels(working)
        self._counts = {group.name: int(n) for group, n in zip(graph.groups, counts, strict=True)}
        self._places = {group.name: place for place, group in enumerate(graph.groups)}
        self._layers = {use.path: use.op for use in graph.uses}
        self._readers = {group.name: readers(graph, group) for group in graph.groups}
        self._scores = scores.copy()
        self._keep = np.ones(graph.units.count, bool)
        self._chosen: set[str] = set()
        self._notes: list[str] = []
        self._not_fitted: dict[str, str] = {}

    def run(self) -> LayerOutcome:
        """Goes through the layers that read groups, in the order of computation."""
        read = {path for paths in self._readers.values() for path in paths}
        to_fit = [path for path in self._layers if path in read]
        for path in [path for path in to_fit if inputs_of(self._layers[path]) > MOST_INPUTS]:
            number = inputs_of(self._layers[path])
            self._not_fitted[path] = f"it has {number} inputs, {MOST_INPUTS} are the most"
            to_fit.remove(path)
            self._readers = {n: [p for p in paths if p != path] for n, paths in self._readers.items()}
        self._choose_recurrent_units()
        with progress("reconstruct", len(to_fit), "layer") as shown:
            for number, path in enumerate(to_fit):
                measured = self._choose_groups_read_by(path)
                if not self._keep.all():
                    silence(self._graph, ~self._keep)
                    if self._fits:
                        self._fit(path, measured)
                    if self._calibration.can_be_fitted_to:
                        recalibrate(self._working, self._calibration.others)
                shown.update(number + 1)
        self._choose_the_others()
        smaller = remove_channels(self._working, self._graph, self._keep)
        return LayerOutcome(smaller, tuple(self._notes), tuple(self._not_fitted.items()))

    def _choose_recurrent_units(self) -> None:
        """Chooses the units that layers read themselves, step after step, before anything is fitted.

        What such a unit adds to the layers behind says little: without it the others change, too.
        """
        read = np.concatenate([np.empty(0, int), *(units for _, _, units in states(self._graph))])
        for group in self._graph.groups:
            if np.isin(group.units, read).any():
                self._chosen.add(group.name)
                self._choose_otherwise(group, "its units are read step after step")
        silence(self._graph, ~self._keep)

    def _choose_groups_read_by(self, path: str) -> Mapping[str, Response]:
        """Chooses the units of all groups that this layer is the first to read.

        Returns:
            What was measured meanwhile and still holds.
        """
        found: dict[str, Response] = {}
        for group in self._graph.groups:
            if path not in self._readers[group.name] or group.name in self._chosen:
                continue
            self._chosen.add(group.name)
            count = self._counts[group.name]
            if count == len(group.units):
                continue
            measured = self._measure(self._readers[group.name])
            around = {name: Reader(self._layers[name], each) for name, each in measured.items()}
            self._scores[group.units] = numbers_of(
                self._selection.choose(self._working, around, group.units, count),
                len(group.units),
                f"{type(self._selection).__name__}.choose",
                "members",
            )
            self._keep_best(group.name)
            self._selection.settle(around, self._keep, enough=self._calibration.can_be_fitted_to)
            if not self._selection.changes_weights:
                found |= measured
        return found

    def _keep_best(self, name: str) -> None:
        ranked = rank_units(self._graph, self._scores)[self._places[name]]
        self._keep[ranked[self._counts[name] :]] = False

    def _measure(self, paths: list[str]) -> dict[str, Response]:
        return measure(self._working, self._original, self._graph, paths, self._calibration, self._rng)

    def _fit(self, path: str, measured: Mapping[str, Response]) -> None:
        response = measured[path] if path in measured else self._measure([path])[path]
        why_not = write_fit(self._layers[path], response, self._keep)
        if why_not:
            self._not_fitted[path] = why_not

    def _choose_the_others(self) -> None:
        """Chooses the units of groups that no layer reads which can be fitted."""
        for group in self._graph.groups:
            if group.name not in self._chosen:
                self._choose_otherwise(group, "no layer that can be fitted reads it")

    def _choose_otherwise(self, group: Group, why: str) -> None:
        if self._counts[group.name] < len(group.units):
            self._keep_best(group.name)
            self._notes.append(f"{group.name}: {why}; chosen by {self._selection.otherwise}")
