"""Writes what manifests/ holds of pipelines, and images' names: `python -m manifests.generate`.

A pipeline becomes a package, which is uploaded to back ends that keep pipelines in a database, and a
Pipeline and a PipelineVersion object, which the others read.
"""

import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from kfp import compiler
from kfp.compiler.compiler_utils import KubernetesManifestOptions

# Sets the default of POCKETKUBE_IMAGE, which components are compiled with.
import components  # noqa: F401
from pipelines.ready import READY
from pocketkube import __version__
from pocketkube.cli.ending import plain_ending
from pocketkube.errors import UserError, repeatable
from pocketkube.files.whole import write_text
from pocketkube.kube.doctor.katib import ALGORITHMS, MPIJOBS
from pocketkube.kube.kfp.package import read_package
from pocketkube.kube.pod_parts import CONTAINER_SECURITY
from pocketkube.kube.trainjob import training_runtime
from pocketkube.search.suggestion_service import PORT, SERVICE
from pocketkube.spec.sections import Cluster

ROOT = Path(__file__).parent
BENCHMARK_IMAGE, SUGGESTION_IMAGE = "POCKETKUBE_BENCHMARK_IMAGE", "POCKETKUBE_SUGGESTION_IMAGE"
_HEADER = "# Written by `make manifests` from pipelines/.\n"
_KATIB_HEADER = """\
# Written by `make manifests`: what of the KatibConfig in Katib's ConfigMap katib-config is ours.
# `python -m manifests.register_in_katib` adds it; by hand, add each list's items to that of its name.
"""
_TRAINER_HEADER = """\
# Written by `make manifests`: what TrainJobs are made from, once for a cluster with Kubeflow Trainer.
"""
# The service's most is some 115 MiB, of which SciPy's solver takes 40; Katib gives 100 if not told.
MEMORY = "192Mi"


def main() -> None:
    """Writes the files, and removes those of pipelines that are no more."""
    found = generated()
    for name, text in found.items():
        write_text(ROOT / name, text)
    for folder in ("pipelines", "pipelines/packages"):
        for path in (ROOT / folder).glob("*.yaml"):
            if str(path.relative_to(ROOT)) not in found:
                path.unlink()


def generated() -> dict[str, str]:
    """The files' texts, by their places in manifests/.

    Raises:
        UserError: If POCKETKUBE_IMAGE, POCKETKUBE_BENCHMARK_IMAGE or POCKETKUBE_SUGGESTION_IMAGE is no
            image's name.
    """
    names, files = [], {"components/image/kustomization.yaml": images()}
    files["katib/entries.yaml"] = katib_entries()
    files["trainer/runtime.yaml"] = training_runtime_text()
    files["trainer/kustomization.yaml"] = _kustomization(
        "Kustomization", {"resources": ["runtime.yaml"]}
    )
    for make in READY.values():
        name, package, objects = _compiled(make())
        names.append(f"{name}.yaml")
        files[f"pipelines/packages/{name}.yaml"] = package
        files[f"pipelines/{name}.yaml"] = _HEADER + objects
    files["pipelines/kustomization.yaml"] = _kustomization("Kustomization", {"resources": names})
    files["pipelines/packages/kustomization.yaml"] = _kustomization(
        "Kustomization", {"configMapGenerator": [{"name": "pocketkube-pipelines", "files": names}]}
    )
    return files


def _compiled(pipeline: Any) -> tuple[str, str, str]:
    """A pipeline's name, its package, and its objects, whose version has the package's digest."""
    with tempfile.TemporaryDirectory() as folder:
        path, objects = Path(folder) / "package.yaml", Path(folder) / "objects.yaml"
        compiler.Compiler().compile(pipeline, str(path))
        package = read_package(path)
        compiler.Compiler().compile(
            pipeline,
            str(objects),
            kubernetes_manifest_format=True,
            kubernetes_manifest_options=KubernetesManifestOptions(
                pipeline_name=package.name,
                pipeline_display_name=package.name,
                pipeline_version_name=package.version,
                pipeline_version_display_name=package.version,
                include_pipeline_manifest=True,
            ),
        )
        return package.name, path.read_text(), objects.read_text()


def images() -> str:
    """The kustomize component that says what a cluster calls our images.

    Raises:
        UserError: If POCKETKUBE_IMAGE or POCKETKUBE_BENCHMARK_IMAGE is no image's name.
    """
    runtime = os.environ["POCKETKUBE_IMAGE"]
    benchmark = os.environ.get(BENCHMARK_IMAGE) or Cluster().benchmark_image
    names = [
        {"name": "pocketkube", **_parts("POCKETKUBE_IMAGE", runtime)},
        {"name": "pocketkube-benchmark", **_parts(BENCHMARK_IMAGE, benchmark)},
    ]
    return _kustomization("Component", {"images": names})


def training_runtime_text() -> str:
    """The ClusterTrainingRuntime of `launcher: trainjob`."""
    runtime = training_runtime(Cluster(), os.environ["POCKETKUBE_IMAGE"])
    return _TRAINER_HEADER + yaml.dump(runtime, Dumper=_Plain, sort_keys=False)


def katib_entries() -> str:
    """What of a KatibConfig is ours: MPIJobs as trials, and the containers of our algorithms.

    Raises:
        UserError: If POCKETKUBE_SUGGESTION_IMAGE is no image's name.
    """
    image = os.environ.get(SUGGESTION_IMAGE) or f"pocketkube-suggestion:{__version__}"
    _parts(SUGGESTION_IMAGE, image)
    container = {
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "resources": {
            "requests": {"cpu": "100m", "memory": MEMORY},
            "limits": {"cpu": "1", "memory": MEMORY},
        },
        # Katib says nothing of its pods' security, and "restricted" asks for all of this.
        "securityContext": {
            **CONTAINER_SECURITY,
            "runAsNonRoot": True,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        # Katib's own waits ten seconds more before the first trial.
        "readinessProbe": {
            "grpc": {"port": PORT, "service": SERVICE},
            "periodSeconds": 1,
            "failureThreshold": 60,
        },
    }
    entries = {
        "init": {"controller": {"trialResources": [MPIJOBS]}},
        "runtime": {"suggestions": [{"algorithmName": name, **container} for name in ALGORITHMS]},
    }
    return _KATIB_HEADER + yaml.dump(entries, Dumper=_Plain, sort_keys=False)


class _Plain(yaml.SafeDumper):
    """Writes a value that is there several times each time."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _parts(variable: str, image: str) -> dict[str, str]:
    """An image's name and tag or digest, as kustomize has them."""
    found = re.fullmatch(r"(?P<newName>[^@\s]+?)(:(?P<newTag>[\w.-]+)|@(?P<digest>\w+:\w+))", image)
    if found is None:
        raise UserError(
            f"{variable} is {repeatable(image)}, but has to be an image with its tag, as in "
            "registry.example.com/pocketkube:0.1.0."
        )
    return {name: value for name, value in found.groupdict().items() if value}


def _kustomization(kind: str, content: Mapping[str, Any]) -> str:
    version = {"Kustomization": "v1beta1", "Component": "v1alpha1"}[kind]
    document = {"apiVersion": f"kustomize.config.k8s.io/{version}", "kind": kind, **content}
    return _HEADER + yaml.safe_dump(document, sort_keys=False)


if __name__ == "__main__":
    with plain_ending():
        main()
