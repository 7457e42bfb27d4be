"""Tells a Kubeflow Model Registry of versions; the files stay where our own registry keeps them."""

import asyncio
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from pocketkube.errors import UserError, first_line
from pocketkube.retraining.lineage import VersionFacts
from pocketkube.retraining.settings import RetrainingJob
from pocketkube.storage import Location

AUTHOR = "pocketkube"
# Of the registered model: which of its versions is deployed.
DEPLOYED = "deployed"


def tell_model_registry(
    job: RetrainingJob, facts: VersionFacts, place: Location, *, deployed: bool
) -> None:
    """Registers a version where the settings name a Model Registry, and says whether it is deployed.

    It may be done again: what is registered already is left as it is.

    Args:
        job: The settings.
        facts: The version.
        place: Where its folder is.
        deployed: Whether it is the deployed one now.

    Raises:
        UserError: If the client is not installed, or the server is away or refuses.
    """
    url, name = job.settings.model_registry, job.settings.name
    if not url:
        return
    with _plain_failures(url):
        client = _connect(url)
        _register(client, name, facts, f"{place}/model.tflite")
        if deployed:
            model = client.get_registered_model(name)
            if (model.custom_properties or {}).get(DEPLOYED) != facts.version:
                model.custom_properties = {
                    **(model.custom_properties or {}),
                    DEPLOYED: facts.version,
                }
                client.update(model)


def _register(client: Any, name: str, facts: VersionFacts, uri: str) -> None:
    of_file = {"model_format_name": "litert", "model_format_version": "3"}
    known = client.get_registered_model(name)
    version = client.get_model_version(name, facts.version) if known else None
    if version is None:
        client.register_model(
            name,
            uri,
            version=facts.version,
            version_description="; ".join(facts.decision.reasons),
            metadata=_lineage(facts),
            **of_file,
        )
    elif client.get_model_artifact(name, facts.version) is None:
        # An earlier run ended between the two; the client has no public call for the artifact alone.
        client.async_runner(client._register_model_artifact(version, name, uri, **of_file))


def _lineage(facts: VersionFacts) -> dict[str, str | float | int | bool]:
    partition = facts.decision.partition
    return {
        "parent": facts.parent or "",
        "partition": partition.name,
        "partition_place": partition.place,
        "partition_stamp": partition.stamp,
        "plan": facts.decision.plan,
        "passed": facts.gate.passed,
        facts.score_name: facts.score,
        "size_bytes": facts.size_bytes,
        "latency_ms": facts.latency_ms,
        "pocketkube": facts.pocketkube,
        "made_at": facts.made_at,
    }


def _connect(url: str) -> Any:
    try:
        from model_registry import ModelRegistry
    except ImportError:
        raise UserError(
            "model_registry: its client is not installed; pip install '.[registry]' in PocketKube's "
            "checkout."
        ) from None
    found = urlsplit(url)
    if not found.hostname or found.path.strip("/"):
        raise UserError(
            f"model_registry: {url} has to be http:// or https://, a host and perhaps a port."
        )
    secure = found.scheme == "https"
    host = f"[{found.hostname}]" if ":" in found.hostname else found.hostname
    with warnings.catch_warnings():
        # That there is no token is no matter where the server asks for none.
        warnings.simplefilter("ignore")
        return ModelRegistry(
            f"{found.scheme}://{host}",
            found.port or (443 if secure else 80),
            author=AUTHOR,
            is_secure=secure,
            async_runner=asyncio.run,
        )


@contextmanager
def _plain_failures(url: str) -> Iterator[None]:
    """Turns what the client raises into one line."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        known = type(error).__module__.split(".")[0] in ("model_registry", "mr_openapi", "aiohttp")
        if not known and not isinstance(error, OSError | TimeoutError):
            raise
        raise UserError(
            f"model_registry: {url} cannot be used ({first_line(error)}); is it the address of a "
            "Kubeflow Model Registry's REST API?"
        ) from error
