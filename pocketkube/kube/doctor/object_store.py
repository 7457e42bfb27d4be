"""Whether the S3 servers of pipelines and of tasks are named, reached, and have their buckets."""

import base64
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

import certifi
import urllib3
import yaml
from minio import Minio
from minio.error import MinioException, S3Error
from urllib3.exceptions import HTTPError

from pocketkube.kube.doctor.finding import Finding, missing, note, right, wrong
from pocketkube.kube.doctor.needs import Needs
from pocketkube.kube.objects import CONFIG_MAP, SECRET, get
from pocketkube.kube.session import Session
from pocketkube.spec.sections import USUAL_WORK
from pocketkube.storage import parse_uri
from pocketkube.storage.server_settings import CERTIFICATES, ENDPOINTS, is_key, named_endpoint

LAUNCHER, SETTINGS = "kfp-launcher", "pocketkube-object-store"
# What is found by this name from every namespace.
_SERVICE = re.compile(
    r"(?P<name>[a-z][a-z0-9-]*)\.(?P<namespace>[a-z0-9-]+)(\.svc(\.cluster\.local)?)?"
)
_TIMEOUT = urllib3.Timeout(connect=3, read=5)


@dataclass(frozen=True)
class Store:
    """An S3 server as a cluster names it.

    Attributes:
        endpoint: Its URL; empty where none is named.
        bucket: The bucket.
        prefix: What names in it begin with: keys may open no others.
        region: The bucket's region; empty if the server does not care.
        secret: The Secret of its keys.
        access_key: The entry of the Secret with the access key.
        secret_key: That with the secret key.
    """

    endpoint: str
    bucket: str
    prefix: str
    region: str
    secret: str
    access_key: str
    secret_key: str


def check_pipeline_root(session: Session) -> Iterator[Finding]:
    """Whether the place of the pipelines' artifacts is named, reached, and there."""
    subject = "pipeline root"
    document = get(session, CONFIG_MAP, LAUNCHER)
    if document is None:
        yield note(
            subject,
            f"there is no ConfigMap {LAUNCHER} in namespace {session.namespace}: Kubeflow's default "
            "is used",
            f"kubectl -n {session.namespace} create configmap {LAUNCHER} --from-literal=defaultPipelineRoot=s3://BUCKET/v2",
        )
        return
    store = store_of_launcher(document.get("data", {}))
    if store is None:
        yield note(
            subject,
            f"{LAUNCHER} names no S3 server with a Secret: pods have rights of their own, or "
            "Kubeflow's default",
            f"kubectl -n {session.namespace} get configmap {LAUNCHER} -o yaml",
        )
        return
    yield from _reached(session, subject, store)


def check_task_store(session: Session, needs: Needs) -> Iterator[Finding]:
    """Whether tasks are told of the S3 server where their checkpoints are."""
    subject, settings = "tasks' S3 server", needs.cluster.object_store
    told = (get(session, CONFIG_MAP, SETTINGS) or {}).get("data", {})
    endpoint = settings.endpoint or told.get("endpoint", "")
    if not endpoint:
        yield missing(
            needs.mpijobs or needs.trainjobs or needs.jobs,
            subject,
            "tasks are told of none: neither cluster.object_store.endpoint nor ConfigMap "
            f"{SETTINGS} is there",
            f"kubectl -n {session.namespace} create configmap {SETTINGS} --from-literal=endpoint=http://HOST:9000",
        )
        return
    work = parse_uri(settings.work or told.get("work") or USUAL_WORK)
    store = Store(
        endpoint=endpoint,
        bucket=work.bucket,
        prefix=work.object(""),
        region=told.get("region", ""),
        secret=settings.secret,
        access_key="accesskey",
        secret_key="secretkey",
    )
    launcher = get(session, CONFIG_MAP, LAUNCHER)
    known = store_of_launcher((launcher or {}).get("data", {}))
    is_same = known is not None and urlsplit(known.endpoint).netloc == urlsplit(endpoint).netloc
    if known is not None and is_same and not store.region:
        store = replace(store, region=known.region)
    yield from _reached(session, subject, store)


def store_of_launcher(data: Mapping[str, str]) -> Store | None:
    """The S3 server of KFP's pipeline root; None where no Secret has its keys.

    Args:
        data: Of the ConfigMap kfp-launcher.
    """
    scheme, _, rest = data.get("defaultPipelineRoot", "minio://mlpipeline/v2/artifacts").partition(
        "://"
    )
    bucket, _, prefix = rest.partition("/")
    try:
        provider = (yaml.safe_load(data.get("providers", "")) or {})[scheme]
        settings = _settings(provider, bucket)
        keys = settings["credentials"]["secretRef"]
        address = settings["endpoint"]
        return Store(
            endpoint=address if "://" in address else _with_scheme(address, settings),
            bucket=bucket,
            prefix=f"{prefix.strip('/')}/" if prefix.strip("/") else "",
            region=settings.get("region") or "",
            secret=keys["secretName"],
            access_key=keys["accessKeyKey"],
            secret_key=keys["secretKeyKey"],
        )
    except (yaml.YAMLError, LookupError, TypeError, AttributeError):
        return None


