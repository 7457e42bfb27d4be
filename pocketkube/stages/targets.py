"""Finds how far to prune for a target that is not a speed-up: an accuracy, a size, a latency."""

from collections.abc import Callable
from dataclasses import dataclass, field

import keras
import numpy as np

from pocketkube.benchmarking import measure_latencies
from pocketkube.bundle import Bundle
from pocketkube.console.progress import progress
from pocketkube.data.dataset import Arrays, Dataset
from pocketkube.errors import MachineError, UserError
from pocketkube.figures import milliseconds, milliseconds_between
from pocketkube.files.whole import temporary_folder
from pocketkube.graph.bounds import Bound, Speedup
from pocketkube.graph.cost import profile_model
from pocketkube.latency_table.another_device import AnotherDevice, another_device
from pocketkube.pruning.prune import with_overshot
from pocketkube.pruning.pruner import Pruned
from pocketkube.spec.sections import Target
from pocketkube.spec.spec import said_of_drop
from pocketkube.stages.assessment import task_of
from pocketkube.stages.configs import PruneChannelsConfig
from pocketkube.stages.export import converted
from pocketkube.stages.foreseen import foreseen_file
from pocketkube.stages.formats import file_format, last_format
from pocketkube.stages.latency_target import Judge
from pocketkube.training.evaluation import evaluate
from pocketkube.training.task import Task

TRIALS = 7
FARTHEST = 64.0
NEAREST = 1.05


@dataclass(frozen=True)
class Cuts:
    """How channels of a model are cut.

    Attributes:
        by: Prunes the model by a speed-up; by None, as the stage's ratios say.
        for_latency: Prunes the model for a latency by a table; given the judge of a file. None where
            the table does not lead there.
    """

    by: Callable[[float | None], Pruned]
    for_latency: Callable[[float, Judge], Pruned | None]


def reach(
    config: PruneChannelsConfig,
    model: keras.Model,
    uncompressed: Bundle,
    dataset: Dataset | None,
    task: Task,
    examples: Arrays,
    cuts_of: Callable[[], Cuts],
    tuned: Callable[[keras.Model], keras.Model],
) -> tuple[Pruned, list[str]]:
    """Prunes a model as far as the spec's target asks, which counts from the uncompressed model.

    Args:
        config: The stage's; its target says what to reach.
        model: The model, which other stages may have made smaller already.
        uncompressed: What the job began with.
        dataset: Its validation examples judge the accuracy; test examples are never looked at. None
            where there are no examples.
        task: The score.
        examples: Training examples, for the ranges of an int8 file; random ones where there are none.
        cuts_of: Says how the model is cut. It is not asked where nothing has to be: the model may have
            no channels to cut then.
        tuned: Fine-tunes a copy of a model for a short while, to see where its accuracy will be.

    Returns:
        The pruned model, and what was tried; the model itself where a speed-up, size or latency is
        reached already.

    Raises:
        UserError: If no pruning reaches the target; it names the best that was seen.
    """
    target, budget = config.target, config.settings.budget
    assert target is not None
    refuse_drop(target, task)
    wording, drop = task.wording, target.max_accuracy_drop
    tried: list[str] = []
    first = profile_model(uncompressed.model)
    now = profile_model(model)
    done = getattr(first, budget) / getattr(now, budget)
    least, farthest = max(target.speedup or NEAREST, done), FARTHEST * done
    files = _files_judged(config, uncompressed, examples, tried) if target.judges_the_file else None
    if files is not None and (target.speedup is None or target.speedup <= done):
        uncut = Pruned(model, now, now, {}, ("Nothing is cut: the file meets the target already.",))
        if files.cost(uncut) <= 1:
            return uncut, tried
    bound = first.speedup_to(now).bound if budget == "macs" else "exact"
    cuts = cuts_of()
    prune_to = _from_uncompressed(model, done, bound, cuts.by)
    pruned = prune_to(least)
    if target.speedup is not None and target.speedup > done:
        pruned = with_overshot(pruned, first, config.settings, target.speedup)
    if files is not None:
        # Where `least` is done already, the file was judged above.
        if least > done and files.cost(pruned) <= 1:
            return pruned, tried
        by_table = None
        if target.max_latency_ms is not None and target.speedup is None:
            by_table = cuts.for_latency(target.max_latency_ms, Judge(files.cost, tried.append))
        fits = by_table or _nearest(least, farthest, files.cost, prune_to)
        if fits is None:
            raise UserError(_out_of_reach(target, min(files.seen, key=lambda file: file.cost)))
        pruned = fits
    elif drop is not None and target.speedup is None:
        if dataset is None:
            raise UserError("target.max_accuracy_drop: is judged by examples; give a dataset.")
        validation = dataset.validation
        before = evaluate(uncompressed.model, validation, task_of(uncompressed.facts))
        floor = before.score - drop

        def good(candidate: Pruned) -> bool:
            score = evaluate(tuned(candidate.model), validation, task).score
            tried.append(
                f"tried {first.speedup_to(candidate.after)}: validation "
                f"{wording.name} {wording.shown(score)} after a short fine-tuning, "
                f"{wording.shown(floor)} asked for"
            )
            return round(score - floor, 12) >= 0

        pruned = _farthest(pruned, least, farthest / 4, good, prune_to, tried)
    return pruned, tried


