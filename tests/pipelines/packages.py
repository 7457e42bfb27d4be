"""Compiled pipelines as a back end reads them."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml


@dataclass(frozen=True)
class Package:
    """A compiled pipeline.

    Attributes:
        pipeline: Its IR.
        platform: What is Kubernetes' alone.
    """

    pipeline: dict[str, Any]
    platform: dict[str, Any]

    @property
    def parameters(self) -> dict[str, Any]:
        return self.pipeline["root"]["inputDefinitions"]["parameters"]

    @property
    def tasks(self) -> dict[str, Any]:
        return self.pipeline["root"]["dag"]["tasks"]

    @property
    def all_tasks(self) -> Iterator[tuple[str, Any]]:
        """Those within conditions, too."""
        for component in (self.pipeline["root"], *self.pipeline["components"].values()):
            yield from component.get("dag", {}).get("tasks", {}).items()

    @property
    def containers(self) -> dict[str, Any]:
        executors = self.pipeline["deploymentSpec"]["executors"]
        return {name.removeprefix("exec-"): each["container"] for name, each in executors.items()}

    @property
    def pods(self) -> dict[str, Any]:
        executors = self.platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
        return {name.removeprefix("exec-"): each for name, each in executors.items()}

    def twice(self) -> Iterator[str]:
        """Tasks that take one output of one producer twice."""
        for name, task in self.all_tasks:
            sources = [
                (each["producerTask"], each["outputArtifactKey"])
                for value in task.get("inputs", {}).get("artifacts", {}).values()
                if (each := value.get("taskOutputArtifact"))
            ]
            if len(set(sources)) < len(sources):
                yield name


def package(pipeline: Any, folder: Path) -> Package:
    """Compiles a pipeline and reads the file back."""
    from kfp import compiler

    path = folder / "package.yaml"
    compiler.Compiler().compile(pipeline, str(path))
    return Package(*yaml.safe_load_all(path.read_text("utf-8")))
