"""What an MPIJob's launcher runs, with real processes on this machine."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pocketkube.launch import ranks
from pocketkube.launch.lines import lines_by_rank

pytestmark = pytest.mark.skipif(
    shutil.which("mpirun") is None, reason="mpirun is missing: install openmpi-bin"
)
ROOT = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
# As a trial tells its score.
TIMED = "2026-11-27T13:00:00.000001Z score=0.75"
# Stands for pocketkube: the ranks say what reached them, and end as they are told.
PROGRAM = """
import os, sys, time
if os.environ["OMPI_COMM_WORLD_RANK"] == "0":
    print(sys.argv[1:], os.environ["AWS_REGION"], flush=True)
    if sys.argv[1] == "measure":
        with open(sys.argv[2], "w") as metrics:
            metrics.write("2026-11-27T13:00:00.000001Z score=0.75\\n")
            metrics.write("macs=1.5e+06\\nepoch 1\\napplied.a/b.kept=0.5\\n")
        sys.exit(0)
    if sys.argv[1] != "wait":
        sys.exit(int(sys.argv[1]))
elif sys.argv[1] == "measure":
    print("score=0.1", flush=True)
time.sleep(0 if sys.argv[1] in ("0", "measure") else 60)
"""


def launch(tmp_path: Path, *words: str, options: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    package = tmp_path / "pocketkube"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text(PROGRAM)
    hosts = tmp_path / "hostfile"
    hosts.write_text("localhost slots=2\n")
    root = Path(__file__).parents[2]
    run = f"import sys; sys.path.insert(0, {str(root)!r}); from pocketkube.launch.ranks import main; "
    return subprocess.Popen(
        [sys.executable, "-P", "-c", run + "sys.exit(main())", *SIZES, *options, "--", *words],
        env={
            **os.environ,
            **ROOT,
            "AWS_REGION": "here",
            "OMPI_MCA_orte_default_hostfile": str(hosts),
            "OMPI_MCA_hwloc_base_binding_policy": "none",
        },
        # Python looks for the ranks' package here first.
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
    )


SIZES = ["--slots", "2", "--min", "2", "--max", "2"]


@pytest.mark.parametrize("code", [0, 2, 65])
def test_ranks_have_the_words_and_the_environment_and_their_code_is_passed_on(
    tmp_path: Path, code: int
) -> None:
    with launch(tmp_path, str(code), "--output", "s3://b/k") as process:
        assert process.stdout is not None
        lines = list(lines_by_rank(process.stdout))
    assert ("0", f"['{code}', '--output', 's3://b/k'] here") in lines
    assert process.returncode == code


def test_processes_may_be_lost_where_it_says_so_however_many_there_may_be(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Elastic:
        def __init__(self, _: object, least: int, most: int, __: str) -> None:
            self.bounds = least, most

        def to_the_end(self) -> int:
            return 17 if self.bounds == (2, 2) else 1

        def end_all(self) -> None:
            pass

    monkeypatch.setattr(ranks, "ElasticRun", Elastic)
    monkeypatch.setattr(ranks, "interrupt_at_sigterm", lambda: None)
    monkeypatch.setattr(ranks.socket, "gethostbyname", lambda _: "10.0.0.1")
    assert ranks.main([*SIZES, "--elastic", "--", "stage"]) == 17


def test_they_end_with_the_pod(tmp_path: Path) -> None:
    with launch(tmp_path, "wait") as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGTERM)
    assert process.returncode == 143


def test_what_the_first_rank_measures_is_in_the_launchers_file_and_its_log(tmp_path: Path) -> None:
    file = tmp_path / "metrics.log"
    process = launch(tmp_path, "measure", "/dev/stdout", options=("--metrics", str(file)))
    said = process.communicate(timeout=60)[0]
    assert process.returncode == 0
    # The other rank's score and what is no metric are in the log alone.
    assert file.read_text().splitlines() == [TIMED, "macs=1.5e+06", "applied.a/b.kept=0.5"]
    assert {text for _, text in lines_by_rank(said.splitlines(keepends=True))} >= {
        TIMED,
        "score=0.1",
        "epoch 1",
    }
