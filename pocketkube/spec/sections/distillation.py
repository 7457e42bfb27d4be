"""The spec's section distillation: how teachers take part in training."""

from typing import Self

from pydantic import Field, model_validator

from pocketkube.spec.settings import Place, Settings

# Stands for the model that a job begins with, among distillation.teachers.
UNCOMPRESSED = "model"


class Distillation(Settings):
    """How the uncompressed model, or others, teach the compressed one (Hinton et al., 2015)."""

    temperature: float = Field(4.0, gt=0.0, description="Softens both distributions; loss times T².")
    weight: float = Field(
        0.5,
        ge=0.0,
        le=1.0,
        description="Share of the teachers' outputs in the loss; 0 is without them.",
    )
    features_weight: float = Field(
        0.0,
        ge=0.0,
        description="Of the distance of features after a learned projection (FitNets, Romero et al., "
        "2015), added to the loss.",
    )
    attention_weight: float = Field(
        0.0,
        ge=0.0,
        description="Of the distance of attention maps (Zagoruyko & Komodakis, 2017), added to the "
        "loss.",
    )
    layers: dict[str, Place] = Field(
        {},
        description="Whose features and attention are compared: {student_layer: teacher_layer}; the "
        "last activations at each resolution if unset.",
    )
    teachers: tuple[Place, ...] = Field(
        (),
        description="Who teaches: paths of .keras files or bundles, any architecture; model is the "
        "uncompressed one, which is alone if unset. Outputs are averaged, features are the first's.",
    )

    @model_validator(mode="after")
    def _layers_serve_a_term(self) -> Self:
        if self.layers and not self.compares_features:
            raise ValueError(
                "layers are compared by features_weight and attention_weight, which are both 0: give "
                "one of them, or leave layers out"
            )
        return self

    @property
    def compares_features(self) -> bool:
        """Whether the teacher's features count, beside its outputs."""
        return self.features_weight > 0 or self.attention_weight > 0

    @property
    def teaches(self) -> bool:
        """Whether any of the teachers' terms counts."""
        return self.weight > 0 or self.compares_features
