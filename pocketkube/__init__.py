"""PocketKube makes trained Keras networks small and fast enough for phones."""

__version__ = "0.1.0"
