"""What jobs on a cluster have in common: their start, their end, the way to the object store."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator

from pocketkube.kube.objects import Created, create, delete, kind_of, name_of
from pocketkube.kube.session import Session
from pocketkube.kube.transport import Document
from pocketkube.launch.outcome import Outcome
from pocketkube.spec.sections import Cluster
from pocketkube.storage.server_settings import ENDPOINTS, REGIONS, named_endpoint, region


def start_or_adopt(
    session: Session, document: Document, is_of_no_use: Callable[[Document], bool]
) -> Created:
    """Starts a job, or finds the one of its name; an interruption leaves none.

    Args:
        session: The cluster, and the namespace.
        document: The job.
        is_of_no_use: Whether one that is there is replaced, as when it has failed.

    Raises:
        UserError: If the API server refuses, or stays away.
    """
    kind, name = kind_of(document), name_of(document)
    try:
        created = create(session, document)
        if not created.is_new and is_of_no_use(created.document):
            delete(session, kind, name)
            created = create(session, document)
    except KeyboardInterrupt:
        delete(session, kind, name, seconds=0)
        raise
    return created


def store_of(cluster: Cluster) -> dict[str, str]:
    """The variables by which a job's pods find the object store; its keys come from a Secret.

    What whoever starts the job has in the environment holds, where the section names no server.
    """
    told = {
        ENDPOINTS[0]: cluster.object_store.endpoint or named_endpoint(),
        REGIONS[0]: region(),
    }
    return {name: value for name, value in told.items() if value}


class EndsWhenFollowed(ABC):
    """A job whose outcome is known when it was followed to its end; see `Job`."""

    _outcome: Outcome | None = None

    @abstractmethod
    def follow(self) -> Iterator[str]:
        """See `Job`; sets the outcome."""

    @property
    def outcome(self) -> Outcome:
        """See `Job`."""
        for _ in self.follow():
            pass
        assert self._outcome is not None
        return self._outcome
