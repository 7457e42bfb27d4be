"""What the measurement of a pipeline's steps makes of what it measures."""

from pathlib import Path

from tests.benchmarks.step_overhead import ONE_PROCESS, PIPELINE, START, Taken, table, taken


def test_a_step_adds_what_the_pipeline_takes_longer_by_its_steps() -> None:
    rounds = [
        {START: Taken(3, 4, 0), ONE_PROCESS: Taken(20, 22, 0), PIPELINE: Taken(60 + more, 72, 8)}
        for more in (0, 40, 8)
    ]
    lines = table(rounds).splitlines()[2:]
    assert lines == [
        f"| {START} | 3.0 | 4.0 |",
        "| pocketkube run | 20.0 | 22.0 |",
        "| the pipeline, 8 steps | 68.0 | 72.0 |",
        "| a step adds | 6.0 | 6.2 |",
    ]


def test_all_processes_of_a_command_count_and_tasks_that_ended_well_do(tmp_path: Path) -> None:
    busy = "import time; end = time.process_time() + 0.5\nwhile time.process_time() < end: pass"
    lines = (
        "import subprocess, sys\n"
        f"subprocess.run([sys.executable, '-c', {busy!r}])\n"
        "print(\"09:00 - INFO - Task 'a' finished with status SUCCESS\")\n"
        "print(\"09:00 - INFO - Task 'b' finished with status FAILURE\")\n"
    )
    found = taken(["-c", lines], tmp_path)
    assert found.tasks == 1
    assert found.processor >= 0.5
