"""Reads a model from a file."""

from pathlib import Path

from pocketkube.api.network import AppliedStage, Network, network_of
from pocketkube.api.traces import settings_left
from pocketkube.bundle import load_model
from pocketkube.packing import load_packed, read_forms


def import_model(path: str | Path) -> Network:
    """Reads a model from its file, in Keras's safe mode.

    Args:
        path: A .keras, .packed, .h5 or .hdf5 file, or the folder of a SavedModel of Keras 2.

    Returns:
        The model. What can be seen of earlier stages, as zeros and levels of a packed file, is kept in
        all that follows.

    Raises:
        UserError: If it is missing, damaged, or needs code that safe mode does not run.

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
    file = Path(path)
    if file.suffix == ".packed":
        model = load_packed(file)
        forms = read_forms(file, model)
        return Network(model, model, tuple(map(AppliedStage, settings_left(model, forms))), forms)
    return network_of("import_model", load_model(file))
