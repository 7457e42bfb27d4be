"""KFP component: measures how long a network's layers take at any channels, on a node asked for."""

import os

from kfp import dsl


@dsl.component(base_image=os.environ["POCKETKUBE_IMAGE"], install_kfp_package=False)
def measure_latency_table(
    networks: dsl.Input[dsl.Artifact],
    table: dsl.Output[dsl.Artifact],
    threads: int = 1,
    rounds: int = 5,
    cluster: dict = {},
) -> None:
    """Measures how long the layers of a network take at any channels, on a node that is asked for.

    Args:
        networks: What prepare_latency_table made.
        table: Gets latency_table.json, which a spec may name as target.latency_table.
        threads: With how many threads.
        rounds: How often all is measured; the fastest time counts.
        cluster: On which node, by its section benchmark; empty to measure where this runs.
    """
    from pocketkube.stages.component import run_component

    run_component(
        "measure_latency_table",
        {
            "threads": threads,
            "rounds": rounds,
            "cluster": cluster,
        },
        table.path,
        {"networks": networks},
    )
