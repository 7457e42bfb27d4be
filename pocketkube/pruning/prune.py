"""Prunes the channels of a model down to a target: the one entry to the whole package."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import keras
import numpy as np

from pocketkube.errors import UserError
from pocketkube.graph.bounds import uncounted_note
from pocketkube.graph.cost import Profile, profile_model
from pocketkube.graph.dependency import ChannelGraph, trace_channels
from pocketkube.graph.inputs import refuse_other_examples
from pocketkube.graph.surgery import copy_model, remove_channels
from pocketkube.graph.unwrapping import SPECTRAL, spectral_note, unwrapped
from pocketkube.progress import progress
from pocketkube.pruning.allocation import allocate, counts_from_ratios, keep_best, rank_units
from pocketkube.pruning.auxiliary_heads import attach_heads
from pocketkube.pruning.batch_statistics import recalibrate, recalibrate_where_better
from pocketkube.pruning.budget import CostEstimate
from pocketkube.pruning.calibration import FEWEST, Calibration
from pocketkube.pruning.criteria import score_units
from pocketkube.pruning.discrimination import select_by_discrimination
from pocketkube.pruning.reconstruction import (
    MOST_INPUTS,
    Response,
    inputs_of,
    keep_where_better,
    measure,
    readers,
    select_by_lasso,
    silence,
    write_fit,
)
from pocketkube.spec.sections import PruneChannels

TOLERANCE = 0.01
# Criteria whose scores are losses: what counts is the loss for what a unit costs.
IN_LOSS = ("taylor", "dcp")
# Criteria that choose in the network as it is pruned, and by which scores where no layer can be fitted.
STEPWISE = {"lasso": "energy", "dcp": "taylor"}


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


def prune(
    model: keras.Model,
    settings: PruneChannels,
    *,
    speedup: float | None = None,
    calibration: Calibration | None = None,
    seed: int = 0,
    between: Callable[[keras.Model, int], keras.Model] | None = None,
) -> Pruned:
    """Removes the least important channels until the model costs `speedup` times less.

    Args:
        model: The trained model; it is left as it is.
        settings: The criterion and how it is used.
        speedup: Multiply-adds (or parameters, as `settings.budget` says) before over after. May be
            None where `settings.ratios` says what to cut.
        calibration: Training examples; needed by taylor, lasso and dcp. Where it is given, weights are
            fitted as `settings.reconstruct` says and BatchNorm's statistics estimated anew.
        seed: Of the image positions that reconstruction looks at.
        between: Fine-tunes the model after each list of `settings.group_size` groups; it is also
            given the list's number.

    Returns:
        The pruned model.

    Raises:
        UserError: If the target cannot be reached, a layer in `settings.ratios` has no channels to
            cut, the criterion needs examples and there are none, or the arguments make no sense.
    """
    _refuse_wrong_request(model, settings, speedup, calibration, seed)
    before, notes = profile_model(model), spectral_note(model)
    model = unwrapped(model, SPECTRAL)
    graph = trace_channels(model)
    if not graph.groups:
        raise UserError(f"The model {model.name} has no channels that may be cut.")
    scores = score_units(model, graph, settings.criterion, calibration)
    if speedup is None:
        counts = counts_from_ratios(graph, scores, settings.ratios, settings.round_to)
    else:
        counts = _solve(model, graph, scores, before, settings, speedup)
    wanted = {g.layers: int(n) for g, n in zip(graph.groups, counts, strict=True)}
    kept = {g.name: (wanted[g.layers], len(g.units)) for g in graph.groups}
    lists = _lists(
        [g.layers for g in graph.groups if wanted[g.layers] < len(g.units)], settings.group_size
    )
    notes += graph.left_whole
    if before.unknown:
        notes.append(uncounted_note(before.unknown))
    not_fitted: dict[str, str] = {}
    for number, names in enumerate(lists):
        if number:
            graph = trace_channels(model)
            scores = score_units(model, graph, settings.criterion, calibration)
        now = np.array([wanted[g.layers] if g.layers in names else len(g.units) for g in graph.groups])
        model = _cut(model, graph, scores, now, settings, calibration, seed, notes, not_fitted)
        if calibration is not None:
            notes += recalibrate_where_better(model, calibration)
        if between is not None and settings.group_size is not None:
            model = between(model, number)
    notes += _told(not_fitted)
    return Pruned(model, before, profile_model(model), kept, tuple(dict.fromkeys(notes)))


def _refuse_wrong_request(
    model: keras.Model,
    settings: PruneChannels,
    speedup: float | None,
    calibration: Calibration | None,
    seed: int,
) -> None:
    if speedup is None and not settings.ratios:
        raise UserError(
            "prune: needs to know how far; give a speedup, as 2.0, or settings with ratios; received "
            "neither."
        )
    if speedup is not None and settings.ratios:
        raise UserError(
            f"prune: speedup and ratios contradict each other; give one; received {speedup!r} and "
            f"{dict(settings.ratios)}."
        )
    is_number = isinstance(speedup, float | int | np.number) and not isinstance(speedup, bool)
    if speedup is not None and not (is_number and 1 < speedup < np.inf):
        raise UserError(f"prune: speedup has to be a number above 1; received {speedup!r}.")
    if seed < 0:
        raise UserError(f"prune: seed has to be at least 0; received {seed}.")
    if calibration is not None:
        refuse_other_examples(model, calibration.inputs)


def _told(not_fitted: Mapping[str, str]) -> list[str]:
    """A sentence for each reason why layers were not fitted."""
    layers: dict[str, list[str]] = {}
    for path, reason in not_fitted.items():
        layers.setdefault(reason, []).append(path)
    return [
        f"Weights were not fitted in {', '.join(paths)}: {reason}." for reason, paths in layers.items()
    ]


def _solve(
    model: keras.Model,
    graph: ChannelGraph,
    scores: np.ndarray,
    before: Profile,
    settings: PruneChannels,
    speedup: float,
) -> np.ndarray:
    estimate = CostEstimate(graph, before)
    budget = settings.budget
    if settings.criterion in IN_LOSS and settings.scope == "global":
        scores = scores / _price(graph, lambda keep: float(getattr(estimate(keep), budget)))
    goal = wanted = getattr(before, budget) / speedup
    for _ in range(4):
        counts = allocate(
            graph,
            scores,
            lambda keep: float(getattr(estimate(keep), budget)),
            goal,
            scope=settings.scope,
            max_ratio=settings.max_ratio,
            round_to=settings.round_to,
            unknown=before.unknown if budget == "macs" else (),
        )
        keep = keep_best(rank_units(graph, scores), counts)
        real = getattr(profile_model(remove_channels(model, graph, keep)), budget)
        off = real / getattr(estimate(keep), budget)
        if abs(off - 1) < TOLERANCE / 4:
            break
        # The estimate leaves attention's scores out of account: aim that much lower or higher.
        goal = wanted / off
    return counts


def _price(graph: ChannelGraph, cost: Callable[[np.ndarray], float]) -> np.ndarray:
    """What each unit costs while all others are there."""
    keep = np.ones(graph.units.count, bool)
    full, prices = cost(keep), np.ones(graph.units.count)
    for group in graph.groups:
        keep[group.units[0]] = False
        prices[group.units] = max(full - cost(keep), 1.0)
        keep[group.units[0]] = True
    return prices


def _lists(names: Sequence[tuple[str, ...]], size: int | None) -> list[list[tuple[str, ...]]]:
    if not names:
        return []
    size = size or len(names)
    return [list(names[start : start + size]) for start in range(0, len(names), size)]


def _cut(
    model: keras.Model,
    graph: ChannelGraph,
    scores: np.ndarray,
    counts: np.ndarray,
    settings: PruneChannels,
    calibration: Calibration | None,
    seed: int,
    notes: list[str],
    not_fitted: dict[str, str],
) -> keras.Model:
    criterion = settings.criterion
    fits = criterion == "lasso" or settings.reconstruct
    enough = calibration is not None and calibration.can_be_fitted_to
    if calibration is not None and not enough:
        if fits or criterion == "dcp":
            notes.append(
                f"Weights were not fitted: {calibration.size} calibration_examples are too few, "
                f"{FEWEST} are needed to hold a fit against some that it has not seen."
            )
        fits = False
    if calibration is None or not (criterion in STEPWISE or fits):
        return remove_channels(model, graph, keep_best(rank_units(graph, scores), counts))
    working = copy_model(model)
    heads = attach_heads(working, calibration) if criterion == "dcp" else ()
    graph = trace_channels(working)
    layers = {use.path: use.op for use in graph.uses}
    readers_of = {group.name: readers(graph, group) for group in graph.groups}
    to_fit = [path for path in layers if any(path in paths for paths in readers_of.values())]
    keep, chosen, scores = np.ones(graph.units.count, bool), set(), scores.copy()
    rng = np.random.default_rng(seed)
    for path in [path for path in to_fit if inputs_of(layers[path]) > MOST_INPUTS]:
        not_fitted[path] = f"it has {inputs_of(layers[path])} inputs, {MOST_INPUTS} are the most"
        to_fit.remove(path)
        readers_of = {name: [p for p in paths if p != path] for name, paths in readers_of.items()}
    with progress("reconstruct", len(to_fit), "layer") as shown:
        for number, path in enumerate(to_fit):
            responses: dict[str, Response] = {}
            for place, (group, count) in enumerate(zip(graph.groups, counts, strict=True)):
                if path not in readers_of[group.name] or group.name in chosen:
                    continue
                chosen.add(group.name)
                if count == len(group.units):
                    continue
                if criterion in STEPWISE:
                    measured = measure(working, model, graph, readers_of[group.name], calibration, rng)
                if criterion == "lasso":
                    scores[group.units] = select_by_lasso(
                        list(measured.values()), group.units, int(count)
                    )
                    responses |= measured
                elif criterion == "dcp":
                    scores[group.units] = select_by_discrimination(
                        working, heads, layers, measured, group.units, int(count), calibration
                    )
                keep[rank_units(graph, scores)[place][int(count) :]] = False
                if criterion == "dcp":
                    for reader, response in measured.items():
                        keep_where_better(layers[reader], response, keep, fits=enough)
            if not keep.all():
                silence(graph, ~keep)
                if fits:
                    if path not in responses:
                        responses = measure(working, model, graph, [path], calibration, rng)
                    why_not = write_fit(layers[path], responses[path], keep)
                    if why_not:
                        not_fitted[path] = why_not
                if enough:
                    recalibrate(working, calibration.others)
            shown.update(number + 1)
    for place, (group, count) in enumerate(zip(graph.groups, counts, strict=True)):
        if group.name not in chosen and count < len(group.units):
            keep[rank_units(graph, scores)[place][int(count) :]] = False
            if criterion in STEPWISE:
                how = STEPWISE[criterion]
                notes.append(f"{group.name}: no layer that can be fitted reads it; chosen by {how}")
    return remove_channels(working, graph, keep)
