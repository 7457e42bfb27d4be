"""The spec's section search: what is searched for, how long, and how a trial is judged."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from pocketkube.spec.settings import Settings

# The stages whose settings may be searched for, layer by layer.
Searched = Literal["prune_channels", "sparsify_weights", "quantize_weights"]
SamplerName = Literal["ddpg", "tpe", "gp", "cmaes", "random", "milp", "uniform"]


class Evaluate(Settings):
    """How a trial is judged, on validation examples alone."""

    fine_tune_steps: int = Field(
        0, ge=0, description="Steps of training, with training's settings, before a trial is scored."
    )
    examples: int | None = Field(
        None, ge=1, description="Most validation examples that score a trial; all if unset."
    )
    calibration_examples: int = Field(
        512,
        ge=1,
        description="Training examples for the fit of what is left, BatchNorm's statistics and ranges.",
    )


class Search(Settings):
    """Finds each layer's kept channels, sparsity or bits under the target; `search_ratios` does it."""

    over: Annotated[tuple[Searched, ...], Field(min_length=1)] = Field(
        description="Stages whose ratios, or bits, are searched for together; each is one of stages."
    )
    trials: int = Field(100, ge=1, description="How many assignments are tried.")
    sampler: SamplerName = Field(
        "ddpg",
        description="What proposes them: reinforcement learning; three Bayesian or evolutionary "
        "samplers; chance; the exact solution of the sensitivity model; the same ratio in each layer.",
    )
    parallel: int = Field(
        1,
        ge=1,
        description="Trials at a time: processes here, pods under Katib. Here equal seeds give equal "
        "trials where this is equal, too.",
    )
    tie: Literal["none", "block", "stage"] = Field(
        "none",
        description="Which layers share a value: none do, those of a block, or those of a stage, whose "
        "outputs have the same size.",
    )
    mean_bits: float | None = Field(
        None,
        ge=2.0,
        le=8.0,
        description="Most bits that a weight may have in the mean, where quantize_weights is searched "
        "and no target.max_size is given.",
    )
    evaluate: Evaluate = Field(Evaluate(), description="How a trial is judged.")

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        twice = [name for name in self.over if self.over.count(name) > 1]
        if twice:
            raise ValueError(f"over names {twice[0]} twice; name each stage once")
        return self
