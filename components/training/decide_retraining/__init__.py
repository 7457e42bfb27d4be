"""Looks at the newest data with the deployed model, and decides whether to retrain it."""

from components.training.decide_retraining.component import decide_retraining

__all__ = ["decide_retraining"]
