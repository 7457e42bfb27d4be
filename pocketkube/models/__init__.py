"""The reference networks, by name."""

from typing import TYPE_CHECKING, Any

from pocketkube.models.names import MODEL_NAMES

if TYPE_CHECKING:
    from pocketkube.models.build import build_model

__all__ = ["MODEL_NAMES", "build_model"]


def __getattr__(name: str) -> Any:
    """Loads Keras when a network is built, not when its name is looked up."""
    if name == "build_model":
        from pocketkube.models.build import build_model

        return build_model
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
