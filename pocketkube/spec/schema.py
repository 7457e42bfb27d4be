"""The fields of a spec: names, defaults, allowed values and what each one means."""

from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

Ratio = Annotated[float, Field(ge=0.0, lt=1.0)]
Count = Annotated[int, Field(ge=1)]
Bits = Annotated[int, Field(ge=1, le=8)]
Place = Annotated[str, Field(min_length=1)]


# Pipelines hand numbers on as doubles, which hold all whole numbers up to here.
LARGEST_WHOLE = 2**53


class Settings(BaseModel):
    """Refuses unknown keys, and cannot be changed after it was read.

    Null is the same as leaving a field out: where a setting can be switched off and is on by default,
    it has a word for that, for a pipeline's parameters hold no null.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*")
    @classmethod
    def _survives_as_a_double(cls, value: Any) -> Any:
        for number in value if isinstance(value, tuple) else (value,):
            if type(number) is int and number > LARGEST_WHOLE:
                raise ValueError(f"must be at most {LARGEST_WHOLE}; received {number}")
        return value


class Target(Settings):
    """What the compressed model has to reach. Give at least one."""

    speedup: float | None = Field(
        None, gt=1.0, description="MACs before over MACs after, as the papers count it."
    )
    max_accuracy_drop: float | None = Field(
        None,
        ge=0.0,
        description="Most that accuracy may fall, or an error rise: 0.01 is one point of accuracy or "
        "of NME.",
    )
    max_size: int | None = Field(None, gt=0, description="Most bytes model.tflite may have.")
    max_latency_ms: float | None = Field(
        None, gt=0.0, description="Most that the median latency may be, measured, one thread."
    )

    @model_validator(mode="after")
    def _something_is_asked_for(self) -> Self:
        if all(value is None for value in self.__dict__.values()):
            raise ValueError(
                "asks for nothing: give speedup, max_accuracy_drop, max_size or max_latency_ms"
            )
        return self

    @property
    def judges_the_file(self) -> bool:
        """Whether only the converted file can tell if the target is met."""
        return self.max_size is not None or self.max_latency_ms is not None


class DatasetSettings(Settings):
    """Where the examples are. Exactly one of builtin, npz, idx, cifar10, cifar100, ...

    A name alone, `dataset: digits`, means `{builtin: digits}`.
    """

    builtin: Literal["digits"] | None = Field(
        None, description="A data set that comes with the Python packages."
    )
    npz: Place | None = Field(None, description="A NumPy file with x and y, or x0, x1, … y0, y1, ….")
    idx: Place | None = Field(None, description="A folder of MNIST's IDX files, gzipped or not.")
    cifar10: Place | None = Field(None, description="CIFAR-10's folder or archive, binary or python.")
    cifar100: Place | None = Field(None, description="CIFAR-100's, likewise; fine labels.")
    image_folder: Place | None = Field(
        None, description="A folder with a folder of images for each class."
    )
    tfrecord: Place | None = Field(
        None, description="A file pattern of TFRecords with image/encoded and image/class/label."
    )
    image_size: tuple[Count, Count] | None = Field(
        None,
        description="Height and width that images are brought to; needed where they differ. "
        "idx puts its images in the middle of a black frame where this is larger, as is usual for "
        "MNIST; all else is resized. Digits are 32 x 32 if unset.",
    )
    value_range: tuple[float, float] = Field(
        (0.0, 1.0),
        description="What an image's 0 and 255 become; [0, 255] leaves them as they are.",
    )
    validation_fraction: float = Field(
        0.1, gt=0.0, lt=0.5, description="Part of the training data held out for decisions."
    )
    test_fraction: float = Field(
        0.2, gt=0.0, lt=0.5, description="Part held out for the report, where there is no test set."
    )
    max_train: int | None = Field(
        None, gt=0, description="Use only the first so many training examples."
    )

    @model_validator(mode="before")
    @classmethod
    def _a_name_alone(cls, value: Any) -> Any:
        return {"builtin": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _exactly_one_source(self) -> Self:
        given = [name for name in SOURCES if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(
                f"needs exactly one of {', '.join(SOURCES)}; received {' and '.join(given) or 'none'}"
            )
        if self.value_range[0] >= self.value_range[1]:
            raise ValueError(
                "value_range must rise, as in [0, 1]; received "
                f"[{self.value_range[0]:g}, {self.value_range[1]:g}]"
            )
        return self

    @property
    def source(self) -> tuple[str, str]:
        """The kind of source and where it is, as in ("npz", "faces.npz")."""
        return next((name, getattr(self, name)) for name in SOURCES if getattr(self, name))


SOURCES = ("builtin", "npz", "idx", "cifar10", "cifar100", "image_folder", "tfrecord")


class Landmarks(Settings):
    """Points in an image, `[N, K, 2]` or `[N, 2K]`, judged by their normalised mean error (NME)."""

    normalize_by: Literal["box_size", "box_diagonal"] | tuple[int, int] = Field(
        "box_size",
        description="What an image's errors are divided by: the distance of two of its true points, as "
        "[36, 45], the outer eye corners of 300-W; or the size, the root of the area, or the diagonal "
        "of the box around them all.",
    )

    @field_validator("normalize_by", mode="before")
    @classmethod
    def _a_box_or_two_points(cls, value: Any) -> Any:
        pair = isinstance(value, list | tuple) and len(value) == 2 and len(set(map(str, value))) == 2
        if value in ("box_size", "box_diagonal") or (
            pair and all(type(point) is int and point >= 0 for point in value)
        ):
            return value
        raise ValueError(
            "must be box_size, box_diagonal or the numbers of two points, as in [36, 45]; received "
            f"{list(value) if isinstance(value, tuple) else value!r}"
        )


class TaskSettings(Settings):
    """What the labels are, where they do not tell: class numbers and mere values do.

    A name alone, `task: landmarks`, means `{landmarks: {}}`.
    """

    landmarks: Landmarks = Field(description="Points in an image.")

    @model_validator(mode="before")
    @classmethod
    def _a_name_alone(cls, value: Any) -> Any:
        if isinstance(value, str) and value not in cls.model_fields:
            raise ValueError(f"{value!r} is not a task; use {', '.join(cls.model_fields)}")
        named = {value: {}} if isinstance(value, str) else value
        if isinstance(named, dict):
            return {name: {} if given is None else given for name, given in named.items()}
        return named


class Augmentation(Settings):
    """Random changes to training images. All off by default."""

    shift: int = Field(0, ge=0, description="Pad by so many pixels and crop back at random.")
    flip: bool = Field(False, description="Mirror left to right, one in two.")
    cutout: int = Field(0, ge=0, description="Side of a square set to zero, in pixels.")
    mixup: float = Field(0.0, ge=0.0, description="Alpha of mixup's Beta distribution.")


class Training(Settings):
    """One course of training, used for training from scratch and for fine-tuning."""

    epochs: int = Field(8, ge=1, description="Passes over the training data.")
    batch_size: int = Field(128, ge=1, description="Examples a step, over all workers.")
    optimizer: Literal["adamw", "sgd"] = Field("adamw", description="Decoupled decay, or Nesterov.")
    learning_rate: float = Field(2e-3, gt=0.0, description="The schedule's peak.")
    schedule: Literal["cosine", "step", "one_cycle", "constant"] = Field(
        "one_cycle", description="How the rate moves: step is a tenth at 1/2 and at 3/4."
    )
    warmup_fraction: float = Field(
        0.2, ge=0.0, lt=1.0, description="Part of the steps on which the rate climbs to its peak."
    )
    weight_decay: float = Field(0.01, ge=0.0, description="On kernels, never on BatchNorm or bias.")
    momentum: float = Field(0.9, ge=0.0, lt=1.0, description="For sgd.")
    label_smoothing: float = Field(0.0, ge=0.0, lt=1.0, description="For classification.")
    clip_norm: float | None = Field(None, gt=0.0, description="Most a step's gradient may measure.")
    mixed_precision: bool = Field(False, description="Float16 arithmetic, for GPUs.")
    ema: float | None = Field(
        None, gt=0.0, lt=1.0, description="Decay of an average of the weights that is kept instead."
    )
    keep: Literal["best", "last"] = Field(
        "best",
        description="Whose weights training ends with: those of the epoch with the best validation "
        "score, the later one of two that are alike, or those of the last epoch. Where a stage makes "
        "weights zero step by step, epochs count once all of them are.",
    )
    workers: int = Field(
        1, ge=1, description="Horovod processes that train together; more than one needs make horovod."
    )
    checkpoint_steps: int = Field(50, ge=1, description="Steps between checkpoints.")
    augmentation: Augmentation = Field(Augmentation(), description="Random changes to images.")

    @model_validator(mode="after")
    def _every_worker_has_examples(self) -> Self:
        if self.batch_size < self.workers:
            raise ValueError(
                f"batch_size {self.batch_size} leaves some of {self.workers} workers without an "
                "example; it counts the examples of all workers together"
            )
        return self


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


class Benchmark(Settings):
    """How latency is measured."""

    runs: int = Field(
        100,
        ge=5,
        description="Timed runs of each model and thread count; up to ten times as many until "
        "precision is reached.",
    )
    precision: float = Field(
        0.05,
        gt=0.0,
        description="How wide the 95 % interval of the latency ratio may be, as a part of the ratio.",
    )
    max_seconds: float = Field(
        30.0, gt=0.0, description="No further runs after this long, for each thread count."
    )
    warmup_runs: int = Field(10, ge=0, description="Runs before the timed ones.")
    threads: tuple[Count, ...] = Field((1, 2), min_length=1, description="Thread counts to measure.")


Criterion = Literal["l1", "l2", "bn_scale", "fpgm", "taylor", "lasso", "dcp"]


class PruneChannels(Settings):
    """Cuts channels until the model's cost is the target's."""

    name: Literal["prune_channels"] = "prune_channels"
    criterion: Criterion = Field("taylor", description="How a channel's importance is judged.")
    scope: Literal["global", "uniform"] = Field(
        "global", description="Rank all groups together, or cut the same ratio in each."
    )
    ratios: dict[str, Ratio] = Field(
        {}, description="Part of the channels to cut, by a layer's name, instead of a solution."
    )
    budget: Literal["macs", "parameters"] = Field("macs", description="What speedup counts.")
    max_ratio: Ratio = Field(0.9, description="Most of a group's channels that may go.")
    round_to: int = Field(8, ge=1, description="Channel counts are multiples of this where they can.")
    reconstruct: bool = Field(
        True,
        description="Least-squares fit of the weights that read what is left; lasso always does.",
    )
    calibration_examples: int = Field(
        512, ge=1, description="Training examples for taylor, lasso, dcp and BatchNorm's statistics."
    )
    group_size: int | None = Field(
        None,
        ge=1,
        description="Prune so many groups, fine-tune, then the next; all at once if unset.",
    )
    group_epochs: int = Field(1, ge=1, description="Epochs of fine-tuning between those.")


class FineTune(Settings):
    """Trains the compressed model on, with the uncompressed one as teacher."""

    name: Literal["fine_tune"] = "fine_tune"
    epochs: int | None = Field(None, ge=1, description="Instead of half of training's.")
    learning_rate: float | None = Field(None, gt=0.0, description="Instead of training's.")


class DistillModel(Settings):
    """Trains a small network of another architecture, the uncompressed one its teacher; comes first."""

    name: Literal["distill_model"] = "distill_model"
    student: Place = Field(
        description="The small network: a built-in name, or the path of a .keras file to train on."
    )
    width: float = Field(1.0, gt=0.0, description="Width multiplier of a built-in student.")
    epochs: int | None = Field(None, ge=1, description="Instead of training's.")
    learning_rate: float | None = Field(None, gt=0.0, description="Instead of training's.")

    @model_validator(mode="after")
    def _width_is_of_a_built_in_network(self) -> Self:
        if self.student.endswith(".keras") and self.width != 1.0:
            raise ValueError(
                f"width multiplies built-in networks only, and student is the file {self.student}; "
                "leave width out"
            )
        return self


class Sparsify(Settings):
    """Trains the model while more and more of its weights become zero (Zhu & Gupta, 2017)."""

    name: Literal["sparsify_weights"] = "sparsify_weights"
    sparsity: Ratio = Field(
        0.75,
        description="Part of all weights of kernels that becomes zero; 0.5 with pattern two_of_four.",
    )
    distribution: Literal["uniform", "size", "global"] = Field(
        "global",
        description="The same part in each layer; more in larger ones; or what one threshold gives. "
        "Pattern two_of_four is uniform.",
    )
    ratios: dict[str, Ratio] = Field(
        {}, description="Part that becomes zero, by a layer's name, instead; others stay as they are."
    )
    pattern: Literal["element", "block", "two_of_four"] = Field(
        "element",
        description="Each weight for itself, four neighbouring outputs together, or two of each four "
        "inputs. XNNPACK has kernels for the first two, in 1x1 convolutions of over two thirds zeros; "
        "two_of_four only makes files smaller.",
    )
    begin_fraction: float = Field(0.0, ge=0.0, lt=1.0, description="When the rise begins.")
    end_fraction: float = Field(
        0.6, gt=0.0, le=1.0, description="When it ends; the rest trains what is left."
    )
    power: float = Field(3.0, gt=0.0, description="How much more goes early than late.")
    refresh_steps: int = Field(20, ge=1, description="Steps until masks are chosen anew.")
    epochs: int | None = Field(None, ge=1, description="Instead of half of training's.")
    learning_rate: float | None = Field(None, gt=0.0, description="Instead of training's.")

    @model_validator(mode="before")
    @classmethod
    def _half_of_each_four(cls, value: Any) -> Any:
        if isinstance(value, dict) and value.get("pattern") == "two_of_four":
            return {"sparsity": 0.5, "distribution": "uniform"} | value
        return value

    @model_validator(mode="after")
    def _pattern_and_schedule_fit(self) -> Self:
        if self.pattern == "two_of_four" and (
            self.sparsity != 0.5 or self.distribution != "uniform" or set(self.ratios.values()) - {0.5}
        ):
            raise ValueError(
                "pattern two_of_four makes half of each layer zero: leave sparsity and distribution "
                "out, or use block"
            )
        if self.begin_fraction >= self.end_fraction:
            raise ValueError(
                f"begin_fraction {self.begin_fraction:g} is not before end_fraction "
                f"{self.end_fraction:g}"
            )
        return self


def _with_bucket_size(value: Any, size: int) -> Any:
    """A stage's settings, with a size where there are buckets and nothing is said of it."""
    if isinstance(value, dict) and value.get("granularity") == "bucket":
        return {"bucket_size": size} | value
    return value


