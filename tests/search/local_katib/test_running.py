"""Experiments that really run: what Katib would do with them, on processes of this machine."""

import csv
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from pocketkube.errors import UserError
from pocketkube.kube.katib.experiment import MEDIANSTOP, METRICS_FORMAT
from pocketkube.search.local_katib import run_experiment
from pocketkube.search.local_katib.journal import Journal
from pocketkube.search.local_katib.process import names_file, words_to_run
from pocketkube.search.local_katib.reading import read_experiment
from pocketkube.search.local_katib.results import Result
from pocketkube.search.local_katib.template import Command
from tests.search.local_katib.documents import (
    bowl,
    command_line,
    experiment,
    job,
    listed,
    number,
    written,
)


def ran(folder: Path, document: dict[str, Any]) -> Result:
    return run_experiment(written(folder, document), folder / "out", lambda line: None)


def states(result: Result) -> list[str]:
    return [trial.state for trial in result.trials]


def test_all_trials_run_and_the_best_is_found(tmp_path: Path) -> None:
    result = ran(tmp_path, bowl(tmp_path))
    assert result.ending is not None
    assert (result.ending.succeeded, result.ending.reason) == (True, "ExperimentMaxTrialsReached")
    assert states(result) == ["Succeeded"] * 4
    out = tmp_path / "out"
    with (out / "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        loss = (float(row["x"]) - 3) ** 2 + float(row["y"]) ** 2
        assert float(row["loss"]) == pytest.approx(loss, abs=1e-5)
        assert (out / "trials" / row["trial"] / "log.txt").read_text() == f"loss={loss:.6f}\n"
    best = json.loads((out / "experiment.json").read_text())["best"]
    assert best["value"] == min(float(row["loss"]) for row in rows)
    assert best["assignment"] == {
        "x": rows[best["number"] - 1]["x"],
        "y": rows[best["number"] - 1]["y"],
    }


def test_the_goal_ends_an_experiment_and_the_trials_that_run(tmp_path: Path) -> None:
    script = (
        "import sys, time; print('loss=' + sys.argv[1], flush=True); time.sleep(60 * int(sys.argv[1]))"
    )
    (tmp_path / "t.py").write_text(script)
    document = experiment(
        [listed("n", "1", "0")], ["python", "t.py", "${trialParameters.n}"], algorithm="grid"
    )
    document["spec"] |= {"maxTrialCount": 2}
    document["spec"]["objective"]["goal"] = 0.5
    result = ran(tmp_path, document)
    assert result.ending is not None
    assert result.ending.reason == "ExperimentGoalReached"
    assert states(result) == ["Killed", "Succeeded"]


def test_failed_trials_and_those_without_metrics_fail_an_experiment(tmp_path: Path) -> None:
    script = "import sys; n = int(sys.argv[1]); print('lost=1'); sys.exit('no memory' if n % 2 else 0)"
    (tmp_path / "t.py").write_text(script)
    document = experiment(
        [number("n", "1", "9", "int")],
        ["python", "t.py", "${trialParameters.n}"],
        algorithm="grid",
        maxTrialCount=9,
        maxFailedTrialCount=2,
        parallelTrialCount=1,
    )
    path = written(tmp_path, document)
    done = subprocess.run(command_line(path, tmp_path / "out"), capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    assert "pocketkube: tried has failed: 2 of 2 trials have failed" in done.stderr
    summary = json.loads((tmp_path / "out" / "experiment.json").read_text())
    found = [(trial["state"], trial["cause"]) for trial in summary["trials"]]
    assert found == [
        ("Failed", "it ended with code 1: no memory"),
        ("MetricsUnavailable", "it reported no number for loss"),
    ]


def test_a_file_of_json_is_a_trials_own(tmp_path: Path) -> None:
    script = (
        "import json, sys\n"
        "with open(sys.argv[1], 'a') as file:\n"
        "    for step in (3, 1, 2):\n"
        "        print(json.dumps({'loss': str(step * int(sys.argv[2]))}), file=file)\n"
    )
    (tmp_path / "t.py").write_text(script)
    document = experiment(
        [number("n", "1", "2", "int")],
        ["python", "t.py", "/katib/m.json", "${trialParameters.n}"],
        algorithm="grid",
        maxTrialCount=2,
        metricsCollectorSpec={
            "collector": {"kind": "File"},
            "source": {"fileSystemPath": {"path": "/katib/m.json", "kind": "File", "format": "JSON"}},
        },
    )
    document["spec"]["objective"]["metricStrategies"] = [{"name": "loss", "value": "latest"}]
    result = ran(tmp_path, document)
    assert [trial.value for trial in result.trials] == [2.0, 4.0]
    metrics = (tmp_path / "out/trials/tried-0002/metrics.csv").read_text().split()
    assert metrics == ["metric,value", "loss,6.0", "loss,2.0", "loss,4.0"]
    # A program that names the file nowhere would write to the same place from all trials.
    inner = document["spec"]["trialTemplate"]["trialSpec"]["spec"]["template"]["spec"]["containers"][0]
    inner["command"][2] = "elsewhere"
    with pytest.raises(UserError, match=r"The metrics file, /katib/m.json, is named neither"):
        ran(tmp_path, document)


def test_medianstop_ends_what_is_worse_than_the_mean_of_first_values(tmp_path: Path) -> None:
    script = (
        "import sys, time\n"
        "for step in range(2):\n"
        "    print('loss=' + sys.argv[1], flush=True)\n"
        "time.sleep(9999 if sys.argv[1] == '9' else 0)\n"
        "print('loss=0.5')\n"
    )
    (tmp_path / "t.py").write_text(script)
    settings = [{"name": "min_trials_required", "value": "2"}, {"name": "start_step", "value": "2"}]
    document = experiment(
        [listed("n", "1", "3", "9", "2")],
        ["python", "t.py", "${trialParameters.n}"],
        algorithm="grid",
        parallelTrialCount=1,
        earlyStopping={"algorithmName": "medianstop", "algorithmSettings": settings},
    )
    result = ran(tmp_path, document)
    # The mean is 2 when the third starts; the last one is exactly as good as that.
    assert states(result) == ["Succeeded", "Succeeded", "EarlyStopped", "Succeeded"]
    assert [trial.value for trial in result.trials] == [0.5, 0.5, 9.0, 0.5]


def test_a_trial_of_a_search_is_ended_between_its_steps_as_our_experiments_say(tmp_path: Path) -> None:
    script = (
        "import sys, time\n"
        "from pocketkube.search.trial_command import score_text\n"
        "with open(sys.argv[1], 'w') as file:\n"
        "    for part in range(1, 6):\n"
        "        file.write(score_text(float(sys.argv[2]) * part))\n"
        "        file.flush()\n"
        "        time.sleep(30 if sys.argv[2] == '0.01' and part == 2 else 0.01)\n"
    )
    (tmp_path / "t.py").write_text(script)
    settings = [{"name": name, "value": str(value)} for name, value in MEDIANSTOP.items()]
    document = experiment(
        [listed("n", "0.1", "0.2", "0.15", "0.01", "0.18")],
        ["python", "t.py", "/katib/m.log", "${trialParameters.n}"],
        algorithm="grid",
        parallelTrialCount=1,
        maxTrialCount=5,
        objective={"type": "maximize", "objectiveMetricName": "score"},
        earlyStopping={"algorithmName": "medianstop", "algorithmSettings": settings},
        metricsCollectorSpec={
            "collector": {"kind": "File"},
            "source": {
                "fileSystemPath": {"path": "/katib/m.log", "kind": "File", "format": "TEXT"},
                "filter": {"metricsFormat": [METRICS_FORMAT]},
            },
        },
    )
    document["spec"]["objective"]["metricStrategies"] = [{"name": "score", "value": "latest"}]
    result = ran(tmp_path, document)
    assert states(result) == [*["Succeeded"] * 3, "EarlyStopped", "Succeeded"]
    # After two parts of five: 0.02 is below the mean of the others' first two.
    assert [trial.value for trial in result.trials] == pytest.approx([0.5, 1.0, 0.75, 0.02, 0.9])


def test_values_variables_and_metadata_reach_the_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN", "from here")
    script = "import os, sys; print('loss=1', *map(os.environ.get, ('A', 'B', 'TOKEN')), *sys.argv[1:])"
    (tmp_path / "t.py").write_text(script)
    variables = [
        {"name": "A", "value": "${trialParameters.trial}"},
        {"name": "B", "value": "${trialParameters.n}/${trialParameters.label}"},
        {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
    ]
    labels = {"metadata": {"labels": {"team/x": "blue"}}}
    trial = job(["python3", "t.py", "$(A)"], env=variables) | labels
    document = experiment([number("n", "1", "1", "int")], [], trial=trial, maxTrialCount=2)
    document["spec"]["trialTemplate"]["trialParameters"] += [
        {"name": "trial", "reference": "${trialSpec.Name}"},
        {"name": "label", "reference": "${trialSpec.Labels[team/x]}"},
    ]
    ran(tmp_path, document)
    log = (tmp_path / "out/trials/tried-0002/log.txt").read_text()
    assert log == "loss=1 tried-0002 1/blue from here tried-0002\n"
    monkeypatch.delenv("TOKEN")
    with pytest.raises(UserError, match="The cluster gives the trials TOKEN; set it"):
        ran(tmp_path, document)


def test_a_shell_runs_a_command_as_katib_has_one_run_it(tmp_path: Path) -> None:
    parameters = [number("n", "1", "1", "int")]
    joined = ["echo", "loss=${trialParameters.n};", "echo", "it's not quoted' >&2"]
    own = ["sh", "-c", "echo loss=${trialParameters.n} && python -c 'print(7)'"]
    for name, command, printed in (
        ("a", joined, "loss=1\nits not quoted\n"),
        ("b", own, "loss=1\n7\n"),
    ):
        (folder := tmp_path / name).mkdir()
        ran(folder, experiment(parameters, command, maxTrialCount=1, parallelTrialCount=1))
        assert (folder / "out/trials/tried-0001/log.txt").read_text() == printed


def test_other_paths_that_begin_or_end_as_the_metrics_file_are_left_alone() -> None:
    def run(*words: str) -> list[str]:
        command = Command(("tune", *words), {}, (), "")
        assert names_file(command, "/data/m")
        return words_to_run(command, "/data/m", Path("/r/metrics.log"))

    others = ["--model=/data/model.keras", "/data/m.keras", "/data/m/x", "/old/data/m", "/data/m-2"]
    named = ["--metrics=/data/m", "-o/data/m", "/data/m"]
    there = ["--metrics=/r/metrics.log", "-o/r/metrics.log", "/r/metrics.log"]
    assert run(*others, *named) == ["tune", *others, *there]
    assert run("a;", "b", ">/data/m;", "c", ">/data/m2") == [
        "sh",
        "-c",
        "tune a; b >/r/metrics.log; c >/data/m2",
    ]
    aside = "a >/data/m.tmp && mv /data/m.tmp /data/m && b /data/m-2"
    assert run(aside)[-1] == (
        "tune a >/r/metrics.log.tmp && mv /r/metrics.log.tmp /r/metrics.log && b /data/m-2"
    )
    assert run("--out=file:///data/m") == ["tune", "--out=file:///r/metrics.log"]
    assert not names_file(Command(("tune", *others), {}, (), ""), "/data/m")


def test_the_launcher_of_an_mpijob_is_run(tmp_path: Path) -> None:
    launcher = {"name": "main", "command": ["echo"], "args": ["loss=${trialParameters.n}"]}
    pod = {"template": {"spec": {"containers": [launcher]}}}
    trial = {
        "apiVersion": "kubeflow.org/v2beta1",
        "kind": "MPIJob",
        "spec": {"mpiReplicaSpecs": {"Launcher": pod, "Worker": pod}},
    }
    document = experiment(
        [number("n", "2", "3", "int")], [], trial=trial, algorithm="grid", maxTrialCount=2
    )
    notes: list[str] = []
    result = run_experiment(written(tmp_path, document), tmp_path / "out", notes.append)
    assert [each.value for each in result.trials] == [2.0, 3.0]
    # Else Katib puts its collector into no pod at all.
    assert any("training.kubeflow.org/job-role: launcher" in note for note in notes)


def slow(folder: Path, **more: Any) -> Path:
    script = "import sys, time; time.sleep(0.4); print('loss=' + sys.argv[1])"
    (folder / "t.py").write_text(script)
    command = ["python", "t.py", "${trialParameters.n}"]
    document = experiment(
        [number("n", "0", "99", "int")], command, settings={"random_state": "3"}, maxTrialCount=6
    )
    document["spec"] |= more
    return written(folder, document)


def interrupt(path: Path, output: Path, how: signal.Signals, after: str) -> str:
    """Interrupts an experiment after a line that says `after`; what it prints then."""
    with subprocess.Popen(command_line(path, output), stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        next(line for line in process.stderr if after in line)
        # The next trial begins a moment after the line.
        while not (trials := psutil.Process(process.pid).children(recursive=True)):
            time.sleep(0.01)
        process.send_signal(how)
        rest = process.stderr.read()
    # No trial outlives it.
    assert not psutil.wait_procs(trials, 5)[1]
    return rest


def test_an_interrupted_experiment_goes_on_with_nothing_lost(tmp_path: Path) -> None:
    path, out = slow(tmp_path), tmp_path / "out"
    whole = run_experiment(path, tmp_path / "whole", lambda line: None)
    interrupt(path, out, signal.SIGKILL, "ended=2/6")
    # Half a line, as a kill leaves one.
    with (out / "journal.jsonl").open("a") as journal:
        journal.write('{"kind":"ended","trial":{"num')
    # One more than was seen may have ended before the kill.
    rest = interrupt(path, out, signal.SIGINT, "state=Succeeded")
    assert "interrupted; the same command goes on from here." in rest
    lines: list[str] = []
    result = run_experiment(path, out, lines.append)
    assert any("goes on after" in line for line in lines)
    assert states(result) == ["Succeeded"] * 6
    assert [each.assignment for each in result.trials] == [each.assignment for each in whole.trials]
    assert sum("state=Succeeded" in line for line in lines) <= 3


def test_more_trials_follow_where_the_experiment_may_be_resumed(tmp_path: Path) -> None:
    def run(**more: Any) -> Result:
        return run_experiment(slow(tmp_path, **more), tmp_path / "out", lambda line: None)

    assert len(run(maxTrialCount=2).trials) == 2
    # Nothing changed: what came of it is told again.
    assert len(run(maxTrialCount=2).trials) == 2
    with pytest.raises(UserError, match="has ended with 2 trials; only one that ended by"):
        run(maxTrialCount=3)
    assert len(run(maxTrialCount=3, resumePolicy="LongRunning").trials) == 3
    with pytest.raises(UserError, match="holds another experiment, or more was changed than"):
        run(maxTrialCount=3, objective={"type": "maximize", "objectiveMetricName": "loss"})


def test_two_processes_do_not_run_one_experiment(tmp_path: Path) -> None:
    path = slow(tmp_path)
    with (
        Journal(tmp_path / "out", read_experiment(path)),
        pytest.raises(UserError, match="another process runs this experiment"),
    ):
        run_experiment(path, tmp_path / "out", lambda line: None)


@pytest.mark.parametrize("name", ["experiment.json", "trials/tried-0001/experiment.yaml"])
def test_an_experiment_in_the_folder_of_its_results_is_not_written_over(
    tmp_path: Path, name: str
) -> None:
    path = written(tmp_path, bowl(tmp_path))
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    path = path.rename(tmp_path / name)
    text = path.read_text()
    with pytest.raises(UserError, match=f"the experiment: {path} is read, and would be written over"):
        run_experiment(path, tmp_path, lambda line: None)
    assert path.read_text() == text
    assert not (tmp_path / "journal.jsonl").exists()


def test_without_katibs_models_the_extra_is_named(tmp_path: Path) -> None:
    path = written(tmp_path, bowl(tmp_path))
    script = (
        "import sys; sys.modules['kubeflow_katib_api'] = None\n"
        "from pocketkube.cli import main\n"
        f"main(['experiment', 'run', {str(path)!r}, '-o', {str(tmp_path / 'out')!r}])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 2
    assert "pip install '.[cluster]'" in done.stderr
    assert not (tmp_path / "out").exists()
