"""The whole job with a search for each layer's channels as a KFP pipeline."""

from pipelines.compression.search_and_compress.pipeline import search_and_compress

__all__ = ["search_and_compress"]
