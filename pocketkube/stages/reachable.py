"""Whether what a spec names is there: on a cluster, before anything costly starts."""

import hashlib
import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from pocketkube.errors import UserError
from pocketkube.spec import Spec
from pocketkube.stages.configs import BuildReportConfig, StageConfig
from pocketkube.stages.outside import named_outside, refuse_unknown_networks, stamp_of
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
    refuse_unknown_networks(spec, called)
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