def _check_bucket_size(granularity: str, size: int | None) -> None:
    if size is not None and granularity != "bucket":
        raise ValueError(f"bucket_size {size} needs granularity bucket; received {granularity}")
    if size is None and granularity == "bucket":
        raise ValueError(
            "granularity bucket needs a bucket_size; received null: leave it out, or give one"
        )


# One bit has no level beside 0 on both sides.
LevelBits = Annotated[int, Field(ge=2, le=8)]
# Says of activations that they are not rounded.
FLOAT: Final = "float"


class QuantizeWeights(Settings):
    """Puts weights and activations on evenly spaced levels, and trains the model with them.

    With 0 epochs it is calibrated only.
    """

    name: Literal["quantize_weights"] = "quantize_weights"
    weight_bits: LevelBits = Field(8, description="Bits of a weight.")
    activation_bits: LevelBits | Literal["float"] = Field(
        8,
        description="Bits of an activation; float leaves them in floats. Files hold 8, or floats.",
    )
    first_last_bits: LevelBits = Field(8, description="Bits of the first and last layers' weights.")
    layers: dict[str, LevelBits] = Field({}, description="Bits of weights by a layer's name, instead.")
    granularity: Literal["tensor", "channel", "bucket"] = Field(
        "channel", description="Which weights share a scale."
    )
    bucket_size: int | None = Field(
        None,
        ge=2,
        description="Weights in a bucket, of one output channel, with granularity bucket; 64 there if "
        "unset.",
    )
    scheme: Literal["symmetric", "affine"] = Field(
        "symmetric",
        description="Whether weights have their zero in the middle; LiteRT's integers ask for it.",
    )
    ranges: Literal["learned", "moving_average"] = Field(
        "learned",
        description="Step sizes are trained (LSQ); or those of activations follow their extremes, and "
        "those of weights stay as calibrated, unless calibration is minmax.",
    )
    calibration: Literal["minmax", "percentile", "mse"] = Field(
        "mse", description="How ranges are found first; minmax also lets them follow the weights."
    )
    calibration_examples: int = Field(512, ge=1, description="Training examples it looks at.")
    bias_correction: bool = Field(
        True, description="Makes up in the biases for what rounding does to the mean."
    )
    epochs: int | None = Field(
        None, ge=0, description="Instead of half of training's; 0 is without training."
    )
    learning_rate: float | None = Field(None, gt=0.0, description="Instead of a tenth of training's.")

    @field_validator("activation_bits", mode="before")
    @classmethod
    def _bits_or_float(cls, value: Any) -> Any:
        if value is None:
            raise ValueError(f"write {FLOAT} to leave activations in floats; received null")
        if value == FLOAT or (type(value) is int and 2 <= value <= 8):
            return value
        raise ValueError(f"must be 2 to 8 bits, or {FLOAT}; received {value!r}")

    @model_validator(mode="before")
    @classmethod
    def _buckets_have_a_size(cls, value: Any) -> Any:
        return _with_bucket_size(value, 64)

    @model_validator(mode="after")
    def _only_buckets_have_a_size(self) -> Self:
        _check_bucket_size(self.granularity, self.bucket_size)
        return self


