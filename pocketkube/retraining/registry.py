"""A folder or s3:// place of a model's versions, which never change, and of the pointer to one."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pocketkube.errors import UserError
from pocketkube.files.records import read_document
from pocketkube.retraining.lineage import VersionFacts
from pocketkube.retraining.partitions import order_of
from pocketkube.retraining.pointer import CHOSEN, ROLLED_BACK, DeployedPointer, Pointer
from pocketkube.storage import Location, add_folder, is_whole

VERSIONS, VERSION_FILE, REFERENCE_FILE, KERAS_FOLDER = (
    "versions",
    "version.json",
    "reference.npz",
    "keras",
)


class Registry:
    """The versions of a model.

    `versions/NAME/` holds model.tflite, bundle.json, keras/ (the bundle that it was made of),
    reference.npz (what it did on its own data), version.json and report.html; `deployed.json` says
    which one is deployed.

    Attributes:
        place: Where it is.
        pointer: Its pointer.
    """

    def __init__(self, place: Location):
        self.place = place
        self.pointer = DeployedPointer(place)

    def deployed(self) -> Pointer | None:
        """The pointer, whose version is there; None where nothing was deployed yet.

        Raises:
            UserError: If the version is not there, the pointer is damaged, or the server is away.
        """
        pointer = self.pointer.read()
        if pointer is not None and not self.has(pointer.version):
            raise UserError(
                f"{self.place}: deployed.json names the version {pointer.version}, which is not there; "
                f"there are {self._listed()}: put it back, or deploy another by pocketkube deployed "
                "retraining.yaml --to VERSION."
            )
        return pointer

    def versions(self) -> list[str]:
        """The names of all versions that are whole, in their order, as that of partitions is.

        Other folders, as lost+found, are none.

        Raises:
            UserError: If the server is away or refuses.
        """
        there = [each for each in self.place.below(VERSIONS).children() if each.name[0] != "."]
        whole = [each.name for each in there if is_whole(each) and each.holds(VERSION_FILE)]
        return sorted(whole, key=order_of)

    def has(self, version: str) -> bool:
        """Whether a version is there, whole; a path to elsewhere, as `..`, names none."""
        is_name = version == Path(version).name and not version.startswith(".")
        return bool(version) and is_name and is_whole(self.at(version))

    def at(self, version: str) -> Location:
        """Where a version is, or will be."""
        return self.place.below(f"{VERSIONS}/{version}")

    def facts(self, version: str) -> VersionFacts:
        """Where a version comes from.

        Raises:
            UserError: If it is not there, or is damaged.
        """
        self._refuse_unknown(version)
        with self.at(version).below(VERSION_FILE).fetched() as file:
            return read_document(VersionFacts, file)

    @contextmanager
    def fetched(self, version: str) -> Iterator[Path]:
        """A version's folder on this machine, until the block ends.

        Raises:
            UserError: If it is not there, or is damaged.
        """
        self._refuse_unknown(version)
        with self.at(version).fetched(sealed=True) as folder:
            yield folder

    def add(self, version: str, folder: Path) -> bool:
        """Keeps a version; one that is there is left as it is.

        Args:
            version: Its name.
            folder: What it holds.

        Returns:
            Whether it is new.
        """
        return add_folder(folder, self.at(version))

    def roll_back(self) -> VersionFacts:
        """Deploys the version that was deployed before; see `Pointer.previous`.

        Returns:
            Where it comes from.

        Raises:
            UserError: If there is none, or it is not there any more or damaged.
        """
        # It may be the deployed version that is gone.
        pointer = self.pointer.read()
        previous = pointer.previous if pointer else None
        if pointer is None or previous is None:
            raise UserError(f"{self.place}: nothing was deployed before; there is no way back.")
        return self._deploy(previous, ROLLED_BACK, pointer.version)

    def choose(self, version: str) -> VersionFacts:
        """Deploys a version that a person names, whatever its gate said.

        Returns:
            Where it comes from.

        Raises:
            UserError: If it is not there, or is damaged.
        """
        pointer = self.pointer.read()
        return self._deploy(version, CHOSEN, pointer.version if pointer else None)

    def _deploy(self, version: str, why: str, expected: str | None) -> VersionFacts:
        # What cannot be read is not deployed.
        facts = self.facts(version)
        if not self.pointer.replace(version, why, expected):
            raise UserError(f"{self.place}: another version was deployed meanwhile; try again.")
        return facts

    def _refuse_unknown(self, version: str) -> None:
        if not self.has(version):
            name = version or "of an empty name"
            raise UserError(f"{self.place} has no version {name}; there are {self._listed()}.")

    def _listed(self) -> str:
        return ", ".join(self.versions()) or "none"
