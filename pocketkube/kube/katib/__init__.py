"""A search's trials as pods of a Katib Experiment: built, started or found again, followed, read."""
