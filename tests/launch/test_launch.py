"""Launchers, with real processes."""

import itertools
import os
import shutil
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

import pocketkube
from pocketkube.errors import DataError, UserError
from pocketkube.launch.inline import Inline
from pocketkube.launch.local_workers import LocalWorkers
from pocketkube.launch.outcome import Cause, outcome_of_error, outcome_of_process
from pocketkube.launch.processes import ProcessJob
from pocketkube.launch.waiting import wait_for
from pocketkube.spec import parse_spec
from pocketkube.stages.remote import run_stage_at
from tests.mpirun import mpirun_command
from tests.steps import call_of

needs_mpirun = pytest.mark.skipif(
    shutil.which("mpirun") is None, reason="mpirun is missing: install openmpi-bin"
)
TAGGED = [*mpirun_command(2), "--tag-output"]


def ranks(script: str) -> ProcessJob:
    return ProcessJob([*TAGGED, sys.executable, "-c", RANK + script], os.environ)


RANK = """
import os, resource, signal, sys, time
rank = int(os.environ["OMPI_COMM_WORLD_RANK"])
"""


@needs_mpirun
def test_lines_of_ranks_are_merged_and_say_whose_they_are() -> None:
    job = ranks("print('out', rank); sys.stderr.write('a'); sys.stderr.write('b\\nc')")
    lines = list(job.follow())
    assert sorted(lines) == sorted(
        f"[rank {rank}] {text}" for rank in (0, 1) for text in (f"out {rank}", "ab", "c")
    )
    assert job.outcome.cause is Cause.DONE
    assert job.outcome.exit_code == 0


@needs_mpirun
@pytest.mark.parametrize(
    ("script", "cause", "code", "said"),
    [
        ("time.sleep(60) if rank else os.kill(os.getpid(), 9)", Cause.NODE_LOST, 137, "killed"),
        (
            "resource.setrlimit(resource.RLIMIT_AS, (2**30, 2**30)); time.sleep(60 * rank)\n"
            "bytearray(2**31)",
            Cause.OUT_OF_MEMORY,
            1,
            "Memory ran out: MemoryError",
        ),
        ("time.sleep(60 * rank); sys.exit(130)", Cause.INTERRUPTED, 130, "interrupted"),
        ("time.sleep(60 * rank); raise KeyError('lost')", Cause.FAULT, 1, "KeyError: 'lost'"),
    ],
)
def test_the_end_of_one_rank_ends_all_and_says_why(script, cause, code, said) -> None:
    began = time.monotonic()
    outcome = ranks(script).outcome
    assert (outcome.cause, outcome.exit_code) == (cause, code)
    assert said in outcome.reason
    assert time.monotonic() - began < 30


@needs_mpirun
def test_a_refusal_is_the_reason_and_not_among_the_lines() -> None:
    # TensorFlow is not needed to see that there is no such stage.
    arguments = ["stage", "nonsense", "--config", "{}", "--output", "there"]
    job = ProcessJob([*TAGGED, sys.executable, "-m", "pocketkube", *arguments], os.environ)
    assert not [line for line in job.follow() if "nonsense" in line]
    assert job.outcome.cause is Cause.USER_ERROR
    assert job.outcome.reason.startswith("There is no stage nonsense; use one of")
    with pytest.raises(UserError, match=r"^There is no stage nonsense"):
        wait_for(job)


def test_data_and_memory_are_told_from_other_reasons() -> None:
    refusal = f"{UserError.PREFIX}There is no d.npz."
    told = outcome_of_process(DataError.RANK_EXIT_CODE, [refusal], oom_killed=False)
    assert (told.cause, told.reason) == (Cause.BAD_DATA, "There is no d.npz.")
    assert outcome_of_process(-9, [], oom_killed=True).cause is Cause.OUT_OF_MEMORY
    assert outcome_of_process(-9, [], oom_killed=False).cause is Cause.NODE_LOST
    assert outcome_of_process(143, [], oom_killed=False).cause is Cause.INTERRUPTED
    assert outcome_of_error(MemoryError()).cause is Cause.OUT_OF_MEMORY
    assert outcome_of_error(KeyboardInterrupt()).exit_code == 130
    assert outcome_of_error(ValueError("x")).reason == "ValueError: x"


def test_a_call_in_this_process_ends_in_an_outcome(tmp_path: Path) -> None:
    spec = parse_spec({"model": "lenet", "dataset": {"npz": str(tmp_path / "no.npz")}, "stages": []})
    job = Inline(run_stage_at).start(call_of(spec, "train_model", {}, tmp_path / "model"))
    assert job.outcome.cause is Cause.BAD_DATA
    assert "no.npz" in job.outcome.reason
    assert list(job.follow()) == []
    assert not list(tmp_path.iterdir())


