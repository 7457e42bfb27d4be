"""The whole job as a KFP pipeline."""

from pipelines.compression.compress_model.pipeline import NAME, compress_model, ready_pipeline

__all__ = ["NAME", "compress_model", "ready_pipeline"]
