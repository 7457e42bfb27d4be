"""A process that evaluates trials, one after the other: it opens what they share once."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pocketkube.console.quiet import quiet_tensorflow
from pocketkube.importing import import_all
from pocketkube.native.serving import serve
from pocketkube.processes.cores import take_share
from pocketkube.spec.sections import Import

if TYPE_CHECKING:
    from pocketkube.search.evaluation import Evaluator


def evaluate(request: Mapping[str, Any]) -> Mapping[str, Any]:
    """Evaluates a trial.

    Args:
        request: The folder "prepared", the "choice", of how many processes this is one, "parallel", and
            the modules that it needs, "imports".
    """
    imports = tuple(map(Import.model_validate, request["imports"]))
    evaluator = _opened(str(request["prepared"]), int(request["parallel"]), imports)
    found = evaluator.evaluate(tuple(map(int, request["choice"])))
    return {"score": found.score, "costs": dict(found.costs), "seconds": found.seconds}


@cache
def _opened(prepared: str, parallel: int, imports: tuple[Import, ...]) -> "Evaluator":
    # They share the machine; TensorFlow looks when it starts.
    take_share(parallel)
    quiet_tensorflow()
    import_all(imports)
    from pocketkube.search.prepared import open_prepared

    return open_prepared(Path(prepared))


if __name__ == "__main__":
    serve(evaluate)
