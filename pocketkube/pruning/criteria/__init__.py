"""How important a channel is: one file a criterion, known by name in a registry.

To add one, subclass `pocketkube.pruning.criteria.base.Criterion` and put `@register` before the class.
"""

from pocketkube.pruning.criteria.registry import (
    Registered,
    criterion_named,
    known_criteria,
    register,
)

__all__ = ["Registered", "criterion_named", "known_criteria", "register"]
