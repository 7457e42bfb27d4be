"""The spec's section search: what is searched for, how long, and how a trial is judged."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from pocketkube.spec.settings import Settings

# The stages whose settings may be searched for, layer by layer.
Searched = Literal["prune_channels", "sparsify_weights", "quantize_weights"]
# Steps by which trials that cut channels are trained.
CHANNEL_STEPS = 25
SamplerName = Literal["ddpg", "tpe", "gp", "cmaes", "random", "milp", "uniform", "nsga2", "motpe"]


class Evaluate(Settings):
    """How a trial is judged, on validation examples alone."""

    fine_tune_steps: int | None = Field(
        None,
        ge=0,
        description="Steps of training, with training's settings, before a trial is scored; rounded up "
        "to whole passes over the training examples where these are fewer. If unset, 25 where channels "
        "are searched, without bits, and else 0.",
    )
    examples: int | None = Field(
        None, ge=1, description="Most validation examples that score a trial; all if unset."
    )
    calibration_examples: int = Field(
        512,
        ge=1,
        description="Training examples for the fit of what is left, BatchNorm's statistics and ranges.",
    )


class Front(Settings):
    """The two ends of a range of budgets, of the same kind as the budget that the target gives."""

    speedup: tuple[float, float] | None = Field(
        None, description="The least and the most speedup, as target.speedup counts it."
    )
    max_size: tuple[int, int] | None = Field(
        None, description="The least and the most of target.max_size, in bytes."
    )
    max_latency_ms: tuple[float, float] | None = Field(
        None, description="The least and the most of target.max_latency_ms."
    )
    mean_bits: tuple[float, float] | None = Field(
        None, description="The least and the most of search.mean_bits."
    )

    @property
    def ends(self) -> tuple[str, float, float]:
        """The budget's name, and the two ends, the lower number first."""
        ((name, (low, high)),) = ((n, ends) for n, ends in self if ends is not None)
        return name, float(low), float(high)

    @model_validator(mode="after")
    def _rises(self) -> Self:
        given = [name for name, ends in self if ends is not None]
        if len(given) != 1:
            raise ValueError(
                f"needs the range of one budget, as in {{speedup: [2, 6]}}; received "
                f"{' and '.join(given) or 'none'}"
            )
        name, low, high = self.ends
        floor = {"speedup": 1.0, "mean_bits": 2.0}.get(name, 0.0)
        if not floor < high or low >= high or low < floor or (low == floor and name != "mean_bits"):
            bound = f"{floor:g} or more" if name == "mean_bits" else f"above {floor:g}"
            raise ValueError(
                f"{name} has to rise from its first number, {bound}, to its second; received "
                f"[{low:g}, {high:g}]"
            )
        return self


class Search(Settings):
    """Finds each layer's kept channels, sparsity or bits under the target; `search_ratios` does it."""

    over: Annotated[tuple[Searched, ...], Field(min_length=1)] = Field(
        description="Stages whose ratios, or bits, are searched for together; each is one of stages."
    )
    trials: int = Field(100, ge=1, description="How many assignments are tried.")
    sampler: SamplerName = Field(
        "ddpg",
        description="What proposes them: reinforcement learning; three Bayesian or evolutionary "
        "samplers; chance; the exact solution of the sensitivity model; the same ratio in each layer. "
        "nsga2 and motpe are for a front.",
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
    front: Front | None = Field(
        None,
        description="Searches a range of budgets, {speedup: [2, 6]}, for the best score at each; the "
        "job goes on with what meets the target, which lies in it. Samplers: milp, nsga2, motpe, "
        "random, uniform.",
    )
    evaluate: Evaluate = Field(Evaluate(), description="How a trial is judged.")

    @property
    def fine_tune_steps(self) -> int:
        """Steps of training before a trial is scored."""
        if self.evaluate.fine_tune_steps is not None:
            return self.evaluate.fine_tune_steps
        # Of deep cuts, what is best before any training may be far from the best after it. To train
        # levels takes long, and to set other bits of what is calibrated nearly nothing.
        is_trained = "prune_channels" in self.over and "quantize_weights" not in self.over
        return CHANNEL_STEPS if is_trained else 0

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        twice = [name for name in self.over if self.over.count(name) > 1]
        if twice:
            raise ValueError(f"over names {twice[0]} twice; name each stage once")
        return self
