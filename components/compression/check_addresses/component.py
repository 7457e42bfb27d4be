"""KFP component: looks at what a spec's addresses hold, for Kubeflow's cache to see."""

import os
from typing import NamedTuple

from kfp import dsl


@dsl.component(base_image=os.environ["POCKETKUBE_IMAGE"], install_kfp_package=False)
def check_addresses(
    model: str,
    stages: list,
    dataset: dict = {},
    task: dict = {},
    target: dict = {},
    search: dict = {},
    training: dict = {},
    distillation: dict = {},
    imports: list = [],
) -> NamedTuple("Addresses", [("held", str)]):  # type: ignore[valid-type]
    """Looks at what addresses of a spec hold, so that Kubeflow repeats a task where that has changed.

    An address that holds nothing is refused in one line, before anything costly starts.

    Args:
        model: A built-in network's name, or the path of a .keras file.
        stages: Settings of all of the job's stages, each with its name.
        dataset: Where the examples are, as in {builtin: digits}; empty where there are none.
        task: What the labels are, where they do not tell, as in {landmarks: {}}.
        target: What the compressed network has to reach, as in {speedup: 2}.
        search: What is searched for, and how; empty where nothing is.
        training: How networks are trained; empty for the defaults.
        distillation: The teachers' part; empty for the defaults.
        imports: Modules with layers of your own, by name or as {name, source}; empty for none.
    """
    from pocketkube.stages.call import config_of
    from pocketkube.stages.component import ending_in_one_line, given
    from pocketkube.stages.reachable import held_by

    with ending_in_one_line():
        parameters = {
            "model": model,
            "stages": stages,
            "dataset": dataset,
            "task": task,
            "target": target,
            "search": search,
            "training": training,
            "distillation": distillation,
            "imports": imports,
        }
        return (held_by(config_of("build_report", given(parameters))),)
