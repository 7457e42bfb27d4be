"""A form's typed parameters as a spec: what a person fills in to start a ready pipeline."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeVar, get_args, get_origin

from pydantic import Field, ValidationError

from pocketkube.errors import UserError
from pocketkube.spec.problems import Problem, problems_of
from pocketkube.spec.reading import plain, said, validated
from pocketkube.spec.sections import PruneChannels
from pocketkube.spec.sections.search import SamplerName
from pocketkube.spec.settings import Settings
from pocketkube.spec.spec import Spec, named_stage
from pocketkube.spec.stage_settings import STAGE_NAMES

Form = TypeVar("Form", bound=Settings)

# What stands in settings for it: another spec's shape.
OWN_SHAPE = "pocketkube submit SPEC runs a spec with any stages and settings"


class CompressForm(Settings):
    """What the form of the pipeline compress-model asks for. 0 is a number that is not given."""

    model: str = Field(
        "lenet", description="A built-in network's name, or the s3:// address of a .keras file."
    )
    dataset_kind: Literal[
        "builtin", "npz", "idx", "cifar10", "cifar100", "image_folder", "tfrecord"
    ] = Field("builtin", description="What the data set is.")
    dataset: str = Field("digits", description="Its name where it is built in, else its s3:// address.")
    speedup: float = Field(
        2.0, description="How many times fewer multiply-adds are asked for; 0 asks for none."
    )
    max_size: int = Field(0, description="Most bytes that model.tflite may have; 0 is any number.")
    max_latency_ms: float = Field(
        0.0, description="Most milliseconds that the median latency may be; 0 is any."
    )
    max_accuracy_drop: float = Field(
        0.0, description="Most that accuracy may fall, 0.01 is one point; 0 does not ask."
    )
    epochs: int = Field(8, description="Passes over the training data, for a built-in network.")
    fine_tune_epochs: int = Field(
        0, description="Passes after pruning; 0 is half as many as epochs says."
    )
    batch_size: int = Field(128, description="Examples a step, over all workers.")
    workers: int = Field(1, description="Processes that train together.")
    launcher: Literal["inline", "mpijob", "trainjob"] = Field(
        "inline",
        description="Where workers train: inline in the task's own pod, or each in one of its own.",
    )
    number_format: Literal["int8", "float16", "dynamic", "float32"] = Field(
        "int8", description="What the numbers in model.tflite are."
    )
    benchmark_arch: Literal["any", "arm64", "amd64"] = Field(
        "any", description="The architecture of the nodes that measure; any is the task's own node."
    )
    seed: int = Field(0, description="Everything random follows from it.")
    object_store_secret: str = Field(
        "mlpipeline-minio-artifact",
        description="The Secret whose accesskey and secretkey open s3:// addresses.",
    )
    settings: dict[str, Any] = Field(
        {},
        description="Anything else of a spec, laid over the parameters above, as in "
        '{"training": {"optimizer": "sgd"}}; stages holds settings of single stages, as in '
        '[{"prune_channels": {"criterion": "l2"}}].',
    )


class SearchForm(CompressForm):
    """What the form of the pipeline search-and-compress asks for: it searches for layers' channels."""

    trials: int = Field(50, description="How many assignments of channels to layers are tried.")
    sampler: SamplerName = Field(
        "ddpg",
        description="What proposes them: reinforcement learning (ddpg), Bayesian samplers (tpe, gp), "
        "evolution (cmaes), chance (random), the sensitivity model's solution (milp), or one ratio.",
    )
    parallel: int = Field(1, description="Trials at a time.")
    tie: Literal["none", "block", "stage"] = Field(
        "none", description="Which layers share a value: none, those of a block, or of a stage."
    )


# Where in a spec each parameter goes; of a stage, by its name.
PLACES: dict[str, tuple[str, ...]] = {
    "model": ("model",),
    "dataset": ("dataset",),
    "speedup": ("target", "speedup"),
    "max_size": ("target", "max_size"),
    "max_latency_ms": ("target", "max_latency_ms"),
    "max_accuracy_drop": ("target", "max_accuracy_drop"),
    "epochs": ("training", "epochs"),
    "fine_tune_epochs": ("stages", "fine_tune", "epochs"),
    "batch_size": ("training", "batch_size"),
    "workers": ("training", "workers"),
    "launcher": ("cluster", "launcher"),
    "benchmark_arch": ("cluster", "benchmark", "arch"),
    "seed": ("seed",),
    "object_store_secret": ("cluster", "object_store", "secret"),
    "trials": ("search", "trials"),
    "sampler": ("search", "sampler"),
    "parallel": ("search", "parallel"),
    "tie": ("search", "tie"),
}
PRUNING = str(PruneChannels.model_fields["name"].default)
TARGETS = ("speedup", "max_size", "max_latency_ms", "max_accuracy_drop")


