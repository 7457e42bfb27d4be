"""Runs one stage, or takes its output from the cache where nothing it depends on changed."""

import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path

from pocketkube.console.progress import working
from pocketkube.console.quiet import quiet_tensorflow
from pocketkube.errors import RejectedFile, UserError
from pocketkube.facts import load_warnings
from pocketkube.files.held import HELD, OURS, held
from pocketkube.files.whole import put_copy, write_text
from pocketkube.importing import import_all
from pocketkube.launch.local_workers import LocalWorkers
from pocketkube.launch.waiting import wait_for
from pocketkube.processes.ranks import may_change, started_first, started_together, written_by_the_first
from pocketkube.spec.model_files import is_model_file
from pocketkube.stages.cache import data_digest, is_kept, kept_place, note_digests, trials_place
from pocketkube.stages.call import StageCall
from pocketkube.stages.configs import LearningConfig, ModelConfig, NetworkConfig, TrainModelConfig
from pocketkube.storage import backed_up, parse_uri, patiently, remove_if_possible

# In a scratch folder: what the data were when the work began.
DATA_STAMP = "data.sha256"


@dataclass(frozen=True)
class Ran:
    """How a stage came to its output.

    Attributes:
        cached: Whether it was kept from an earlier run.
        seconds: How long the stage's own work took; what it needs, as TensorFlow, was there before.
    """

    cached: bool
    seconds: float


def run_stage(call: StageCall, cache: Path | None = None) -> Ran:
    """Runs a stage.

    Args:
        call: The call, its places folders on this machine; nothing is written into its inputs.
        cache: The folder where finished stages are kept, and checkpoints of those that were
            interrupted; nothing is kept if None.

    Raises:
        RejectedFile: If a LiteRT file strays from its model; it is kept beside the output.
        UserError: If an input is missing, or the stage refuses its input.
    """
    for name, folder in call.inputs.items():
        if not Path(folder).is_dir():
            raise UserError(
                f"{call.stage} needs the folder {folder} as its {name}, which is not there."
            )
    output = Path(call.output)
    rejected = output.with_name(f"{output.name}.rejected.tflite")
    try:
        if cache is None:
            # What others read of a server is not theirs to ask for.
            trains = isinstance(call.config, LearningConfig | NetworkConfig)
            with _anew_on_other_data(call) if trains and started_first() else nullcontext():
                ran = _run(call)
        else:
            ran = _run_or_take(call, cache)
    except RejectedFile as error:
        raise error.keep(rejected) from error
    rejected.unlink(missing_ok=True)
    return ran


def forget_checkpoints(call: StageCall) -> None:
    """Removes the copies of a call's checkpoints, when its output stands where it belongs.

    Copies that a server keeps or does not let go are left: the output is worth more.
    """
    if call.checkpoints and started_first():
        remove_if_possible(parse_uri(call.checkpoints))


def _run_or_take(call: StageCall, cache: Path) -> Ran:
    if not call.definition.cached:
        return _run(call)
    kept = kept_place(cache, call)
    # Others that train with this process keep nothing, and may run on another machine.
    if not started_first():
        return Ran(True, 0.0) if kept.is_dir() else _run(replace(call, output=str(kept)))
    # Nobody writes what stands in a cache that is only read.
    may_write = not kept.is_dir() or os.access(cache, os.W_OK)
    # Another run that makes the same keeps it for this one, too.
    with _held(kept, "made") if may_write else nullcontext():
        if is_kept(kept):
            ran = Ran(True, 0.0)
        else:
            ran = _run(replace(call, output=str(kept)), trials_place(cache, call))
        if ran.cached:
            _warn(kept)
        else:
            note_digests(kept)
        put_copy(kept, Path(call.output))
    return ran


def _run(call: StageCall, lasting: Path | None = None) -> Ran:
    """Runs a stage, its scratch folder `lasting` where that is to stay when the stage has ended."""
    began = time.monotonic()
    if workers_of(call) > 1 and not started_together():
        lease = _lease(Path(call.output), "lease")
        wait_for(LocalWorkers(workers_of(call), lease).start(call))
        return Ran(False, time.monotonic() - began)
    definition, output = call.definition, Path(call.output)
    starts = definition.tensorflow and "tensorflow" not in sys.modules
    if definition.tensorflow:
        with working("start", program="TensorFlow") if starts and started_first() else nullcontext():
            quiet_tensorflow()
    work = getattr(import_module(definition.module), call.stage)
    if isinstance(call.config, ModelConfig):
        import_all(call.config.imports)
    if starts and started_first():
        print(f"TensorFlow started in {time.monotonic() - began:.1f} s", file=sys.stderr, flush=True)
    began = time.monotonic()
    scratch = lasting or _scratch(output)
    inputs = {name: Path(folder) for name, folder in call.inputs.items()}
    # Those that a killed process has started may still be at it for a moment. Processes that may come
    # and go have it from the one that starts them.
    written = lasting or output
    with _held(written, "lease") if started_first() and not may_change() else nullcontext():
        with written_by_the_first(output) as own, _backed_up(scratch, call):
            work(call.config, inputs, own, scratch)
        if started_first():
            if lasting is None:
                shutil.rmtree(scratch, ignore_errors=True)
            _warn(output)
    return Ran(False, time.monotonic() - began)


def _scratch(output: Path) -> Path:
    """Where a stage keeps what it goes on from after an interruption."""
    return output.parent / f".{output.name}.partial"


@contextmanager
def _anew_on_other_data(call: StageCall) -> Iterator[None]:
    """Removes first what an interrupted call has left, if the data have changed since.

    In a cache there is nothing to do: what the data are is a part of a place's name.
    """
    scratch = _scratch(Path(call.output))
    now = patiently("look", lambda: data_digest(call.config))
    stamp = scratch / DATA_STAMP
    if stamp.is_file() and stamp.read_text("utf-8", "replace") != now:
        print(f"{call.stage} begins anew: its data have changed.", file=sys.stderr, flush=True)
        shutil.rmtree(scratch)
    write_text(stamp, now)
    try:
        yield
    except BaseException:
        # Of what began nothing, nothing is left.
        if scratch.is_dir() and [stamp] == [*scratch.iterdir()]:
            shutil.rmtree(scratch)
        raise


def _held(output: Path, kind: str) -> AbstractContextManager[object]:
    """Keeps other processes from writing an output and its checkpoints; says for whom it waits."""

    def say(holder: str) -> None:
        print(f"waits for {holder}, which writes {output}", file=sys.stderr, flush=True)

    return held(_lease(output, kind), say)


def _lease(output: Path, kind: str) -> Path:
    return output.with_name(f"{OURS}{output.name}.{kind}{HELD}")


def workers_of(call: StageCall) -> int:
    """How many processes are to share the stage's work."""
    if has_work_to_share(call) and isinstance(call.config, NetworkConfig | LearningConfig):
        return call.config.training.workers
    return 1


def has_work_to_share(call: StageCall) -> bool:
    """Whether several processes can share the stage's work; a model that is given is only loaded."""
    is_given = isinstance(call.config, TrainModelConfig) and is_model_file(call.config.model)
    return call.shared and not is_given


def _backed_up(scratch: Path, call: StageCall) -> AbstractContextManager[None]:
    """Checkpoints are the first process's, and so are their copies."""
    if call.checkpoints and (started_first() or may_change()):
        return backed_up(scratch, parse_uri(call.checkpoints), by_this_process=started_first)
    return nullcontext()


def _warn(output: Path) -> None:
    for warning in load_warnings(output):
        print(f"warning: {warning}", file=sys.stderr, flush=True)
