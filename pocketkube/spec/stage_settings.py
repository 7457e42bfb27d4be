"""The settings of any stage, and the names under which stages stand in a spec."""

from typing import Annotated, get_args

from pydantic import Field

from pocketkube.spec.sections import (
    ClusterWeights,
    DistillModel,
    FineTune,
    PruneChannels,
    Quantize,
    QuantizeWeights,
    SparsifyWeights,
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
StageSettings = Annotated[AnyStage, Field(discriminator="name")]
STAGE_NAMES: tuple[str, ...] = tuple(
    name
    for settings in get_args(AnyStage)
    for name in get_args(settings.model_fields["name"].annotation)
)
