"""Which features of a student are compared with which of its teacher."""

from collections.abc import Mapping
from math import log, prod

from pocketkube.distillation.observed import Features
from pocketkube.errors import UserError, did_you_mean

# Layers, operations and activation functions that end a block; gates (sigmoid) and softmax do not.
_ACTIVATIONS = {
    *("relu", "relu6", "leakyrelu", "prelu", "elu", "selu", "gelu", "silu", "swish", "mish", "tanh"),
    *("hardsilu", "hardswish", "celu", "glu", "softplus"),
}
_LISTED = 20

Pair = tuple[Features, Features]


def chosen_pairs(student: Mapping[str, Features], teacher: Mapping[str, Features]) -> list[Pair]:
    """Pairs the last activations at each resolution.

    A student's is compared with the teacher's that is nearest in its number of positions; where
    several have the same nearest one, only the nearest of them is.

    Args:
        student: The student's features in the order of computation.
        teacher: The teacher's.

    Returns:
        The student's features and the teacher's of each pair.

    Raises:
        UserError: If one of them has no activations over several positions.
    """
    pairs: dict[str, Pair] = {}
    theirs = _last_of_each_resolution("teacher", teacher)
    for ours in _last_of_each_resolution("student", student):
        fitting = [each for each in theirs if len(each.shape) == len(ours.shape)]
        if not fitting:
            continue
        nearest = min(fitting, key=lambda each: _gap(ours, each))
        rival = pairs.get(nearest.path)
        if rival is None or _gap(ours, nearest) < _gap(*rival):
            pairs[nearest.path] = (ours, nearest)
    if not pairs:
        raise _to_be_named("student's and teacher's activations have no positions in common")
    return list(pairs.values())


def named_pairs(
    names: Mapping[str, str],
    student: Mapping[str, Features],
    teacher: Mapping[str, Features],
    *,
    attention: bool,
) -> list[Pair]:
    """Pairs of layers by their names.

    Args:
        names: For each layer of the student, the teacher's.
        student: The student's features.
        teacher: The teacher's.
        attention: Whether the pairs need positions for attention maps.

    Returns:
        The student's features and the teacher's of each pair.

    Raises:
        UserError: If there is no such layer, or the features of a pair cannot be compared.
    """
    pairs = []
    for ours, theirs in names.items():
        pair = _named("student", ours, student), _named("teacher", theirs, teacher)
        axes = {len(each.shape) for each in pair}
        if len(axes) > 1 or 0 in axes:
            raise UserError(
                f"distillation.layers: {ours} gives {_size(pair[0])} and the teacher's {theirs} "
                f"{_size(pair[1])}; they need as many axes."
            )
        if attention and axes == {1}:
            raise UserError(
                f"distillation.layers: {ours} has no positions, which attention_weight compares; name "
                "layers before pooling or flattening, or set attention_weight to 0."
            )
        pairs.append(pair)
    return pairs


def _last_of_each_resolution(whose: str, features: Mapping[str, Features]) -> list[Features]:
    last = {
        each.shape[:-1]: each
        for each in features.values()
        if prod(each.shape[:-1]) > 1 and _is_activation(each.op)
    }
    if not last:
        raise _to_be_named(f"the {whose} has no activations over several positions")
    return list(last.values())


def _to_be_named(reason: str) -> UserError:
    return UserError(
        f"distillation: {reason}, as features_weight and attention_weight compare them; name layers "
        "under distillation.layers, as in {student_layer: teacher_layer}."
    )


def _is_activation(op: object) -> bool:
    function = getattr(op, "activation", None)
    name = getattr(function, "__name__", type(function).__name__ if function else type(op).__name__)
    return name.replace("_", "").lower() in _ACTIVATIONS


def _gap(ours: Features, theirs: Features) -> float:
    return abs(log(prod(ours.shape[:-1])) - log(prod(theirs.shape[:-1])))


def _named(whose: str, name: str, features: Mapping[str, Features]) -> Features:
    if name in features:
        return features[name]
    hint = did_you_mean(name, features, most=3)
    if not hint:
        shown = list(features)[:_LISTED]
        more = len(features) - len(shown)
        hint = f"there are: {', '.join(shown)}{f' and {more} more' if more else ''}."
    raise UserError(f"distillation.layers: {name} is no layer of the {whose}; {hint}")


def _size(features: Features) -> str:
    return " x ".join(map(str, features.shape)) or "a single number"
