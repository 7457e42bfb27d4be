"""What explains a failure on a cluster: events, pods and their logs."""

import yaml
from kubernetes import client


def diagnosis(namespace: str) -> str:
    """Events, pods and logs of a namespace, to be read by a person."""
    core = client.CoreV1Api()
    events = core.list_namespaced_event(namespace).items
    events.sort(key=lambda event: str(event.last_timestamp or event.event_time))
    parts = ["--- events"]
    parts += [
        f"{event.last_timestamp or event.event_time} {event.involved_object.kind}/"
        f"{event.involved_object.name} {event.reason}: {event.message}"
        for event in events
    ]
    for pod in core.list_namespaced_pod(namespace).items:
        plain = client.ApiClient().sanitize_for_serialization
        parts += [
            f"--- pod {pod.metadata.name} on {pod.spec.node_name}",
            yaml.safe_dump({"spec": plain(pod.spec), "status": plain(pod.status)}),
            f"--- log of {pod.metadata.name}",
            _log(pod),
        ]
    return "\n".join(parts)


def _log(pod: client.V1Pod) -> str:
    try:
        return client.CoreV1Api().read_namespaced_pod_log(pod.metadata.name, pod.metadata.namespace)
    except client.ApiException as error:
        return f"(no log: {error.reason})"
