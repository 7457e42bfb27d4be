"""The settings of any stage, and the names under which stages stand in a spec."""

from typing import Annotated, Any, get_args

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    ValidatorFunctionWrapHandler,
    WrapSerializer,
    WrapValidator,
)

from pocketkube.extension import stages
from pocketkube.spec.added import checked
from pocketkube.spec.sections import (
    ClusterWeights,
    DistillModel,
    FineTune,
    PruneChannels,
    Quantize,
    QuantizeWeights,
    SparsifyWeights,
    StageBase,
)

AnyStage = (
    DistillModel
    | PruneChannels
    | SparsifyWeights
    | ClusterWeights
    | FineTune
    | QuantizeWeights
    | Quantize
)
STAGE_NAMES: tuple[str, ...] = tuple(
    name
    for settings in get_args(AnyStage)
    for name in get_args(settings.model_fields["name"].annotation)
)


def added_stage(name: object) -> type[StageBase] | None:
    """The settings' class of a stage that a package adds; None if there is none of that name."""
    if not isinstance(name, str) or name in STAGE_NAMES or name not in stages.names(STAGE_NAMES):
        return None
    # A stage that is added brings its settings along: here alone a spec asks what stages there are.
    from pocketkube.stages.registry import stage_named

    return stage_named(name).settings


def _read(value: Any, builtin: ValidatorFunctionWrapHandler) -> Any:
    name = value.get("name") if isinstance(value, dict) else getattr(value, "name", None)
    kind = added_stage(name)
    return builtin(value) if kind is None else checked(kind, str(name), value)


def _write(value: StageBase, builtin: SerializerFunctionWrapHandler, info: Any) -> Any:
    if isinstance(value, get_args(AnyStage)):
        return builtin(value)
    return value.model_dump(mode=info.mode, exclude_defaults=info.exclude_defaults)


StageSettings = Annotated[
    Annotated[AnyStage, Field(discriminator="name")], WrapValidator(_read), WrapSerializer(_write)
]
