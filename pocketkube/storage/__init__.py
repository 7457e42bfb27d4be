"""Folders on an S3 server, complete or absent; local ones are pocketkube.files' work."""

from pocketkube.storage.failures import ServerAway
from pocketkube.storage.fetch import fetch_folder
from pocketkube.storage.places import Place, is_uri, parse_uri
from pocketkube.storage.send import refuse_unwritable, send_folder

__all__ = [
    "Place",
    "ServerAway",
    "fetch_folder",
    "is_uri",
    "parse_uri",
    "refuse_unwritable",
    "send_folder",
]
