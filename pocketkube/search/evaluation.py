"""Evaluates what a search tries, fast: compresses the network as the stages begin, and judges it.

Channels are cut by the criterion's scores, and what reads the rest is fitted to what the uncompressed
network gives, which is computed once; zeros are the smallest weights; BatchNorm's statistics are
estimated anew; levels are calibrated. What stages then train is left out, but for some steps where the
search asks for them.

lasso and dcp choose channels by plain scores here: their own choice, as the stage makes it, runs both
networks anew for each layer, and takes many times as long as all the rest of a trial.
"""

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import keras
import numpy as np

from pocketkube.data import load_dataset
from pocketkube.data.batches import materialize
from pocketkube.data.dataset import Arrays, Dataset
from pocketkube.data.in_memory import examples_of_arrays
from pocketkube.distillation import FromTeachers, Teacher
from pocketkube.errors import UserError
from pocketkube.files.records import Record
from pocketkube.files.whole import write_text
from pocketkube.graph.dependency import trace_channels
from pocketkube.graph.ranking import keep_best, rank_units
from pocketkube.graph.surgery import copy_model, remove_channels
from pocketkube.graph.unwrapping import SPECTRAL, unwrapped
from pocketkube.processes.ranks import started_size
from pocketkube.pruning.batch_statistics import recalibrate_where_better
from pocketkube.pruning.calibration import Calibration
from pocketkube.pruning.criteria import always_fits
from pocketkube.pruning.front_to_back import Wanted, fit_where_better, fitted_paths, wanted_outputs
from pocketkube.quantization.quantize import quantize
from pocketkube.search.between_steps import OnScore, ScoredBetween
from pocketkube.search.calibrated import CalibratedLevels, Ranges
from pocketkube.search.judging import Judge, Judged
from pocketkube.search.problem import Problem
from pocketkube.sparsity import KeptZeros
from pocketkube.sparsity.patterns import mask_of
from pocketkube.sparsity.selection import sparsifiable
from pocketkube.spec.sections import (
    DatasetSettings,
    Distillation,
    PruneChannels,
    QuantizeWeights,
    SparsifyWeights,
    Training,
)
from pocketkube.training.course import rows_together
from pocketkube.training.distillation_term import DistillationTerm
from pocketkube.training.loop import train
from pocketkube.training.method import CombinedMethod, Method
from pocketkube.training.task import Task

TRIALS = "trials"


@dataclass(frozen=True)
class Evaluated:
    """What came of a trial.

    Attributes:
        score: On the validation examples; more is better.
        costs: What the network costs, by the cost's name.
        seconds: How long it took; what was remembered takes none.
        distance: How far its outputs are from the uncompressed model's; see `Judged`.
    """

    score: float
    costs: Mapping[str, float]
    seconds: float
    distance: float = 0.0


class TrialSettings(Record):
    """How trials compress and train.

    Attributes:
        prune: Settings of prune_channels, where it is searched.
        sparsify: Those of sparsify_weights.
        quantize: Those of quantize_weights.
        training: How a trial is fine-tuned.
        fine_tune_steps: For how many steps.
        dataset: Where the examples to fine-tune on are; None where there is no fine-tuning.
        seed: All that is random follows from it.
    """

    prune: PruneChannels | None
    sparsify: SparsifyWeights | None
    quantize: QuantizeWeights | None
    training: Training
    fine_tune_steps: int
    dataset: DatasetSettings | None
    seed: int


@dataclass(frozen=True)
class Shared:
    """What all trials of a search share; see `pocketkube.search.prepared`.

    Attributes:
        model: The uncompressed network.
        task: Its score.
        problem: The search.
        settings: How trials compress and train.
        calibration: Training examples, inputs and labels.
        validation: The validation examples, decoded.
        wanted: What the uncompressed network says of these, softened.
        whole: How it is judged.
        unit_scores: The criterion's score of each unit of channels, `[units]`.
        ranges: Of weights at any bits and of activations, where bits alone are searched.
    """

    model: keras.Model
    task: Task
    problem: Problem
    settings: TrialSettings
    calibration: tuple[Arrays, Arrays]
    validation: tuple[Arrays, Arrays]
    wanted: Arrays
    whole: Judged
    unit_scores: np.ndarray
    ranges: Ranges | None = None


