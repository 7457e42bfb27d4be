"""KFP component: makes the LiteRT files of which a network's latency table is measured."""

import os

from kfp import dsl


@dsl.component(base_image=os.environ["POCKETKUBE_IMAGE"], install_kfp_package=False)
def prepare_latency_table(
    model: dsl.Input[dsl.Model],
    networks: dsl.Output[dsl.Artifact],
    formats: list = [],
    imports: list = [],
) -> None:
    """Makes the LiteRT files of which a network's latency table is measured, on whatever device.

    Args:
        model: Bundle of the network, uncompressed.
        networks: Gets the files of the network and of prunings of it.
        formats: In which numbers, as in [float32, int8]; empty for these two.
        imports: Modules with layers of your own, by name or as {name, source}; empty for none.
    """
    from pocketkube.stages.component import run_component

    run_component(
        "prepare_latency_table",
        {
            "formats": formats,
            "imports": imports,
        },
        networks.path,
        {"model": model},
    )
