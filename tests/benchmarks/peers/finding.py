"""Searches for layers' channels or bits: PocketKube's, and Optuna's alone, judged in the same way."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from pocketkube.api.data import dataset_of
from pocketkube.files.whole import temporary_folder
from pocketkube.search.evaluation import Evaluator
from pocketkube.search.experiment import run_experiment
from pocketkube.search.facts import best_of
from pocketkube.search.pool import Here
from pocketkube.search.prepared import open_prepared, prepare_search
from pocketkube.search.ratios import Ratios, ratios_of
from pocketkube.search.samplers import sampler_named
from pocketkube.search.samplers.tpe import distributions_of, quiet_optuna
from pocketkube.search.space_of import SearchedStages
from pocketkube.spec.sections import (
    DatasetSettings,
    PruneChannels,
    QuantizeWeights,
    Search,
    Target,
    Training,
)
from pocketkube.stages.configs import Learning
from pocketkube.stages.tasks import settled_task
from tests.benchmarks.peers.job import Cannot, Job
from tests.benchmarks.peers.splits import splits_of

OPTUNA = "optuna"
# Of Optuna for each trial: most that it asks at first are above the budget.
_MOST_ASKED = 100


def found_ratios(job: Job, model: keras.Model, stage: str, sampler: str) -> Ratios:
    """The best assignment under the job's target.

    Args:
        job: The job; a target is a speed-up for channels, a mean for bits.
        model: The uncompressed network.
        stage: "prune_channels" or "quantize_weights".
        sampler: A spec's, or OPTUNA, whose trials are no part of the budget unless they happen to be.

    Raises:
        Cannot: If no trial met the target.
    """
    with temporary_folder() as folder:
        evaluator = _prepared(job, model, stage, folder / "prepared", with_losses=sampler != OPTUNA)
        if sampler == OPTUNA:
            choice = _optuna(job, evaluator)
        else:
            trials = run_experiment(
                evaluator.problem,
                sampler_named(sampler),
                Here(evaluator.evaluate),
                trials=job.budget.trials,
                seed=job.seed,
                folder=folder / "trials",
            )
            choice = best_of(evaluator.problem, trials).choice
        return ratios_of(evaluator.problem, tuple(choice))


def _prepared(
    job: Job, model: keras.Model, stage: str, folder: Path, *, with_losses: bool
) -> Evaluator:
    is_pruning = stage == "prune_channels"
    examples = {
        "examples": job.budget.search_images,
        "calibration_examples": job.budget.calibration,
    }
    is_trained = job.settings.get("trained", False)
    evaluate = examples if is_trained else examples | {"fine_tune_steps": 0}
    section: dict[str, Any] = {"over": [stage], "trials": job.budget.trials, "evaluate": evaluate}
    if not is_pruning:
        section["mean_bits"] = job.target
    dataset = dataset_of(splits_of(job.arrays()), model, "search")
    calibration = job.budget.calibration
    stages = (
        PruneChannels(calibration_examples=calibration)
        if is_pruning
        else QuantizeWeights(calibration_examples=calibration)
    )
    searched = SearchedStages(
        Search.model_validate(section),
        (stages,),
        Target(speedup=job.target) if is_pruning else None,
    )
    task = settled_task(Learning(), model, dataset)
    # Trials read what they train on from a file, as pods do.
    images = folder.with_name("train.npz")
    if is_trained:
        train = job.arrays().train
        np.savez(images, x=train.images, y=train.labels)
    prepare_search(
        model,
        dataset,
        task,
        searched,
        folder,
        training=Training.model_validate(job.budget.training(1)),
        dataset_settings=DatasetSettings(npz=str(images)) if is_trained else None,
        seed=job.seed,
        with_losses=with_losses,
    )
    return open_prepared(folder)


def _optuna(job: Job, evaluator: Evaluator) -> Sequence[int]:
    """Optuna's TPE with the budget as a constraint; no choice is projected onto it.

    Choices that are above the budget are not evaluated, and are no trials of the budget's.
    """
    import optuna

    problem = evaluator.problem
    evaluated = 0
    until = None if job.seconds is None else time.monotonic() + job.seconds
    with quiet_optuna():
        sampler = optuna.samplers.TPESampler(
            seed=job.seed, multivariate=True, constraints_func=lambda trial: (_excess(trial),)
        )
        study = optuna.create_study(sampler=sampler, direction="maximize")
        distributions = distributions_of(problem)
        while _goes_on(evaluated, len(study.trials), job, until):
            trial = study.ask(distributions)
            choice = [trial.params[name] for name in problem.space.names]
            trial.set_user_attr("excess", float(problem.excess(np.array([choice]))[0]))
            if _excess(trial) > 0:
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)
                continue
            study.tell(trial, evaluator.evaluate(choice).score)
            evaluated += 1
    within = [trial for trial in study.trials if _excess(trial) <= 0]
    if not within:
        raise Cannot(f"none of {len(study.trials)} trials met the target")
    best = max(within, key=lambda trial: trial.value or 0.0)
    return [best.params[name] for name in problem.space.names]


def _excess(trial: Any) -> float:
    return float(trial.user_attrs["excess"])


def _goes_on(evaluated: int, asked: int, job: Job, until: float | None) -> bool:
    if until is not None:
        return time.monotonic() < until
    return evaluated < job.budget.trials and asked < _MOST_ASKED * job.budget.trials