def spec_of(given: Mapping[str, Any] | CompressForm, kind: type[CompressForm] = CompressForm) -> Spec:
    """The job that a form asks for: prune, fine-tune, write the file in a number format.

    Args:
        given: The form, or its parameters by their names, as a pipeline hands them on: whole numbers
            may be floats.
        kind: Which form, where it is given by its parameters.

    Returns:
        The spec.

    Raises:
        UserError: If a parameter is wrong, or `settings` hold something that is no spec's or does not
            fit the pipeline's fixed stages. Names the parameter.
    """
    form = given if isinstance(given, CompressForm) else form_of(kind, given)
    own = _document(form)
    _check_settings(form)
    document = {**merged(own, form.settings), "stages": _stages(own["stages"], form.settings)}
    if not document.get("target"):
        document.pop("target", None)
        _check_how_far(document["stages"])
    try:
        return validated(Spec, document)
    except ValidationError as error:
        problems = problems_of(error, plain(document))
        raise UserError(
            said([_sentence(problem, document, form.settings) for problem in problems])
        ) from None


def form_of(kind: type[Form], given: Mapping[str, Any]) -> Form:
    """Reads a form.

    Args:
        kind: Which.
        given: Its parameters by their names; whole numbers may be floats.

    Raises:
        UserError: If one is wrong by itself; names it.
    """
    try:
        return validated(kind, given)
    except ValidationError as error:
        problems = problems_of(error, given, kind)
        raise UserError(said([f"{each.path}: {each.message}" for each in problems])) from None


def name_of(key: str) -> str:
    """What a form calls a key of the spec: its parameter, or its place in `settings`.

    Args:
        key: Its path, as in training.epochs.
    """
    steps = tuple(key.split("."))
    return next((name for name, place in PLACES.items() if place == steps), f"settings.{key}")


def merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Lays a mapping over another, and mappings in it over those of the same key; all else replaces.

    Args:
        under: What holds where `over` says nothing.
        over: What comes last.
    """
    both = {
        key: merged(under[key], value)
        for key, value in over.items()
        if isinstance(under.get(key), Mapping) and isinstance(value, Mapping)
    }
    return {**under, **over, **both}


def choices(form: type[Settings]) -> dict[str, tuple[str, ...]]:
    """The values of each parameter of a form that takes only certain ones."""
    return {
        name: get_args(field.annotation)
        for name, field in form.model_fields.items()
        if get_origin(field.annotation) is Literal
    }


def _document(form: CompressForm) -> dict[str, Any]:
    """What the spec file would hold without `settings`."""
    document: dict[str, Any] = {
        "dataset": {form.dataset_kind: form.dataset},
        "target": {},
        "training": {},
        "cluster": {},
    }
    if isinstance(form, SearchForm):
        document["search"] = {"over": (PRUNING,)}
    for name, place in PLACES.items():
        if name not in type(form).model_fields:
            continue
        value = getattr(form, name)
        if name == "dataset" or place[0] == "stages" or (name in TARGETS and value == 0):
            continue
        *path, last = place
        here = document
        for key in path:
            here = here.setdefault(key, {})
        here[last] = value
    tuned = {"epochs": form.fine_tune_epochs} if form.fine_tune_epochs else {}
    in_format = form.number_format != "float32"
    document["stages"] = [
        {"name": PRUNING},
        {"name": "fine_tune"} | tuned,
        *([{"name": f"quantize_{form.number_format}"}] if in_format else []),
    ]
    return document


def _stages(own: Sequence[Mapping[str, Any]], settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The pipeline's own stages with the settings that are given for them."""
    found = {stage["name"]: dict(stage) for stage in own}
    seen: list[str] = []
    for stage in _listed(settings.get("stages", [])):
        name = stage.get("name") if isinstance(stage, Mapping) else None
        if not isinstance(name, str) or name not in found:
            raise UserError(
                f"settings.stages: {_shown(stage)} is none of this pipeline's stages: "
                f"{', '.join(found)}{_of_number_format(name)}; {OWN_SHAPE}"
            )
        if name in seen:
            raise UserError(
                f"settings.stages: {name} is given twice, and this pipeline does it once; {OWN_SHAPE}"
            )
        seen.append(name)
        found[name] = merged(found[name], stage)
    return list(found.values())


