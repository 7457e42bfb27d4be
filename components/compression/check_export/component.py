"""KFP component: tries the conversions that a job ends in, before anything is trained."""

import os

from kfp import dsl

IMAGE = os.environ.get("POCKETKUBE_IMAGE", "pocketkube:0.1.0")


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def check_export(
    spec: dict,
    check: dsl.Output[dsl.Artifact],
) -> None:
    """Tries the conversions that a job ends in, before anything is trained.

    Args:
        spec: The job, as `pocketkube spec --explain` tells.
        check: Gets check.json: the format, and the size of the file before anything is cut.
    """
    from pocketkube.stages.component import run_component

    run_component("check_export", spec, {}, check.path)