def _settings(provider: Mapping[str, Any], bucket: str) -> Mapping[str, Any]:
    for override in provider.get("overrides") or ():
        if override.get("bucketName") == bucket:
            return {**provider.get("default", {}), **override}
    return provider["default"]


def _with_scheme(address: str, settings: Mapping[str, Any]) -> str:
    # A YAML true or the text "true": KFP takes both.
    return f"{'http' if str(settings.get('disableSSL')).lower() == 'true' else 'https'}://{address}"


def _reached(session: Session, subject: str, store: Store) -> Iterator[Finding]:
    secret = get(session, SECRET, store.secret)
    data = (secret or {}).get("data", {})
    absent = [key for key in (store.access_key, store.secret_key) if key not in data]
    if absent:
        found = (
            f"Secret {store.secret} has no {' and '.join(absent)}"
            if secret
            else f"there is no Secret {store.secret}"
        )
        yield wrong(
            subject,
            f"{found} in namespace {session.namespace}",
            f"kubectl -n {session.namespace} create secret generic {store.secret} "
            f"--from-file={store.access_key}=FILE --from-file={store.secret_key}=FILE",
        )
        return
    keys = [
        base64.b64decode(data[key]).decode(errors="replace")
        for key in (store.access_key, store.secret_key)
    ]
    spoilt = [
        name
        for name, key in zip((store.access_key, store.secret_key), keys, strict=True)
        if not is_key(key)
    ]
    if spoilt:
        yield wrong(
            subject,
            f"{' and '.join(spoilt)} of Secret {store.secret} has a space, a line break or another "
            "sign that no key has",
            f"kubectl -n {session.namespace} edit secret {store.secret}: a key is written without a "
            "line break (echo -n KEY | base64)",
        )
        return
    addresses = dict.fromkeys(filter(None, (store.endpoint, named_endpoint())))
    reasons = []
    for address in addresses:
        try:
            yield _bucket(session, subject, replace(store, endpoint=address), keys)
            return
        except (HTTPError, OSError) as error:
            reasons.append(
                f"{address}: {str(error).rpartition('): ')[2].rpartition('Error: ')[2][:120]}"
            )
    yield note(
        subject,
        f"{store.endpoint} is named, its keys are there; whether it answers pods cannot be told from "
        f"here ({'; '.join(reasons)})",
        _forward(store.endpoint),
    )


def _bucket(session: Session, subject: str, store: Store, keys: list[str]) -> Finding:
    """Whether the bucket is there.

    Raises:
        HTTPError, OSError: If the server is not reached.
    """
    url = urlsplit(store.endpoint)
    pool = urllib3.PoolManager(
        timeout=_TIMEOUT,
        retries=urllib3.Retry(1),
        ca_certs=os.environ.get(CERTIFICATES) or certifi.where(),
    )
    edit = f"kubectl -n {session.namespace} edit configmap {LAUNCHER}"
    try:
        client = Minio(
            url.netloc,
            access_key=keys[0],
            secret_key=keys[1],
            secure=url.scheme == "https",
            region=store.region or None,
            http_client=pool,
        )
        # Keys of a profile may look at their own folder of the bucket, and not at the bucket.
        next(client.list_objects(store.bucket, prefix=store.prefix), None)
        return right(subject, f"{store.endpoint} answers, and has the bucket {store.bucket}")
    except S3Error as error:
        if error.code == "NoSuchBucket":
            remedy = f"aws --endpoint-url {store.endpoint} s3 mb s3://{store.bucket}"
            return wrong(subject, f"{store.endpoint} answers, but has no bucket {store.bucket}", remedy)
        return wrong(
            subject,
            f"{store.endpoint} refuses the keys of Secret {store.secret} for {store.bucket} "
            f"({error.code})",
            f"kubectl -n {session.namespace} edit secret {store.secret}",
        )
    except (MinioException, ValueError) as error:
        return wrong(
            subject, f"{store.endpoint} does not answer as an S3 server does ({error!s:.100})", edit
        )


def _forward(endpoint: str) -> str:
    """What brings a Service of the cluster to this machine; another server is where it is."""
    url = urlsplit(endpoint)
    service = _SERVICE.fullmatch(url.hostname or "")
    if service is None:
        return "run doctor where that server is reached"
    port = url.port or (443 if url.scheme == "https" else 80)
    forward = f"kubectl -n {service['namespace']} port-forward service/{service['name']} 9000:{port}"
    return f"{forward}, and then doctor with {ENDPOINTS[0]}={url.scheme}://localhost:9000"