def _listed(stages: Any) -> list[Any]:
    if not isinstance(stages, list | tuple):
        raise UserError(
            'settings.stages: must be a list, as in [{"prune_channels": {"criterion": "l2"}}]; '
            f"received {stages!r:.60}"
        )
    return [named_stage(stage) for stage in stages]


def _shown(stage: Any) -> str:
    name = stage.get("name") if isinstance(stage, Mapping) else None
    return str(name or f"{stage!r:.60}")


def _of_number_format(name: object) -> str:
    is_format = str(name).startswith("quantize_") and name in STAGE_NAMES and name != "quantize_weights"
    return " (number_format says in which numbers it ends)" if is_format else ""


def _check_settings(form: CompressForm) -> None:
    """Refuses what a pipeline that is compiled already cannot take from its parameters."""
    if "search" in form.settings and not isinstance(form, SearchForm):
        raise UserError(
            f"settings.search: this pipeline does not search; start search-and-compress. {OWN_SHAPE}"
        )
    cluster = form.settings.get("cluster", {})
    if not isinstance(cluster, Mapping):
        return
    store = cluster.get("object_store", {})
    store = store if isinstance(store, Mapping) else {}
    if "secret" in store and store["secret"] != form.object_store_secret:
        raise UserError(
            "settings.cluster.object_store.secret: give it as the parameter object_store_secret, from "
            "which all tasks have their keys"
        )
    if store.get("endpoint"):
        raise UserError(
            "settings.cluster.object_store.endpoint: this pipeline's tasks have the server's address "
            f"from the ConfigMap pocketkube-object-store (key endpoint); set it there. {OWN_SHAPE}"
        )
    tasks = cluster.get("tasks", {})
    every = {"task": cluster.get("task", {}), **(tasks if isinstance(tasks, Mapping) else {})}
    for name, pods in every.items():
        for fixed in ("retries", "timeout_minutes"):
            if isinstance(pods, Mapping) and pods.get(fixed) is not None:
                where = f"settings.cluster.{'task' if name == 'task' else f'tasks.{name}'}.{fixed}"
                raise UserError(f"{where}: is fixed when a pipeline is compiled; {OWN_SHAPE}")


def _check_how_far(stages: Sequence[Mapping[str, Any]]) -> None:
    pruning = next(stage for stage in stages if stage["name"] == PRUNING)
    if not pruning.get("ratios"):
        raise UserError(
            f"{', '.join(TARGETS)}: all are 0, so that nothing says how far to prune; give one of them"
        )


def _sentence(problem: Problem, document: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    """A problem of the whole spec, as one of the parameter that it came by."""
    steps = _by_name(problem.steps, document)
    if problem.path == "search":
        return f"{', '.join(TARGETS[:3])}: {problem.message}"
    if not problem.path:
        return problem.message
    if not _holds(settings, steps):
        named = [name for name, place in PLACES.items() if place[: len(steps)] == steps]
        named = named or [name for name, place in PLACES.items() if steps[: len(place)] == place]
        if named:
            return f"{', '.join(named)}: {problem.message}"
    return f"settings.{problem.path}: {problem.message}"


def _by_name(steps: Sequence[str | int], document: Mapping[str, Any]) -> tuple[str, ...]:
    """Where it is in the spec, a stage by its name instead of its number."""
    if len(steps) > 1 and steps[0] == "stages" and isinstance(steps[1], int):
        return ("stages", document["stages"][steps[1]]["name"], *map(str, steps[2:]))
    return tuple(map(str, steps))


def _holds(settings: Mapping[str, Any], names: Sequence[str]) -> bool:
    """Whether it was `settings` that said what is wrong."""
    here: Any = settings
    if names[0] == "stages":
        here = {"stages": {stage["name"]: stage for stage in _listed(settings.get("stages", []))}}
    for name in names:
        if not isinstance(here, Mapping) or name not in here:
            return False
        here = here[name]
    return True
