"""Whether what a spec names is there: on a cluster, before anything costly starts."""

import hashlib
import json
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

from pocketkube.errors import UserError
from pocketkube.models.names import check_name
from pocketkube.spec import Spec
from pocketkube.spec.model_files import is_model_file
from pocketkube.spec.sections import DistillModel
from pocketkube.stages.configs import BuildReportConfig, StageConfig
from pocketkube.stages.outside import named_outside, stamp_of
from pocketkube.storage import is_uri


def looked_up(spec: Spec, called: Callable[[str], str] = str) -> str:
    """Looks for networks and modules by name, for all else by its address; refuses what is not there.

    Args:
        spec: The job.
        called: What messages call a key of it.

    Returns:
        What changes where any of it does; empty where nothing is named.

    Raises:
        UserError: If there is no such network or module, an address holds nothing, a file is not here,
            or a server is away or refuses.
    """
    if is_uri(spec.model) and not is_model_file(spec.model):
        raise UserError(
            f"{called('model')}: {spec.model} is no .keras, .h5 or .hdf5 file; save the network as one"
        )
    for key, network in _networks(spec):
        try:
            check_name(network)
        except UserError as error:
            raise error.saying(f"{called(key)}: {error}") from error
    for module in spec.imports:
        if not module.packed and not _is_there(module.name.split(".")[0]):
            raise UserError(
                f"{called('imports')}: there is no module {module.name} in the image; give its text, "
                "as {name: my_layers, source: …}"
            )
    return held_by(BuildReportConfig.of(spec), called)


def held_by(config: StageConfig, called: Callable[[str], str] = str) -> str:
    """What changes where anything does that a config names outside; empty where it names nothing.

    Args:
        config: The config.
        called: What messages call a key of it.

    Raises:
        UserError: If an address holds nothing, a file is not here, or a server is away or refuses.
    """
    stamps = [stamp_of(called(key), text) for key, text in named_outside(config)]
    return hashlib.sha256(json.dumps(stamps).encode()).hexdigest()[:16] if stamps else ""


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (ValueError, ImportError):
        return False


def _networks(spec: Spec) -> Iterator[tuple[str, str]]:
    """The networks that are no files: where the spec names each, and its name."""
    if not is_model_file(spec.model):
        yield "model", spec.model
    for stage in spec.stages:
        if isinstance(stage, DistillModel) and not is_model_file(stage.student):
            yield f"stages.{stage.name}.student", stage.student


def check_reachable(spec: Spec) -> None:
    """Refuses paths of this machine in a spec that is to run on a cluster.

    An absolute path that is not here may be one of the image.

    Args:
        spec: The job.

    Raises:
        UserError: If there is one.
    """
    for name, text in named_outside(BuildReportConfig.of(spec)):
        if not is_uri(text) and (not Path(text).is_absolute() or Path(text).exists()):
            raise UserError(
                f"{name}: {text} is a path of this machine, which no pod of a cluster sees; upload it "
                "and give its s3:// address, or the absolute path of a file in the image"
            )
