"""Which names of models are files, and which those of built-in networks."""

from pathlib import Path

from pocketkube.files.whole import place_of
from pocketkube.models.names import BUILT_IN_NAMES

HDF5 = (".h5", ".hdf5")
SUFFIXES = (".keras", *HDF5)
# What makes a folder a SavedModel.
SAVED_MODEL = "saved_model.pb"


def is_model_file(name: str, base: Path = Path()) -> bool:
    """Whether a model is named by its file, or by the folder of a SavedModel.

    Args:
        name: As a spec names it: a path, an address, or a built-in network.
        base: The folder that relative paths start from.
    """
    if name.endswith(SUFFIXES):
        return True
    # A folder that happens to be called so stands in for no built-in network.
    if name in BUILT_IN_NAMES:
        return False
    return "://" not in name and (place_of(name, base) / SAVED_MODEL).is_file()
