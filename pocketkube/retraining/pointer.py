"""Which version is deployed: one small object, deployed.json, that is replaced as a whole."""

import json

from pocketkube.errors import UserError
from pocketkube.files.records import Document, Record, document_of, text_of
from pocketkube.retraining.lineage import now
from pocketkube.storage import Location, Stored, read_stored, replace_stored

POINTER_FILE = "deployed.json"
# So many changes are remembered.
REMEMBERED = 200
RETRAINED, ROLLED_BACK, CHOSEN = "retrained", "rolled back", "chosen"


class Change(Record):
    """A version that was deployed.

    Attributes:
        version: The version.
        when: Since when.
        why: Whether it was retrained, rolled back to, or chosen.
    """

    version: str
    when: str
    why: str


class Pointer(Document):
    """The content of a deployed.json.

    Attributes:
        version: The deployed version.
        history: All that were, the present one last.
    """

    schema_version: int = 1
    version: str
    history: tuple[Change, ...]

    def knows(self, version: str) -> bool:
        """Whether a version is deployed, or was."""
        return any(change.version == version for change in self.history)

    @property
    def previous(self) -> str | None:
        """What a roll-back leads to: the version on which the present one followed.

        Rolling back twice leads two versions back, not to where it began.
        """
        followed: list[str] = []
        for change in self.history:
            if change.why == ROLLED_BACK and change.version in followed:
                # It may have been deployed more than once: the way back leads to the last time.
                while followed[-1] != change.version:
                    followed.pop()
            else:
                followed.append(change.version)
        return followed[-2] if len(followed) > 1 else None


class DeployedPointer:
    """Reads and replaces a registry's pointer."""

    def __init__(self, registry: Location):
        self._place = registry.below(POINTER_FILE)

    def read(self) -> Pointer | None:
        """The pointer; None where nothing was deployed yet.

        Raises:
            UserError: If it is damaged, or the server is away or refuses.
        """
        stored = read_stored(self._place)
        return None if stored is None else self._parsed(stored)

    def replace(self, version: str, why: str, expected: str | None) -> bool:
        """Deploys a version.

        Args:
            version: The version, which is registered.
            why: See `Change`.
            expected: The version that has to be the deployed one until then; None where none is.

        Returns:
            Whether it is deployed now; not where another one is than expected.

        Raises:
            Changed: If somebody else did so at the same time.
            UserError: If it is damaged or cannot be written, or the server is away or refuses.
        """
        stored = read_stored(self._place)
        pointer = None if stored is None else self._parsed(stored)
        if pointer is not None and pointer.version == version:
            return True
        if (pointer.version if pointer else None) != expected:
            return False
        history = (*(pointer.history if pointer else ()), Change(version=version, when=now(), why=why))
        new = Pointer(version=version, history=history[-REMEMBERED:])
        replace_stored(self._place, text_of(new).encode(), stored)
        return True

    def _parsed(self, stored: Stored) -> Pointer:
        try:
            content = json.loads(stored.content)
        except ValueError as error:
            raise UserError(f"{self._place} is damaged: it is no JSON ({error}).") from None
        return document_of(Pointer, content, str(self._place))
