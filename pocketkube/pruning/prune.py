"""Prunes the channels of a model down to a target as a spec's settings say, at once or in lists."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import keras

from pocketkube.errors import UserError
from pocketkube.graph.cost import Profile
from pocketkube.graph.not_called import naming_what_cannot_be_called
from pocketkube.pruning.calibration import Calibration
from pocketkube.pruning.pruner import Pruned, Pruner, pruned, refuse_wrong_speedup
from pocketkube.spec.sections import PruneChannels

# So much more than was asked for is told.
OVERSHOT = 1.1
# Fine-tunes a model after a list of groups was pruned, and is told the list's number.
Between = Callable[[keras.Model, int], keras.Model]


def prune(
    model: keras.Model,
    settings: PruneChannels,
    *,
    speedup: float | None = None,
    calibration: Calibration | None = None,
    seed: int = 0,
    between: Between | None = None,
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
    if speedup is not None:
        refuse_wrong_speedup(speedup)
    with naming_what_cannot_be_called(model):
        pruner = pruner_for(model, settings, calibration=calibration, seed=seed)
        found = prune_with(pruner, settings, speedup=speedup, between=between)
    if speedup is None:
        return found
    return with_overshot(found, found.before, settings, speedup)


def pruner_for(
    model: keras.Model, settings: PruneChannels, *, calibration: Calibration | None, seed: int
) -> Pruner:
    """A pruner that works as settings say; see `prune` for the arguments."""
    return Pruner(
        model,
        criterion=settings.criterion,
        calibration=calibration,
        scope=settings.scope,
        max_ratio=settings.max_ratio,
        round_to=settings.round_to,
        reconstruct=settings.reconstruct,
        seed=seed,
    )


def prune_with(
    pruner: Pruner,
    settings: PruneChannels,
    *,
    speedup: float | None = None,
    between: Between | None = None,
) -> Pruned:
    """What `prune` does, with a pruner that may be asked for more than one speed-up.

    Args:
        pruner: Of these settings, as `pruner_for` makes it.
        settings: Say what a speed-up counts, or which ratios to cut, and in which lists.
        speedup: How far; None where the settings have ratios.
        between: Fine-tunes the model after each list of groups.
    """
    if speedup is None:
        counts = pruner.counts_for_ratios(settings.ratios)
    else:
        counts = pruner.counts_for_speedup(speedup, budget=settings.budget)
    return prune_to_counts(pruner, settings, counts, between=between)


def with_overshot(found: Pruned, first: Profile, settings: PruneChannels, asked: float) -> Pruned:
    """Adds a note where steps of channels are so coarse that much more went than was asked for.

    Args:
        found: What came out.
        first: The cost of what speed-ups count from.
        settings: What it was pruned by.
        asked: The speed-up that the user asked for: one that was tried on the way to another target
            would tell them nothing.
    """
    reached = getattr(first, settings.budget) / getattr(found.after, settings.budget)
    if settings.round_to == 1 or reached <= OVERSHOT * asked:
        return found
    note = (
        f"{reached:.2f}x came out where {asked:g}x was asked for: channels go in steps of "
        f"{settings.round_to}; a smaller round_to comes nearer."
    )
    return replace(found, notes=(*found.notes, note))


def prune_to_counts(
    pruner: Pruner,
    settings: PruneChannels,
    counts: Mapping[str, int],
    *,
    between: Between | None = None,
) -> Pruned:
    """Keeps given numbers of units in each group; see `prune_with` for the other arguments."""
    if settings.group_size is None:
        return pruner.to_counts(counts)
    return _prune_in_lists(pruner, counts, settings.group_size, between)


def _prune_in_lists(
    pruner: Pruner, counts: Mapping[str, int], size: int, between: Between | None
) -> Pruned:
    """Prunes so many groups, fine-tunes, judges what is left anew, prunes the next."""
    sizes = {group.name: group.size for group in pruner.costs.groups}
    names = [name for name, count in counts.items() if count < sizes[name]]
    model, now = pruner.copy(), pruner
    notes: list[str] = []
    not_fitted: list[tuple[str, str]] = []
    for number, start in enumerate(range(0, len(names), size)):
        if number:
            now = pruner.of_model(model)
        outcome = now.cut({name: counts[name] for name in names[start : start + size]})
        model = outcome.model
        notes += outcome.notes
        not_fitted += outcome.not_fitted
        if between is not None:
            model = between(model, number)
    kept = {name: (count, sizes[name]) for name, count in counts.items()}
    return pruned(pruner, model, kept, tuple(notes), tuple(not_fitted))
