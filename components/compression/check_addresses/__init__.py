"""Looks at what addresses of a spec hold, so that Kubeflow repeats a task where that has changed."""

from components.compression.check_addresses.component import check_addresses

__all__ = ["check_addresses"]
