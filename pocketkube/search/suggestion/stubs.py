"""Katib's gRPC messages and services, as the package kubeflow-katib has them.

The package's own `__init__` imports Katib's client and a Kubernetes client with it, which take three
times the memory that Katib gives a suggestion service. So the folder is put in its place without it.
"""

import sys
from importlib import import_module
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

from pocketkube.errors import UserError

_PACKAGE = "kubeflow.katib"


def stubs() -> tuple[Any, Any]:
    """The modules katib_api_pb2 and katib_api_pb2_grpc.

    Raises:
        UserError: If kubeflow-katib is not installed.
    """
    if _PACKAGE not in sys.modules:
        package = ModuleType(_PACKAGE)
        package.__path__ = _folders()
        sys.modules[_PACKAGE] = package
    return import_module(f"{_PACKAGE}.katib_api_pb2"), import_module(f"{_PACKAGE}.katib_api_pb2_grpc")


def _folders() -> list[str]:
    kubeflow = PathFinder.find_spec("kubeflow")
    places = list(kubeflow.submodule_search_locations or ()) if kubeflow else []
    found = [str(Path(place, "katib")) for place in places if Path(place, "katib").is_dir()]
    if not found:
        raise UserError(
            "The suggestion service speaks by the messages of the package kubeflow-katib, which is "
            "missing: install requirements/suggestion.lock into an environment of its own."
        )
    return found