class Cluster(Settings):
    """Replaces each kernel's weights by a few values that are learnt (Deep Compression, 2016)."""

    name: Literal["cluster_weights"] = "cluster_weights"
    bits: Bits = Field(4, description="A codebook has two to the power of this many values.")
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
        return _with_bucket_size(value, 512)

    @model_validator(mode="after")
    def _only_buckets_have_a_size(self) -> Self:
        _check_bucket_size(self.granularity, self.bucket_size)
        return self


class Quantize(Settings):
    """Converts the model to LiteRT in a number format."""

    name: Literal["quantize_int8", "quantize_float16", "quantize_dynamic"] = "quantize_int8"
    calibration_examples: int = Field(256, ge=1, description="Training examples for int8's ranges.")
    input_type: Literal["float32", "int8", "uint8"] = Field(
        "float32", description="What the file takes; int8 and uint8 need quantize_int8."
    )
    output_type: Literal["float32", "int8", "uint8"] = Field("float32", description="What it gives.")
    min_agreement: float = Field(
        0.97,
        ge=0.0,
        le=1.0,
        description="Least agreement with the Keras model on test examples: of likeliest classes, or "
        "the part of its outputs' variance.",
    )

    @model_validator(mode="after")
    def _integer_ends_need_integers_between(self) -> Self:
        if self.name != "quantize_int8" and {self.input_type, self.output_type} != {"float32"}:
            raise ValueError("input_type and output_type other than float32 need quantize_int8")
        return self


