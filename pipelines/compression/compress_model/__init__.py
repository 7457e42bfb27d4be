"""The whole job as a KFP pipeline."""

from pipelines.compression.compress_model.pipeline import compress_model

__all__ = ["compress_model"]
