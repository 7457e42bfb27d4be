"""What the pods of all tasks have in common, and what each asks for."""

import os
from collections.abc import Mapping
from typing import Any

from kfp import kubernetes

from pocketkube.spec.sections.cluster import GPU, OF_OUR_IMAGE
from pocketkube.stages.own_place import WORK
from pocketkube.stages.parts import BENCHMARK_IMAGE, TaskRequest
from pocketkube.storage.server_settings import SECRET

STORE = "pocketkube-object-store"


def set_pod(task: Any) -> None:
    """Has a task run as Kubernetes' "restricted" demands, with a /tmp of its own.

    Args:
        task: The KFP task.
    """
    kubernetes.set_security_context(task, run_as_user=1000, run_as_group=0, run_as_non_root=True)
    # Network policies know our pods by it.
    kubernetes.add_pod_label(task, "app.kubernetes.io/part-of", "pocketkube")
    kubernetes.empty_dir_mount(task, volume_name="tmp", mount_path="/tmp")


def set_store(task: Any, secret: Any, endpoint: str = "") -> None:
    """Tells a task where the S3 server is and with which keys, where the cluster says so.

    Args:
        task: The KFP task.
        secret: The name of the Secret with accesskey and secretkey, or the parameter that holds it.
        endpoint: The server's URL; if empty, what the ConfigMap pocketkube-object-store says.
    """
    names = {"endpoint": "AWS_ENDPOINT_URL_S3", "region": "AWS_REGION", "work": WORK}
    if endpoint:
        task.set_env_variable(names.pop("endpoint"), endpoint)
    kubernetes.use_config_map_as_env(task, STORE, names, optional=True)
    keys = {"accesskey": "AWS_ACCESS_KEY_ID", "secretkey": "AWS_SECRET_ACCESS_KEY"}
    kubernetes.use_secret_as_env(task, secret, keys, optional=True)
    # Messages name it where it is not there; what a run names is known to the run alone.
    told = secret if isinstance(secret, str) else "that object_store_secret names"
    task.set_env_variable(SECRET, told)


def request_first(task: Any, memory: str) -> None:
    """Sets what the pod of a task asks for that no settings reach: they are read by it.

    A namespace with a quota takes no pod that says nothing.

    Args:
        task: The KFP task.
        memory: The most memory that it may take.
    """
    task.set_cpu_request("250m").set_cpu_limit("2")
    task.set_memory_request("1Gi").set_memory_limit(memory)
    select_nodes(task, OF_OUR_IMAGE)


def request_now(task: Any, request: TaskRequest) -> None:
    """Sets what a task's pod asks for, as it is known when the pipeline is compiled.

    Args:
        task: The KFP task.
        request: What it asks for.
    """
    if request.cpu != "0":
        task.set_cpu_request(request.cpu).set_cpu_limit(request.cpu)
    if request.memory != "0":
        task.set_memory_request(request.memory).set_memory_limit(request.memory)
    if request.gpus != "0":
        task.set_accelerator_type(GPU).set_accelerator_limit(request.gpus)
    select_nodes(task, request.node_selector)
    if request.tolerations:
        kubernetes.add_toleration_json(task, request.tolerations)


def set_images(task: Any) -> None:
    """Tells the task that others have their settings from which image measures on other nodes.

    Args:
        task: The KFP task.
    """
    if image := os.environ.get(BENCHMARK_IMAGE):
        task.set_env_variable(BENCHMARK_IMAGE, image)


def select_nodes(task: Any, labels: Mapping[str, str]) -> None:
    """Has a task run on nodes with labels.

    Args:
        task: The KFP task.
        labels: The labels and their values.
    """
    for label, value in labels.items():
        kubernetes.add_node_selector(task, label, value)


def request_later(task: Any, outputs: Mapping[str, Any], name: str) -> None:
    """Sets what a task's pod asks for, as an earlier task says.

    Args:
        task: The KFP task.
        outputs: The earlier task's outputs.
        name: What they begin with, as in train_model of train_model_cpu.
    """
    task.set_cpu_limit(outputs[f"{name}_cpu"]).set_memory_limit(outputs[f"{name}_memory"])
    task.set_accelerator_type(GPU).set_accelerator_limit(outputs[f"{name}_gpus"])
    kubernetes.add_node_selector_json(task, outputs[f"{name}_node_selector"])
    kubernetes.add_toleration_json(task, outputs[f"{name}_tolerations"])