def refuse_drop(target: Target, task: Task) -> None:
    """Says when a score cannot fall as far as the target allows.

    Raises:
        UserError: If the outputs have no score in common, or it is a part of 1.
    """
    drop = target.max_accuracy_drop
    if drop is None:
        return
    if not task.measure.has_one_unit:
        raise UserError(
            "target.max_accuracy_drop: the outputs have no score in common, but each its own ("
            f"{', '.join(f'{head.name}: {head.measure.read_as.name}' for head in task.trained)}); "
            "give speedup, max_size or max_latency_ms."
        )
    if drop >= 1 and task.wording.is_share:
        raise UserError(f"target.{said_of_drop(drop, task.wording.short)}.")


def _from_uncompressed(
    model: keras.Model, done: float, bound: Bound, prune_by: Callable[[float | None], Pruned]
) -> Callable[[float], Pruned]:
    """Prunes to a speed-up that counts from the uncompressed model, which `model` is `done` from."""

    already = Speedup(done, bound)

    def prune_to(speedup: float) -> Pruned:
        if speedup <= done:
            profile = profile_model(model)
            note = f"Nothing is cut: the model costs {already} less than the uncompressed one already."
            return Pruned(model, profile, profile, {}, (note,))
        try:
            return prune_by(speedup / done)
        except UserError as error:
            if done == 1:
                raise
            # What it says counts from the model that it was given.
            raise error.saying(
                f"The target of {speedup:.2f}x cannot be reached from a model that costs {already} "
                f"less already: {error}"
            ) from error

    return prune_to


@dataclass(frozen=True)
class _File:
    """What the file of a pruned model will be after what follows.

    Attributes:
        cost: What it will surely cost, in parts of what it may: of size and latency the one counts that
            is farther from its limit; at most 1 fits.
        parameters: The model's.
        figures: Its size and, where that is asked for, its latency.
        doubts: Sentences on how latency was measured.
    """

    cost: float
    parameters: int
    figures: str
    doubts: tuple[str, ...] = ()

    @property
    def note(self) -> str:
        """The same for the user."""
        doubts = (f"; {said[0].lower()}{said[1:].rstrip('.')}" for said in self.doubts)
        return f"tried {self.parameters} parameters: {self.figures}{''.join(doubts)}"


@dataclass(frozen=True)
class _Files:
    """Judges pruned models by the files that they become.

    Attributes:
        config: The stage's.
        baseline: The uncompressed model's file, which latency is measured in turn with, as it is in the
            end; None where this machine measures none.
        device: The device that a latency is foreseen for, where the target names one.
        examples: Training examples, for ranges.
        tried: Takes a note of each.
        seen: All that were judged.
    """

    config: PruneChannelsConfig
    baseline: bytes | None
    device: AnotherDevice | None
    examples: Arrays
    tried: list[str]
    seen: list[_File] = field(default_factory=list)

    def cost(self, candidate: Pruned) -> float:
        """What a candidate's file costs, in parts of what it may: at most 1 fits."""
        file = _file_of(self.config, candidate.model, self.baseline, self.device, self.examples)
        self.seen.append(file)
        self.tried.append(file.note)
        return file.cost


