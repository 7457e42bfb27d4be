"""Files and folders on an S3 server, and local ones, behind one type; `Location` is the way in."""

from pocketkube.storage.address import S3Address, is_uri, parse_uri
from pocketkube.storage.backup import backed_up, remove_if_possible
from pocketkube.storage.failures import ServerAway
from pocketkube.storage.fetch import fetch_folder
from pocketkube.storage.in_turn import InTurn
from pocketkube.storage.location import (
    ABSENT,
    Fetched,
    LocalLocation,
    Location,
    S3Location,
    parse_location,
)
from pocketkube.storage.patience import patiently
from pocketkube.storage.send import refuse_unwritable, send_folder
from pocketkube.storage.server_settings import is_named
from pocketkube.storage.swapping import Changed, Stored, read_stored, replace_stored
from pocketkube.storage.whole_folder import add_folder, is_whole

__all__ = [
    "ABSENT",
    "Changed",
    "Fetched",
    "InTurn",
    "LocalLocation",
    "Location",
    "S3Address",
    "S3Location",
    "ServerAway",
    "Stored",
    "add_folder",
    "backed_up",
    "fetch_folder",
    "is_named",
    "is_uri",
    "is_whole",
    "parse_location",
    "parse_uri",
    "patiently",
    "read_stored",
    "refuse_unwritable",
    "remove_if_possible",
    "replace_stored",
    "send_folder",
]