class Evaluator:
    """Evaluates choices of a search; equal choices are evaluated once.

    Attributes:
        problem: The search.
        whole_score: The uncompressed network's score, on the examples that score trials.

    Args:
        shared: What all trials share.
        kept_in: A folder for what came of trials, for later processes; None for none.
    """

    def __init__(self, shared: Shared, kept_in: Path | None = None) -> None:
        self.problem, self.whole_score = shared.problem, shared.whole.score
        self._shared, self._settings, self._kept_in = shared, shared.settings, kept_in
        self._known: dict[tuple[int, ...], Evaluated] = {}
        self._calibration = Calibration(*shared.calibration, loss=shared.task.loss)
        self._levels: CalibratedLevels | None = None
        self._judge: Judge | None = None
        self._training_data: Dataset | None = None
        self._model = unwrapped(shared.model, SPECTRAL)
        if self._settings.prune is not None:
            self._graph = trace_channels(self._model)
            self._ranking = rank_units(self._graph, shared.unit_scores)

    def evaluate(
        self, choice: Sequence[int] | np.ndarray, on_score: OnScore | None = None
    ) -> Evaluated:
        """Compresses the network by a choice, and judges it on the validation examples.

        Args:
            choice: The level of each parameter; it is taken as it is, within the limit or not.
            on_score: Takes the score between steps of fine-tuning, where there is any; of what was
                remembered nothing is told. It changes nothing in what comes of it.

        Raises:
            UserError: If it has not one level for each parameter, each of those there are.
        """
        levels = self._checked(choice)
        if levels not in self._known:
            self._known[levels] = self._remembered(levels) or self._evaluated(levels, on_score)
        return self._known[levels]

    def judged(self, choice: Sequence[int] | np.ndarray, examples: int | None = None) -> Judged:
        """Compresses the network by a choice and judges it, without training, whatever is known of it.

        Args:
            choice: The level of each parameter.
            examples: On how many validation examples, the first; all if None.
        """
        return self._judged(self._checked(choice), 0, examples)

    def _evaluated(self, levels: tuple[int, ...], on_score: OnScore | None) -> Evaluated:
        began = time.monotonic()
        found = self._judged(levels, self._settings.fine_tune_steps, None, on_score)
        seconds = time.monotonic() - began
        evaluated = Evaluated(found.score, self.problem.all_costs(levels), seconds, found.distance)
        self._remember(levels, evaluated)
        return evaluated

    def _judged(
        self,
        levels: tuple[int, ...],
        steps: int,
        examples: int | None,
        on_score: OnScore | None = None,
    ) -> Judged:
        shared = self._shared
        if self._settings.quantize is not None and shared.ranges is not None and not steps:
            # The layers stay as they are: the model is quantised once, and its bits change.
            if self._levels is None:
                self._levels = CalibratedLevels(
                    shared.model, self._settings.quantize, shared.ranges, shared.calibration[0]
                )
                self._judge = self._judge_of(self._levels.model)
            self._levels.set_bits(self._bits(levels))
            assert self._judge is not None
            return self._judge(examples)
        model = self._compressed(levels)
        if self._settings.quantize is None:
            judge = self._judge_of(model)

            def judged() -> Judged:
                # Moving averages are far behind the weights after so few steps.
                recalibrate_where_better(model, self._calibration)
                return judge(examples)

            if not steps:
                return judge(examples)
            method = KeptZeros(model) if self._settings.sparsify else Method()
            self._fine_tune(model, method, steps, judged, on_score)
            return judged()
        settings = self._settings.quantize.model_copy(update={"layers": self._bits(levels)})
        quantized = quantize(model, settings, shared.calibration[0], self._settings.seed)
        judge = self._judge_of(quantized.model)
        if steps:
            method = quantized.method
            if self._settings.sparsify is not None:
                method = CombinedMethod([KeptZeros(quantized.model), method])
            self._fine_tune(quantized.model, method, steps, lambda: judge(examples), on_score)
        else:
            quantized.method.finish()
        return judge(examples)

    def _compressed(self, levels: tuple[int, ...]) -> keras.Model:
        """The network with fewer channels and with zeros, in a copy."""
        settings = self._settings
        model = self._cut(levels) if settings.prune is not None else copy_model(self._model)
        if settings.sparsify is not None:
            zeros = self._values("sparsity", levels)
            for kernel in sparsifiable(model):
                if part := zeros.get(kernel.layer):
                    values = np.asarray(kernel.variable)
                    kept = mask_of(values, part, settings.sparsify.pattern, kernel.axes[0])
                    kernel.variable.assign(values * kept)
        cut_alone = settings.prune is not None and not self._fits
        if settings.sparsify is not None or cut_alone:
            recalibrate_where_better(model, self._calibration)
        return model

    def _cut(self, levels: tuple[int, ...]) -> keras.Model:
        (counts,) = self.problem.counts(np.array([levels]))
        keep = keep_best(self._ranking, counts)
        smaller = remove_channels(self._model, self._graph, keep)
        if self._fits:
            fit_where_better(smaller, self._graph, keep, lambda: self._wanted, self._calibration)
        return smaller

    @cached_property
    def _wanted(self) -> tuple[Wanted, ...]:
        """What layers of the uncut network give, the same for all assignments."""
        paths = fitted_paths(self._graph)
        return tuple(wanted_outputs(self._model, paths, self._calibration, self._settings.seed))

    @property
    def _fits(self) -> bool:
        """Whether what reads fewer channels is fitted."""
        prune = self._settings.prune
        asked = prune is not None and (prune.reconstruct or always_fits(prune.criterion))
        return asked and self._calibration.can_be_fitted_to

    def _fine_tune(
        self,
        model: keras.Model,
        method: Method,
        steps: int,
        judged: Callable[[], Judged],
        on_score: OnScore | None,
    ) -> None:
        shared, course = self._shared, self._settings.training
        if self._training_data is None:
            self._training_data = self._examples_to_train_on(steps)
        data = self._training_data
        method.begin(rows_together(course, data.train.size))
        own = self._settings.quantize.learning_rate if self._settings.quantize else None
        per_epoch = max(data.train.size // course.batch_size, 1)
        course = course.model_copy(
            update={
                "epochs": -(-steps // per_epoch),
                "keep": "last",
                "learning_rate": own or method.rate * course.learning_rate,
            }
        )
        if on_score is not None:
            scored = ScoredBetween(method, model.variables, lambda: judged().score, on_score)
            method = CombinedMethod([scored, method])
        train(
            model,
            data,
            shared.task,
            course,
            seed=self._settings.seed + 1,
            stage="trial",
            distillation=self._teaching(model),
            method=method,
        )

    def _teaching(self, student: keras.Model) -> DistillationTerm | None:
        """Where there are no labels, a trial learns from the network that it was made of."""
        task = self._shared.task
        if not task.to_original:
            return None
        teacher = Teacher(self._shared.model.name, self._shared.model, task)
        return FromTeachers(student, task, [teacher], Distillation(), seed=self._settings.seed)

    def _examples_to_train_on(self, steps: int) -> Dataset:
        """As many as the steps need, the same for all trials; nothing is decided while they train."""
        shared = self._shared
        if self._settings.dataset is None:
            raise UserError("search: fine_tune_steps need a dataset to train on.")
        dataset = load_dataset(self._settings.dataset)
        inputs, labels = materialize(
            dataset.train, steps * self._settings.training.batch_size, self._settings.seed
        )
        taken = examples_of_arrays(inputs, labels, dataset.train.labels)
        # One for each process that trains: none of them can judge an empty batch.
        xs, ys = (tuple(x[: started_size()] for x in part) for part in shared.validation)
        judged = examples_of_arrays(xs, ys, dataset.labels)
        return replace(dataset, train=taken, validation=judged, test=judged)

    def _bits(self, levels: tuple[int, ...]) -> dict[str, int]:
        return {path: int(bits) for path, bits in self._values("bits", levels).items()}

    def _values(self, decides: str, levels: tuple[int, ...]) -> dict[str, float]:
        """What a choice gives each target of the parameters that decide so."""
        return {
            target: parameter.levels[level]
            for parameter, level in zip(self.problem.space.parameters, levels, strict=True)
            if parameter.decides == decides
            for target in parameter.targets
        }

    def _judge_of(self, model: keras.Model) -> Judge:
        shared = self._shared
        return Judge(model, shared.task, shared.validation, shared.wanted)

    def _checked(self, choice: Sequence[int] | np.ndarray) -> tuple[int, ...]:
        levels = tuple(int(level) for level in choice)
        if not self.problem.space.has(levels):
            raise UserError(
                f"A choice has one level for each of {len(self.problem.space.parameters)} parameters, "
                f"from 0 on; received {levels}."
            )
        return levels

    def _file(self, levels: tuple[int, ...]) -> Path | None:
        if self._kept_in is None:
            return None
        name = hashlib.sha256(json.dumps(levels).encode()).hexdigest()[:32]
        return self._kept_in / f"{name}.json"

    def _remembered(self, levels: tuple[int, ...]) -> Evaluated | None:
        file = self._file(levels)
        if file is None or not file.is_file():
            return None
        try:
            facts: dict[str, Any] = json.loads(file.read_text("utf-8"))
            if facts["choice"] != list(levels):
                return None
            return Evaluated(float(facts["score"]), dict(facts["costs"]), 0.0, float(facts["distance"]))
        except (ValueError, KeyError, TypeError):
            # It can be found out again.
            return None

    def _remember(self, levels: tuple[int, ...], found: Evaluated) -> None:
        file = self._file(levels)
        if file is not None:
            facts = {
                "choice": levels,
                "score": found.score,
                "distance": found.distance,
                "costs": dict(found.costs),
            }
            write_text(file, json.dumps(facts))
