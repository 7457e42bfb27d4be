"""Makes a new version of a model on a partition of data, from training to its file."""

from components.training.retrain_model.component import retrain_model

__all__ = ["retrain_model"]