Stage = Annotated[
    DistillModel | PruneChannels | Sparsify | Cluster | FineTune | QuantizeWeights | Quantize,
    Field(discriminator="name"),
]
STAGE_NAMES = (
    "distill_model",
    "prune_channels",
    "sparsify_weights",
    "cluster_weights",
    "fine_tune",
    "quantize_weights",
    "quantize_int8",
    "quantize_float16",
    "quantize_dynamic",
)


# For an earlier and a later stage, why they cannot be done in this order.
REFUSED = {
    ("sparsify_weights", "prune_channels"): (
        "prune_channels fits the weights that are left anew, which fills the zeros of "
        "sparsify_weights; put it before"
    ),
    **{
        ("quantize_weights", later): (
            f"{later} changes whole weights, which leaves the levels of quantize_weights; put it before"
        )
        for later in ("prune_channels", "sparsify_weights")
    },
    ("quantize_weights", "fine_tune"): (
        "fine_tune trains whole weights, which leave the levels of quantize_weights; put it before, or "
        "set epochs of quantize_weights"
    ),
    ("quantize_weights", "quantize_weights"): "quantize_weights is there twice; give layers their bits",
    **{
        ("quantize_weights", later): (
            f"{later} stores other numbers than the levels of quantize_weights, whose file is integers "
            "by itself; leave it out"
        )
        for later in ("quantize_float16", "quantize_dynamic")
    },
    ("cluster_weights", "prune_channels"): (
        "prune_channels fits the weights that are left anew, which leaves none of the values that"
        " cluster_weights has learnt; put it before"
    ),
    ("cluster_weights", "sparsify_weights"): (
        "sparsify_weights trains each weight for itself, away from the values that "
        "cluster_weights has learnt; put it before: zeros stay zero"
    ),
    ("cluster_weights", "cluster_weights"): (
        "a second cluster_weights could only choose among the values that the first has left; "
        "give one, with bits by layer under its layers"
    ),
    ("cluster_weights", "fine_tune"): (
        "fine_tune trains each weight for itself, away from the values that cluster_weights has "
        "learnt; give cluster_weights more epochs instead"
    ),
    ("cluster_weights", "quantize_int8"): (
        "quantize_int8 moves the values that cluster_weights has learnt to its own steps; end "
        "with quantize_float16, which rounds equal values alike, or without"
    ),
    ("cluster_weights", "quantize_dynamic"): (
        "quantize_dynamic moves the values that cluster_weights has learnt to its own steps; end "
        "with quantize_float16, which rounds equal values alike, or without"
    ),
    ("cluster_weights", "quantize_weights"): (
        "quantize_weights rounds the values that cluster_weights has learnt to levels of its own;"
        " give one of the two"
    ),
    ("quantize_weights", "cluster_weights"): (
        "cluster_weights changes what quantize_weights has put on levels; give one of the two"
    ),
}


