"""How important a channel is: one file a criterion, known by name in a registry.

To add one, subclass `pocketkube.pruning.criteria.base.Criterion`; see `pocketkube.extension`.
"""

from pocketkube.pruning.criteria.by_name import (
    BUILT_IN,
    always_fits,
    criterion_named,
    criterion_names,
)

__all__ = ["BUILT_IN", "always_fits", "criterion_named", "criterion_names"]
