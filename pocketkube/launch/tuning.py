"""Horovod's own settings, which whoever starts a job has in the environment and its pods are given."""

from collections.abc import Mapping

# What makes messages larger, rarer or more visible; nothing that says where processes are.
_NAMES = (
    "HOROVOD_BATCH_D2D_MEMCOPIES",
    "HOROVOD_CACHE_CAPACITY",
    "HOROVOD_CYCLE_TIME",
    "HOROVOD_DISABLE_GROUP_FUSION",
    "HOROVOD_FUSION_THRESHOLD",
    "HOROVOD_HIERARCHICAL_ALLGATHER",
    "HOROVOD_HIERARCHICAL_ALLREDUCE",
    "HOROVOD_LOG_LEVEL",
    "HOROVOD_NUM_NCCL_STREAMS",
    "HOROVOD_THREAD_AFFINITY",
)
_PREFIXES = ("HOROVOD_AUTOTUNE", "HOROVOD_STALL_", "HOROVOD_TIMELINE", "HOROVOD_TORUS_")


def tuning_of(environment: Mapping[str, str]) -> dict[str, str]:
    """The settings of an environment; no other variable is among them."""
    return {
        name: value
        for name, value in environment.items()
        if name in _NAMES or name.startswith(_PREFIXES)
    }
