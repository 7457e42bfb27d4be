"""Runs a Katib Experiment (kubeflow.org/v1beta1) on this machine, so that it can be tried before it is sent.

Rules of Katib's that are kept are those of its controllers and collectors, version 0.19.
"""

from pocketkube.search.local_katib.running import run_experiment

__all__ = ["run_experiment"]
