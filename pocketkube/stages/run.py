"""Runs one stage, or takes its output from the cache where nothing it depends on changed."""

import hashlib
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import NoneType, UnionType
from typing import Any

from pocketkube import __version__
from pocketkube.errors import RejectedFile, UserError, repeatable
from pocketkube.facts import load_warnings
from pocketkube.files import replaced_folder
from pocketkube.quiet import quiet_tensorflow
from pocketkube.spec import document_of, yaml_of
from pocketkube.spec.sections import (
    UNCOMPRESSED,
    ClusterWeights,
    DistillModel,
    FineTune,
    PruneChannels,
    Quantize,
    QuantizeWeights,
    SparsifyWeights,
)
from pocketkube.spec.spec import Spec
from pocketkube.training.mpirun import run_together, started_first, started_size

CACHE = "POCKETKUBE_CACHE"


@dataclass(frozen=True)
class Stage:
    """How a stage is run.

    Attributes:
        module: Where its function lives.
        parts: The parts of the spec, beside its own settings, that it depends on.
        settings: What its own settings among the spec's stages are; None where it has none.
        roles: Its inputs.
        shared: Whether its work is shared where training.workers asks for several processes.
        tensorflow: Whether it works on a Keras model; else it reads LiteRT files and figures only.
        cached: Whether its output is kept for the next run.
    """

    module: str
    parts: tuple[str, ...]
    settings: type | UnionType = NoneType
    roles: tuple[str, ...] = ("model", "teacher")
    shared: bool = False
    tensorflow: bool = True
    cached: bool = True


# What a stage that trains on depends on.
LEARNING = ("dataset", "training", "distillation", "seed")
STAGES = {
    "check_export": Stage(
        "pocketkube.stages.checking",
        ("model", "width", "dataset", "task", "stages", "seed"),
        roles=(),
    ),
    "train_model": Stage(
        "pocketkube.stages.training",
        ("model", "width", "dataset", "task", "training", "seed"),
        roles=(),
        shared=True,
    ),
    "distill_model": Stage(
        "pocketkube.stages.distilling",
        LEARNING,
        settings=DistillModel,
        shared=True,
    ),
    "prune_channels": Stage(
        "pocketkube.stages.pruning",
        ("target", *LEARNING),
        settings=PruneChannels,
    ),
    "sparsify_weights": Stage(
        "pocketkube.stages.training",
        LEARNING,
        settings=SparsifyWeights,
        shared=True,
    ),
    "cluster_weights": Stage(
        "pocketkube.stages.training",
        LEARNING,
        settings=ClusterWeights,
        shared=True,
    ),
    "fine_tune_model": Stage(
        "pocketkube.stages.training",
        LEARNING,
        settings=FineTune,
        shared=True,
    ),
    "quantize_weights": Stage(
        "pocketkube.stages.quantizing",
        LEARNING,
        settings=QuantizeWeights,
        shared=True,
    ),
    "export_litert": Stage(
        "pocketkube.stages.export",
        ("dataset", "seed"),
        settings=Quantize | QuantizeWeights | None,
        roles=("model",),
    ),
    "benchmark_litert": Stage(
        "pocketkube.stages.measuring",
        ("benchmark",),
        roles=("baseline", "result"),
        tensorflow=False,
    ),
    # Takes a moment, and says when and how it was made.
    "build_report": Stage(
        "pocketkube.stages.reporting",
        (),
        roles=("teacher", "model", "baseline", "result", "benchmark"),
        tensorflow=False,
        cached=False,
    ),
}


@dataclass(frozen=True)
class Ran:
    """How a stage came to its output.

    Attributes:
        cached: Whether it was kept from an earlier run.
        seconds: How long the stage's own work took; what it needs, as TensorFlow, was there before.
    """

    cached: bool
    seconds: float


def run_stage(name: str, spec: Spec, position: int, inputs: Mapping[str, Path], output: Path) -> Ran:
    """Runs a stage.

    Where the environment variable POCKETKUBE_CACHE names a folder, finished stages are kept there,
    and so are checkpoints of those that were interrupted.

    Args:
        name: The stage.
        spec: The job.
        position: Place of the stage's settings in the spec's stages, or -1.
        inputs: A folder for each of the stage's inputs; nothing is written into them.
        output: The folder to write; complete or absent.

    Raises:
        RejectedFile: If a LiteRT file strays from its model; it is kept beside `output`.
        UserError: If there is no such stage, an input is missing, or the stage refuses its input.
    """
    refuse_wrong_call(name, spec, position, inputs)
    for role, folder in inputs.items():
        if not folder.is_dir():
            raise UserError(f"{name} needs the folder {folder} as its {role}, which is not there.")
    rejected = output.with_name(f"{output.name}.rejected.tflite")
    try:
        ran = _run_or_take(name, spec, position, inputs, output)
    except RejectedFile as error:
        raise error.keep(rejected) from error
    rejected.unlink(missing_ok=True)
    return ran


def _run_or_take(name: str, spec: Spec, position: int, inputs: Mapping[str, Path], output: Path) -> Ran:
    cache = os.environ.get(CACHE)
    if not cache or not STAGES[name].cached:
        return Ran(False, _run(name, spec, position, inputs, output))
    kept = Path(cache) / f"{name}-{_key(name, spec, position, inputs)}"
    found, seconds = kept.is_dir(), 0.0
    if not found:
        seconds = _run(name, spec, position, inputs, kept)
    # Others that train with this process have kept nothing, and may run on another machine.
    if started_first():
        with replaced_folder(output) as folder:
            shutil.copytree(kept, folder, dirs_exist_ok=True)
        if found:
            _warn(output)
    return Ran(found, seconds)


