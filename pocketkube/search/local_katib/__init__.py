"""Runs a Katib Experiment (kubeflow.org/v1beta1) on this machine: it is tried before it is sent.

The rules are those of Katib 0.19, of its controllers, webhooks and collectors.
"""

from pocketkube.search.local_katib.running import run_experiment

__all__ = ["run_experiment"]
