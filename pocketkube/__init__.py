"""PocketKube makes trained Keras networks small and fast enough for phones.

    import pocketkube as pk

    small = pk.prune(model, speedup=2)
    small = pk.fine_tune(small, data, teacher=model)
    small = pk.quantize(small, data, bits=8)
    pk.export(small, "net.tflite")

What a name stands for is imported when it is first used, and TensorFlow with it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pocketkube.api.benchmark import Benchmarked, benchmark
    from pocketkube.api.cluster import cluster
    from pocketkube.api.compare import Comparison, compare
    from pocketkube.api.data import Splits
    from pocketkube.api.distil import distil
    from pocketkube.api.export import Exported, export
    from pocketkube.api.fine_tune import fine_tune
    from pocketkube.api.import_model import import_model
    from pocketkube.api.network import Network
    from pocketkube.api.profile import ModelProfile, profile
    from pocketkube.api.prune import prune
    from pocketkube.api.quantize import quantize
    from pocketkube.api.register_layer import register_layer
    from pocketkube.api.sparsify import sparsify
    from pocketkube.errors import RejectedFile, UserError
    from pocketkube.pruning.pruner import Pruner

__version__ = "0.1.0"

__all__ = [
    "Benchmarked",
    "Comparison",
    "Exported",
    "ModelProfile",
    "Network",
    "Pruner",
    "RejectedFile",
    "Splits",
    "UserError",
    "benchmark",
    "cluster",
    "compare",
    "distil",
    "export",
    "fine_tune",
    "import_model",
    "profile",
    "prune",
    "quantize",
    "register_layer",
    "sparsify",
]

_CLASSES = {
    "Benchmarked": "api.benchmark",
    "Comparison": "api.compare",
    "Exported": "api.export",
    "ModelProfile": "api.profile",
    "Network": "api.network",
    "Pruner": "pruning.pruner",
    "RejectedFile": "errors",
    "Splits": "api.data",
    "UserError": "errors",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # A function stands in the file that has its name.
    module = import_module(f"{__name__}.{_CLASSES.get(name, f'api.{name}')}")
    value = globals()[name] = getattr(module, name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
