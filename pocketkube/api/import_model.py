"""Reads a model from a file."""

from dataclasses import replace
from pathlib import Path

from pocketkube.api.network import AppliedStage, Network, network_of, path_of
from pocketkube.api.traces import settings_left
from pocketkube.bundle import read_model, refuse_bad_weights
from pocketkube.graph.fixed_size import at_image_size
from pocketkube.packing import load_packed, read_forms


def import_model(path: str | Path, *, image_size: tuple[int, int] | None = None) -> Network:
    """Reads a model from its file, in Keras's safe mode.

    Args:
        path: A .keras, .packed, .h5 or .hdf5 file, or the folder of a SavedModel of Keras 2.
        image_size: Height and width at which a model that takes images of any size is compressed.

    Returns:
        The model; its remarks say what an older file had and is left behind. What can be seen of
        earlier stages, as zeros and levels of a packed file, is kept in all that follows.

    Raises:
        UserError: If it is missing, damaged, or needs code that safe mode does not run; or if
            `image_size` is given, and it takes images of one size, or a layer of it cannot take this.

    Example:
        >>> import tempfile, pocketkube as pk
        >>> from pathlib import Path
        >>> from pocketkube.models import build_model
        >>> few = pk.cluster(build_model("lenet", (28, 28, 1), 10, width=0.25), bits=2)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     again = pk.import_model(few.save(Path(folder) / "net.packed"))
        >>> again.profile.macs == few.profile.macs, [step.settings.name for step in again.steps]
        (True, ['cluster_weights'])
    """
    file = path_of("import_model", path, "net.keras")
    if file.suffix == ".packed":
        packed = load_packed(file)
        refuse_bad_weights(packed, str(file))
        model = at_image_size(packed, image_size)
        forms = read_forms(file, model)
        return Network(model, model, tuple(map(AppliedStage, settings_left(model, forms))), forms)
    found = read_model(file)
    network = network_of("import_model", at_image_size(found.model, image_size))
    return replace(network, notes=found.notes)
