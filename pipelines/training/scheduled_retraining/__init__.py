"""Retrains a deployed model on new data, where it has to be."""

from pipelines.training.scheduled_retraining.pipeline import scheduled_retraining

__all__ = ["scheduled_retraining"]
