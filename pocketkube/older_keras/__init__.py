"""Models of an older Keras: HDF5 files and SavedModel folders."""

from pocketkube.older_keras.load import Imported, is_older, load_older

__all__ = ["Imported", "is_older", "load_older"]
