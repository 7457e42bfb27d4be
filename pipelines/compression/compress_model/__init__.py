"""The whole job as a KFP pipeline."""

from pipelines.compression.compress_model.pipeline import compress_model, ready_pipeline

__all__ = ["compress_model", "ready_pipeline"]
