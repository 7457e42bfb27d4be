"""The spec's section training: how a network is trained, from scratch or on."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from pocketkube.spec.settings import Settings

Weight = Annotated[float, Field(ge=0.0)]


class Augmentation(Settings):
    """Random changes to training images. All off by default."""

    crop: float = Field(
        0.0,
        ge=0.0,
        le=1.0,
        description="Cut out a random part, of so much of the area at least, and bring it to the whole "
        "size; 0.08 is usual for ImageNet, and 0 is off.",
    )
    shift: int = Field(0, ge=0, description="Pad by so many pixels and crop back at random.")
    flip: bool = Field(False, description="Mirror left to right, one in two.")
    cutout: int = Field(0, ge=0, description="Side of a square set to zero, in pixels.")
    mixup: float = Field(0.0, ge=0.0, description="Alpha of mixup's Beta distribution.")


class Training(Settings):
    """One course of training, used for training from scratch and for fine-tuning."""

    epochs: int = Field(8, ge=1, description="Passes over the training data.")
    batch_size: int = Field(128, ge=1, description="Examples a step, over all workers.")
    gradient_accumulation_steps: int = Field(
        1,
        ge=1,
        description="Parts in which each worker computes its examples of a batch, one after the other, "
        "for want of memory. batch_size stays the examples of one update; BatchNorm sees a part at a "
        "time.",
    )
    optimizer: Literal["adamw", "sgd", "rmsprop", "lars", "lamb"] = Field(
        "adamw",
        description="Decoupled decay, Nesterov, or RMSProp as MobileNets were trained, with an "
        "epsilon of 1. For batches of thousands, lars (momentum) and lamb (Adam) take steps in "
        "proportion to each kernel's norm: learning_rate times it with lamb, a thousandth of that with "
        "lars, whose rates are 1 to 30.",
    )
    learning_rate: float = Field(2e-3, gt=0.0, description="The schedule's peak.")
    learning_rate_batch: int | None = Field(
        None,
        ge=1,
        description="The batch_size that learning_rate and those of stages are meant for, as 256 of "
        "ImageNet's 0.1: for another one the peak is as many times larger or smaller (Goyal et al., "
        "2017). For warming up there is warmup_fraction. Unset, rates are taken as they are.",
    )
    schedule: Literal["cosine", "step", "exponential", "one_cycle", "inverse_sqrt", "constant"] = Field(
        "one_cycle",
        description="How the rate moves: step by tenths, see schedule_steps; exponential to 0.98 of it "
        "with each epoch, as for MobileNets; inverse_sqrt falls with the square root of the step, as "
        "for the Transformer (Noam).",
    )
    schedule_steps: tuple[Annotated[float, Field(gt=0.0, lt=1.0)], ...] = Field(
        (0.5, 0.75),
        description="Parts of the course after which step takes a tenth of the rate: [0.333, 0.666, "
        "0.888] for epochs 30, 60 and 80 of 90.",
    )
    warmup_fraction: float = Field(
        0.2, ge=0.0, lt=1.0, description="Part of the steps on which the rate climbs to its peak."
    )
    weight_decay: float = Field(0.01, ge=0.0, description="On kernels, never on BatchNorm or bias.")
    momentum: float = Field(0.9, ge=0.0, lt=1.0, description="For sgd, rmsprop and lars.")
    label_smoothing: float = Field(0.0, ge=0.0, lt=1.0, description="For classification.")
    class_weights: Literal["balanced"] | tuple[Weight, ...] | None = Field(
        None,
        description="What the loss of each class counts: balanced, so that rare classes count as much "
        "as frequent ones, or a number for each, as in {0: 1, 1: 5} or [1, 5]. Scores have no weights.",
    )
    clip_norm: float | None = Field(None, gt=0.0, description="Most a step's gradient may measure.")
    mixed_precision: bool = Field(False, description="Float16 arithmetic, for GPUs.")
    gradient_compression: Literal["fp16"] | None = Field(
        None,
        description="fp16: gradients have 16 bits on their way between workers, half the bytes. The "
        "loss is scaled as with mixed_precision; steps whose sums 16 bits cannot hold are left out.",
    )
    ema: float | None = Field(
        None, gt=0.0, lt=1.0, description="Decay of an average of the weights that is kept instead."
    )
    keep: Literal["best", "last"] = Field(
        "best",
        description="Whose weights training ends with: those of the last epoch whose validation score "
        "is as good as the best one's, as far as chance can tell, or those of the last epoch. Where a "
        "stage makes weights zero step by step, epochs count once all of them are.",
    )
    workers: int = Field(
        1, ge=1, description="Horovod processes that train together; more than one needs make horovod."
    )
    sync_batch_norm: bool = Field(
        False,
        description="BatchNorm takes its mean and variance over the examples of all workers, not over "
        "each worker's own: for workers with few. Each such layer then waits for all of them.",
    )
    checkpoint_steps: int = Field(50, ge=1, description="Steps between checkpoints.")
    augmentation: Augmentation = Field(Augmentation(), description="Random changes to images.")

    @property
    def scales_loss(self) -> bool:
        """Whether gradients have 16 bits somewhere: their scale follows from what these can hold."""
        return self.mixed_precision or self.gradient_compression is not None

    def peak_learning_rate(self, batch_size: int) -> float:
        """The rate at the schedule's peak.

        Args:
            batch_size: Examples of a batch; fewer than `batch_size` asks for where there are no more.
        """
        if self.learning_rate_batch is None:
            return self.learning_rate
        return self.learning_rate * batch_size / self.learning_rate_batch

    @field_validator("class_weights", mode="before")
    @classmethod
    def _a_number_for_each(cls, value: Any) -> Any:
        if value is None or value == "balanced":
            return value
        if isinstance(value, dict):
            known = {str(key): each for key, each in value.items()}
            numbers = {int(k): each for k, each in known.items() if k.isdecimal() and len(k) < 7}
            if len(numbers) < len(value) or not numbers:
                raise ValueError(
                    f"names classes by their numbers, as in {{0: 1, 1: 5}}; received {value}"
                )
            value = [numbers.get(number, 1.0) for number in range(1 + max(numbers))]
        if not isinstance(value, list | tuple):
            raise ValueError(f"is balanced, or a number for each class; received {value!r}")
        if not value or not all(type(each) in (int, float) and each >= 0 for each in value):
            raise ValueError(f"are numbers of 0 or more; received {list(value)}")
        return tuple(map(float, value))

    @model_validator(mode="after")
    def _every_worker_has_examples(self) -> Self:
        if self.batch_size < self.workers:
            raise ValueError(
                f"batch_size {self.batch_size} leaves some of {self.workers} workers without an "
                "example; it counts the examples of all workers together"
            )
        return self

    @model_validator(mode="after")
    def _every_part_has_examples(self) -> Self:
        each = self.batch_size // self.workers
        if self.gradient_accumulation_steps > each:
            raise ValueError(
                f"gradient_accumulation_steps {self.gradient_accumulation_steps} is more than the "
                f"{each} examples that a worker has of batch_size {self.batch_size}; use at most {each}"
            )
        return self
