"""A cluster's API server: objects of any kind, watched and followed; needs the extra `cluster`."""

from pocketkube.kube.failures import ApiServerAway, NotInTime, Refused
from pocketkube.kube.session import Session, connect

__all__ = ["ApiServerAway", "NotInTime", "Refused", "Session", "connect"]
