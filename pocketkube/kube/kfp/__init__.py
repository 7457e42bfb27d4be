"""Kubeflow Pipelines: uploads compiled pipelines, starts and follows runs, keeps recurring ones."""
