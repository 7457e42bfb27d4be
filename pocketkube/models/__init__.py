"""The reference networks, by name."""

from pocketkube.models.build import MODEL_NAMES, build_model

__all__ = ["MODEL_NAMES", "build_model"]