def refuse_wrong_call(name: str, spec: Spec, position: int, roles: Collection[str]) -> None:
    """Refuses what `run_stage` cannot be asked for, before anything is read.

    Args:
        name: The stage.
        spec: The job.
        position: Place of the stage's settings in the spec's stages, or -1.
        roles: The inputs that are given.

    Raises:
        UserError: If there is no such stage, or it takes other inputs or has no settings there.
    """
    if name not in STAGES:
        raise UserError(f"There is no stage {name}; use one of {', '.join(STAGES)}.")
    stage = STAGES[name]
    if set(roles) != set(stage.roles):
        raise UserError(
            f"{name} needs {_listed(stage.roles)} as its inputs; received {_listed(sorted(roles))}."
        )
    fitting = [-1] if isinstance(None, stage.settings) else []
    fitting += [at for at, found in enumerate(spec.stages) if isinstance(found, stage.settings)]
    if not fitting:
        raise UserError(
            f"{name} needs settings of its own in the spec's stages, which has none of them."
        )
    if position not in fitting:
        raise UserError(
            f"{name} needs --position {' or '.join(map(str, fitting))}, the place of its settings in "
            f"the spec's stages, -1 for none; received {position}."
        )


def _listed(roles: Collection[str]) -> str:
    return ", ".join(map(repeatable, roles)) or "nothing"


def _run(name: str, spec: Spec, position: int, inputs: Mapping[str, Path], output: Path) -> float:
    stage = STAGES[name]
    began = time.monotonic()
    if stage.shared and spec.training.workers > 1 and started_size() == 1:
        _run_shared(name, spec, position, inputs, output)
        return time.monotonic() - began
    starts = stage.tensorflow and "tensorflow" not in sys.modules
    if stage.tensorflow:
        quiet_tensorflow()
    work = getattr(import_module(stage.module), name)
    if starts and started_first():
        print(f"TensorFlow started in {time.monotonic() - began:.1f} s", file=sys.stderr, flush=True)
    began = time.monotonic()
    scratch = output.parent / f".{output.name}.partial"
    work(spec, position, inputs, output, scratch)
    if started_first():
        shutil.rmtree(scratch, ignore_errors=True)
        _warn(output)
    return time.monotonic() - began


def _warn(output: Path) -> None:
    for warning in load_warnings(output):
        print(f"warning: {warning}", file=sys.stderr, flush=True)


def _run_shared(name: str, spec: Spec, position: int, inputs: Mapping[str, Path], output: Path) -> None:
    """The same stage by the same command in several processes, as on a cluster."""
    environment = {name: value for name, value in os.environ.items() if name != CACHE}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "spec.yaml"
        file.write_text(yaml_of(document_of(spec)), "utf-8")
        arguments = ["stage", name, "--spec", str(file), "--position", str(position)]
        arguments += [f"--input={role}={place}" for role, place in inputs.items()]
        arguments += ["--output", str(output)]
        run_together(arguments, spec.training.workers, environment)


def _key(name: str, spec: Spec, position: int, inputs: Mapping[str, Path]) -> str:
    parts = STAGES[name].parts
    # With defaults: another checkout of the same version may have others.
    told = spec.model_dump(mode="json", include=set(parts))
    told["stage"] = spec.stages[position].model_dump(mode="json") if position >= 0 else None
    if name == "prune_channels" and spec.target is not None and spec.target.judges_the_file:
        told["stages"] = [settings.model_dump(mode="json") for settings in spec.stages]
        told["benchmark"] = spec.benchmark.model_dump(mode="json")
    digest = hashlib.sha256(json.dumps([__version__, name, told], sort_keys=True).encode())
    for place in _places(spec, position, parts):
        digest.update(_stamp(place).encode())
    for role in sorted(inputs):
        digest.update(role.encode())
        for file in sorted(p for p in inputs[role].rglob("*") if p.is_file()):
            digest.update(file.name.encode())
            with file.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()[:16]


def _places(spec: Spec, position: int, parts: tuple[str, ...]) -> list[Path]:
    """Files and folders outside that the stage reads."""
    places = []
    own = spec.stages if "stages" in parts else spec.stages[position : position + 1]
    for settings in own if position >= 0 or "stages" in parts else ():
        if isinstance(settings, DistillModel) and settings.student.endswith(".keras"):
            places.append(Path(settings.student))
    if "distillation" in parts and spec.distillation.teaches:
        places += [Path(place) for place in spec.distillation.teachers if place != UNCOMPRESSED]
    if "model" in parts and spec.model.endswith(".keras"):
        places.append(Path(spec.model))
    kind, where = spec.dataset.source
    if "dataset" in parts and kind != "builtin":
        pattern = Path(where)
        places += [pattern] if kind != "tfrecord" else sorted(pattern.parent.glob(pattern.name))
    return places


def _stamp(place: Path) -> str:
    """Changes when a file at `place` does, without reading them all."""
    files: list[Any] = sorted(place.rglob("*")) if place.is_dir() else [place]
    stats = [(str(f), f.stat().st_size, f.stat().st_mtime_ns) for f in files if f.is_file()]
    return json.dumps(stats)
