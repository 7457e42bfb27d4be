"""Retrains a deployed model on new data where it needs to be, and keeps versions of it."""