def test_work_that_is_not_shared_is_refused_by_a_launcher_of_several(tmp_path: Path) -> None:
    spec = parse_spec({"model": "lenet", "dataset": "digits", "stages": []})
    call = call_of(spec, "result", {"model": tmp_path}, tmp_path / "file")
    with pytest.raises(UserError, match=r"^export_litert does not share its work: .*workers to 1"):
        LocalWorkers(2).start(call)


@pytest.mark.skipif(find_spec("horovod") is None, reason="Horovod is missing: run make horovod")
@pytest.mark.parametrize("name", ["signal", "statistics"])
def test_files_of_the_current_folder_do_not_stand_in_for_pythons_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / f"{name}.py").write_text(f"raise SystemExit('{name}.py of the current folder')\n")
    monkeypatch.chdir(tmp_path)
    # As `python -m pocketkube` has it.
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    words = ["stage", "nonsense", "--config", "{}", "--output", "there"]
    call = SimpleNamespace(stage="nonsense", shared=True, argv=lambda: words)
    assert LocalWorkers(2).start(call).outcome.reason.startswith("There is no stage nonsense")


def test_workers_find_what_the_process_finds_that_starts_them_behind_pythons_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("of_the_user", "statistics"):
        (tmp_path / f"{name}.py").write_text("")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["", "gone", *sys.path])
    monkeypatch.setattr("pocketkube.launch.local_workers.find_spec", lambda name: True)
    monkeypatch.setattr("pocketkube.launch.local_workers.ProcessJob", lambda words, _: words)
    command = LocalWorkers(2).start(SimpleNamespace(shared=True, argv=list))
    path = command[command.index("--path") + 1]
    assert path.split(os.pathsep)[0] == str(tmp_path)
    assert str(tmp_path / "gone") not in path.split(os.pathsep)
    script = """import sys
from pocketkube.launch.elastic.worker import find_behind_all_else
find_behind_all_else(sys.argv[1])
import of_the_user, statistics
print(of_the_user.__file__, statistics.mean([1, 3]))
"""
    done = subprocess.run(
        [sys.executable, "-P", "-c", script, path], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"{tmp_path / 'of_the_user.py'} 2\n"


def test_workers_look_into_the_users_folders_before_those_of_installed_packages(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pocketkube.launch.local_workers.find_spec", lambda name: True)
    monkeypatch.setattr("pocketkube.launch.local_workers.ProcessJob", lambda _, given: given)
    call = SimpleNamespace(shared=True, argv=list)
    packages = str(Path(pocketkube.__file__).parents[1])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["/mine", "/mine/too"]))
    found = LocalWorkers(2).start(call)["PYTHONPATH"]
    assert found.split(os.pathsep) == ["/mine", "/mine/too", packages]
    monkeypatch.delenv("PYTHONPATH")
    assert LocalWorkers(2).start(call)["PYTHONPATH"] == packages


SLEEPING = "print(os.getpid(), flush=True); time.sleep(300)"
# At a second SIGTERM mpirun ends at once and leaves its ranks.
FOLLOWED = f"""
import os, sys
from pocketkube.cli.ending import plain_ending
from pocketkube.launch.processes import ProcessJob
from pocketkube.launch.waiting import wait_for
from pocketkube.processes.children import guarded
command = guarded([*{TAGGED!r}, sys.executable, "-c", {RANK + SLEEPING!r}])
with plain_ending():
    wait_for(ProcessJob(command, os.environ))
"""


def gone(pids: list[int], seconds: float = 15.0) -> bool:
    until = time.monotonic() + seconds
    while any(psutil.pid_exists(pid) for pid in pids) and time.monotonic() < until:
        time.sleep(0.05)
    return not any(psutil.pid_exists(pid) for pid in pids)


@needs_mpirun
def test_cancelling_ends_all_ranks() -> None:
    job = ranks("signal.signal(signal.SIGTERM, signal.SIG_IGN);" + SLEEPING)
    lines = job.follow()
    pids = [int(next(lines).split("] ")[1]) for _ in range(2)]
    job.cancel()
    assert gone([job.pid, *pids])
    assert job.outcome.cause is Cause.INTERRUPTED
    job.cancel()


@needs_mpirun
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_ranks_end_with_the_process_that_started_them(number: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", FOLLOWED], stderr=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stderr is not None
        try:
            pids = [int(line.split()[-1]) for line in itertools.islice(parent.stderr, 2)]
            parent.send_signal(number)
            assert gone(pids)
            said = parent.communicate(timeout=15)[1]
        finally:
            parent.kill()
    assert parent.returncode == (-9 if number == signal.SIGKILL else 130), said
