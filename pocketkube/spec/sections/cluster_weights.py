"""The settings of the stage cluster_weights."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from pocketkube.spec.sections.buckets import check_bucket_size, with_bucket_size
from pocketkube.spec.sections.stage import StageBase, Trait


class ClusterWeights(StageBase):
    """Replaces each kernel's weights by a few values that are learnt (Deep Compression, 2016)."""

    name: Literal["cluster_weights"] = "cluster_weights"
    bits: int = Field(4, ge=1, le=8, description="A codebook has two to the power of this many values.")
    layers: dict[str, Annotated[int, Field(ge=0, le=8)]] = Field(
        {}, description="Bits by a layer's name, where they differ; 0 leaves its weights as they are."
    )
    granularity: Literal["tensor", "channel", "bucket"] = Field(
        "tensor",
        description="What has a codebook of its own: a kernel, an output channel of it, or so many "
        "weights of a channel.",
    )
    bucket_size: int | None = Field(
        None, ge=1, description="Weights of a bucket, with granularity bucket; 512 there if unset."
    )
    initialization: Literal["kmeans", "quantile"] = Field(
        "kmeans",
        description="Values that are nearest to the weights, or that are taken equally often.",
    )
    train: Literal["weights", "centroids", "both"] = Field(
        "both",
        description="Which value a weight has, the values themselves, or both; biases and what "
        "normalises are trained in any case.",
    )
    epochs: int | None = Field(
        None, ge=0, description="Instead of half of training's; 0 replaces weights without training."
    )
    learning_rate: float | None = Field(None, gt=0.0, description="Instead of training's.")

    @model_validator(mode="before")
    @classmethod
    def _buckets_have_a_size(cls, value: Any) -> Any:
        return with_bucket_size(value, 512)

    @model_validator(mode="after")
    def _only_buckets_have_a_size(self) -> Self:
        check_bucket_size(self.granularity, self.bucket_size)
        return self

    @property
    def leaves(self) -> frozenset[Trait]:
        """What the model is after this stage."""
        return super().leaves | {Trait.CODEBOOKS}

    @property
    def breaks(self) -> Mapping[Trait, str]:
        """What the model must not be before this stage, with why and what to do instead."""
        return {
            **super().breaks,
            Trait.CODEBOOKS: (
                "a second {later} could only choose among the values that the first has left; "
                "give one, with bits by layer under its layers"
            ),
            Trait.LEVELS: ("{later} changes what {earlier} has put on levels; give one of the two"),
        }
