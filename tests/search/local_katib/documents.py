"""Experiments for tests: YAML files whose trials are small scripts."""

import sys
from pathlib import Path
from typing import Any

import yaml

Document = dict[str, Any]

# Bends down to 0 at x = 3, y = 0.
BOWL = """
import sys
x, y = (float(word.split("=")[1]) for word in sys.argv[1:3])
print(f"loss={(x - 3) ** 2 + y ** 2:.6f}")
"""


def number(name: str, least: str, most: str, kind: str = "double", **more: str) -> Document:
    return {
        "name": name,
        "parameterType": kind,
        "feasibleSpace": {"min": least, "max": most} | more,
    }


def listed(name: str, *values: str, kind: str = "categorical") -> Document:
    return {"name": name, "parameterType": kind, "feasibleSpace": {"list": list(values)}}


def job(command: list[str], **container: Any) -> Document:
    inner = {"name": "main", "image": "example.com/trial", "command": command, **container}
    pod = {"spec": {"restartPolicy": "Never", "containers": [inner]}}
    return {"apiVersion": "batch/v1", "kind": "Job", "spec": {"template": pod}}


def experiment(
    parameters: list[Document],
    command: list[str],
    *,
    algorithm: str = "random",
    settings: dict[str, str] | None = None,
    trial: Document | None = None,
    **spec: Any,
) -> Document:
    named = [{"name": key, "value": value} for key, value in (settings or {}).items()]
    return {
        "apiVersion": "kubeflow.org/v1beta1",
        "kind": "Experiment",
        "metadata": {"name": "tried"},
        "spec": {
            "objective": {"type": "minimize", "objectiveMetricName": "loss"},
            "algorithm": {"algorithmName": algorithm, "algorithmSettings": named},
            "parallelTrialCount": 2,
            "maxTrialCount": 4,
            "parameters": parameters,
            "trialTemplate": {
                "primaryContainerName": "main",
                "trialParameters": [
                    {"name": each["name"], "reference": each["name"]} for each in parameters
                ],
                "trialSpec": trial or job(command),
            },
        }
        | spec,
    }


def bowl(folder: Path, **more: Any) -> Document:
    """An experiment in x and y; its script lies in the folder, where trials run."""
    (folder / "bowl.py").write_text(BOWL)
    command = ["python", "bowl.py", "--x=${trialParameters.x}", "--y=${trialParameters.y}"]
    parameters = [number("x", "0", "5"), number("y", "-1", "1")]
    return experiment(parameters, command, **more)


def written(folder: Path, document: Document) -> Path:
    path = folder / "experiment.yaml"
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    return path


def command_line(path: Path, output: Path, *more: str) -> list[str]:
    return [
        sys.executable,
        "-m",
        "pocketkube",
        "experiment",
        "run",
        str(path),
        "-o",
        str(output),
        *more,
    ]