def _files_judged(
    config: PruneChannelsConfig, uncompressed: Bundle, examples: Arrays, tried: list[str]
) -> _Files:
    target, baseline, device = config.target, None, None
    assert target is not None
    if target.latency_table:
        device = another_device(target.latency_table)
    elif target.max_latency_ms is not None:
        baseline = converted(
            uncompressed, file_format(None), sparse=False, calibration=lambda _: examples
        )
    return _Files(config, baseline, device, examples, tried)


def _out_of_reach(target: Target, best: _File) -> str:
    size, latency = target.max_size, target.max_latency_ms
    asked = [] if size is None else [f"{size} bytes"]
    asked += [] if latency is None else [f"{latency:g} ms"]
    return " ".join(
        (
            f"The target cannot be reached by pruning: at most {' and '.join(asked)} is asked for, and "
            f"the best file that was seen, of {best.parameters} parameters, has {best.figures}.",
            *best.doubts,
        )
    )


def _file_of(
    config: PruneChannelsConfig,
    model: keras.Model,
    baseline: bytes | None,
    device: AnotherDevice | None,
    examples: Arrays,
) -> _File:
    assert config.target is not None
    content = foreseen_file(config.stages, model, examples)
    limit, latency = config.target.max_size, config.target.max_latency_ms
    cost = 0.0 if limit is None else len(content) / limit
    figures = f"{len(content)} bytes"
    doubts: tuple[str, ...] = ()
    if latency is not None and device is not None:
        foreseen_ms = device.latency_ms(content, last_format(config.stages).numbers)
        figures += f", {milliseconds(foreseen_ms)} {device.doubts}"
        cost = max(cost, foreseen_ms / latency)
    if latency is not None and baseline is not None:
        with temporary_folder() as folder:
            files = [folder / name for name in ("baseline.tflite", "model.tflite")]
            for file, written in zip(files, (baseline, content), strict=True):
                file.write_bytes(written)
            settings = config.benchmark.model_copy(update={"threads": (1,)})
            measured = measure_latencies(files, settings, limit_ms=latency)
        median = measured.threads[1].medians_ms[-1]
        between = milliseconds_between(median.low, median.high)
        figures += f", {milliseconds(median.value)} (95 % interval {between})"
        doubts = measured.load.warnings
        cost = max(cost, median.high / latency)
    return _File(cost, model.count_params(), figures, doubts)


def _nearest(
    low: float,
    high: float,
    cost: Callable[[Pruned], float],
    prune_to: Callable[[float], Pruned],
) -> Pruned | None:
    """The least pruned model that fits; None where none does."""
    _, found = _bisect(low, high, prune_to, lambda candidate: cost(candidate) <= 1)
    return found


def _farthest(
    pruned: Pruned,
    low: float,
    high: float,
    good: Callable[[Pruned], bool],
    prune_to: Callable[[float], Pruned],
    tried: list[str],
) -> Pruned:
    """The most pruned model that is good."""
    found, _ = _bisect(low, high, prune_to, lambda candidate: not good(candidate))
    if found is None and not good(pruned):
        raise UserError(f"The target max_accuracy_drop cannot be reached by pruning: {tried[-1]}.")
    return found or pruned


def _bisect(
    low: float,
    high: float,
    prune_to: Callable[[float], Pruned],
    is_far: Callable[[Pruned], bool],
) -> tuple[Pruned | None, Pruned | None]:
    """The most pruned candidate that is not far, and the least pruned one that is.

    A speed-up that cannot be reached is far, without a candidate to show for it.
    """
    near, far = None, None
    with progress("search", TRIALS, "trial") as shown:
        for trial in range(TRIALS):
            middle = float(np.sqrt(low * high))
            candidate = _reachable(prune_to, middle)
            if candidate is None:
                high = middle
            elif is_far(candidate):
                high, far = middle, candidate
            else:
                low, near = middle, candidate
            shown.update(trial + 1, speedup=middle)
    return near, far


def _reachable(prune_to: Callable[[float], Pruned], speedup: float) -> Pruned | None:
    try:
        return prune_to(speedup)
    except MachineError:
        raise
    except UserError:
        return None