class Spec(Settings):
    """One job: a model, its data, the target and the stages that lead there."""

    model: Place = Field(description="A built-in network's name, or the path of a .keras file.")
    width: float = Field(1.0, gt=0.0, description="Width multiplier of a built-in network.")
    dataset: DatasetSettings = Field(description="The examples: a built-in name, or a source.")
    task: TaskSettings | None = Field(
        None, description="What the labels are; unset, classes if they are integers, else values."
    )
    target: Target | None = Field(None, description="What to reach; needed to prune by a budget.")
    stages: tuple[Stage, ...] = Field(
        description="What is done, in this order: a name, or {name: {setting: value}}."
    )
    training: Training = Field(Training(), description="How a built-in network is trained first.")
    distillation: Distillation = Field(Distillation(), description="The teachers' part.")
    benchmark: Benchmark = Field(Benchmark(), description="How the files are measured.")
    seed: int = Field(0, ge=0, description="Everything random follows from it.")

    @model_validator(mode="before")
    @classmethod
    def _names_alone(cls, value: Any) -> Any:
        if isinstance(value, dict) and isinstance(value.get("stages"), list | tuple):
            return value | {"stages": tuple(_named_stage(stage) for stage in value["stages"])}
        return value

    @model_validator(mode="after")
    def _stages_and_target_fit(self) -> Self:
        names = [stage.name for stage in self.stages]
        for position, stage in enumerate(self.stages):
            if isinstance(stage, Quantize) and position != len(names) - 1:
                raise ValueError(
                    f"stages: {stage.name} makes a LiteRT file, which nothing can follow; "
                    f"put it last, after {names[position + 1]}"
                )
        if "distill_model" in names[1:]:
            raise ValueError(
                "stages: distill_model begins a new network, so that all that was done before would be "
                f"lost; put it first, before {names[0]}"
            )
        if "distill_model" in names and not self.distillation.teaches:
            raise ValueError(
                "distillation: weight, features_weight and attention_weight are 0, so that "
                "distill_model would learn nothing from its teacher; give one of them"
            )
        for position, later in enumerate(names):
            for earlier in names[:position]:
                if (earlier, later) in REFUSED:
                    raise ValueError(f"stages: {REFUSED[earlier, later]}")
        levels = next((s for s in self.stages if isinstance(s, QuantizeWeights)), None)
        if levels and levels.activation_bits != 8 and names[-1] == "quantize_int8":
            raise ValueError(
                "stages: quantize_int8 after quantize_weights needs activation_bits: 8; set that, or "
                "leave quantize_int8 out: the file follows quantize_weights"
            )
        pruning = [stage for stage in self.stages if isinstance(stage, PruneChannels)]
        speedup = self.target.speedup if self.target else None
        if pruning and speedup and all(stage.ratios for stage in pruning):
            raise ValueError(
                "target: speedup and prune_channels' ratios contradict each other; give one"
            )
        if not self.target and not all(stage.ratios for stage in pruning):
            raise ValueError(
                "target: prune_channels needs to know how far; give target: {speedup: 2} or ratios"
            )
        if self.model.endswith(".keras") and self.width != 1.0:
            raise ValueError(
                f"width: multiplies built-in networks only, and model is the file {self.model}; "
                "leave width out"
            )
        augmentation = self.training.augmentation
        if self.task and (augmentation.shift or augmentation.flip or augmentation.mixup):
            raise ValueError(
                "training: augmentation's shift, flip and mixup move what is in an image, but not its "
                "landmarks; leave them out, cutout may stay"
            )
        if self.task and self.training.label_smoothing:
            raise ValueError(
                "training: label_smoothing is for classes, and landmarks have none; leave it out"
            )
        if speedup and not pruning:
            raise ValueError("target: speedup needs the stage prune_channels; nothing else cuts so far")
        return self


def _named_stage(stage: Any) -> Any:
    """Brings a stage's short forms to {name: ..., setting: ...}; leaves what is no stage as it is."""
    if isinstance(stage, str):
        return {"name": stage}
    if isinstance(stage, dict) and len(stage) == 1 and "name" not in stage:
        ((name, settings),) = stage.items()
        if settings is None:
            return {"name": name}
        if isinstance(settings, dict) and "name" not in settings:
            return {"name": name, **settings}
    return stage
