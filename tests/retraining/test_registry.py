"""Versions stay as they are, and one is deployed: on this machine and on a server."""

import json
import shutil
from pathlib import Path

import pytest

from pocketkube.errors import UserError
from pocketkube.files.records import text_of
from pocketkube.retraining.pointer import CHOSEN, RETRAINED, ROLLED_BACK, Change, Pointer
from pocketkube.retraining.registry import Registry
from pocketkube.storage import Changed, parse_location
from tests.retraining.facts import version_facts
from tests.storage.gateway import BUCKET


@pytest.fixture(params=["folder", "server"])
def registry(request, tmp_path: Path) -> Registry:
    if request.param == "folder":
        return Registry(parse_location(str(tmp_path / "registry")))
    request.getfixturevalue("s3")
    return Registry(parse_location(f"s3://{BUCKET}/{request.node.name.split('[')[0]}"))


def add(registry: Registry, folder: Path, version: str) -> bool:
    made = folder / version
    made.mkdir(parents=True, exist_ok=True)
    (made / "version.json").write_text(text_of(version_facts(version)))
    (made / "model.tflite").write_text(version)
    return registry.add(version, made)


def deployed(registry: Registry) -> str | None:
    pointer = registry.deployed()
    return pointer.version if pointer else None


def test_versions_are_deployed_and_rolled_back(registry: Registry, tmp_path: Path) -> None:
    assert deployed(registry) is None
    assert registry.versions() == []
    for version, parent in (("a", None), ("b", "a"), ("c", "b")):
        assert add(registry, tmp_path / "made", version)
        assert registry.pointer.replace(version, RETRAINED, parent)
    assert registry.versions() == ["a", "b", "c"]
    assert registry.facts("b").version == "b"
    assert registry.roll_back().version == "b"
    assert registry.roll_back().version == "a"
    with pytest.raises(UserError, match="no way back"):
        registry.roll_back()
    # What comes next follows on what is deployed now.
    add(registry, tmp_path / "made", "d")
    assert registry.pointer.replace("d", RETRAINED, "a")
    assert registry.roll_back().version == "a"
    assert registry.choose("c").version == "c"
    assert registry.roll_back().version == "a"


def test_a_version_is_never_written_again(registry: Registry, tmp_path: Path) -> None:
    assert add(registry, tmp_path / "one", "a")
    (tmp_path / "two" / "a").mkdir(parents=True)
    (tmp_path / "two" / "a" / "model.tflite").write_text("another")
    assert not registry.add("a", tmp_path / "two" / "a")
    with registry.fetched("a") as folder:
        assert (folder / "model.tflite").read_text() == "a"


def test_only_the_parents_successor_is_deployed(registry: Registry, tmp_path: Path) -> None:
    for version in ("a", "b", "c"):
        add(registry, tmp_path / "made", version)
    assert registry.pointer.replace("a", RETRAINED, None)
    assert registry.pointer.replace("b", RETRAINED, "a")
    assert not registry.pointer.replace("c", RETRAINED, "a")
    assert deployed(registry) == "b"
    # Done again, as after an interruption, it is done already.
    assert registry.pointer.replace("b", RETRAINED, "a")
    pointer = registry.deployed()
    assert pointer is not None
    assert len(pointer.history) == 2


def test_what_is_not_there_cannot_be_deployed(registry: Registry, tmp_path: Path) -> None:
    add(registry, tmp_path / "made", "a")
    with pytest.raises(UserError, match="no version b; there are a"):
        registry.choose("b")
    for elsewhere in ("", ".", "..", "../..", "a/", "../versions/a"):
        with pytest.raises(UserError, match=r"has no version .*; there are a"):
            registry.choose(elsewhere)
    assert deployed(registry) is None
    registry.pointer.replace("b", CHOSEN, None)
    with pytest.raises(UserError, match=r"deployed\.json names the version b, which is not there"):
        registry.deployed()


def test_where_the_deployed_version_is_gone_another_is_deployed(tmp_path: Path) -> None:
    registry = Registry(parse_location(str(tmp_path / "registry")))
    for version in ("a", "b", "c"):
        add(registry, tmp_path / "made", version)
        registry.choose(version)
    shutil.rmtree(tmp_path / "registry" / "versions" / "c")
    with pytest.raises(UserError, match=r"there are a, b: put it back, or deploy another by .* --to"):
        registry.deployed()
    assert registry.roll_back().version == "b"
    shutil.rmtree(tmp_path / "registry" / "versions" / "b")
    with pytest.raises(UserError, match="no version c; there are a"):
        registry.choose("c")
    assert registry.choose("a").version == "a"
    assert deployed(registry) == "a"


def test_a_version_that_cannot_be_read_is_not_deployed(tmp_path: Path) -> None:
    registry = Registry(parse_location(str(tmp_path / "registry")))
    for version in ("a", "b"):
        add(registry, tmp_path / "made", version)
    registry.choose("a")
    (tmp_path / "registry" / "versions" / "b" / "version.json").write_text("{")
    with pytest.raises(UserError, match=r"version\.json is damaged"):
        registry.choose("b")
    assert deployed(registry) == "a"


def test_a_damaged_pointer_is_told(tmp_path: Path) -> None:
    registry = Registry(parse_location(str(tmp_path)))
    (tmp_path / "deployed.json").write_text("{")
    with pytest.raises(UserError, match=r"deployed\.json is damaged"):
        registry.deployed()
    (tmp_path / "deployed.json").write_text(json.dumps({"schema_version": 9}))
    with pytest.raises(UserError, match="newer PocketKube"):
        registry.deployed()


def test_a_pointer_that_moves_meanwhile_is_left(tmp_path: Path, monkeypatch) -> None:
    """Between reading and writing somebody else deploys another version."""
    from pocketkube.retraining import pointer

    registry = Registry(parse_location(str(tmp_path / "registry")))
    for version in ("a", "b", "c"):
        add(registry, tmp_path / "made", version)
    registry.pointer.replace("a", RETRAINED, None)
    replace = pointer.replace_stored

    def late(place, content, seen) -> None:
        monkeypatch.setattr(pointer, "replace_stored", replace)
        registry.pointer.replace("b", RETRAINED, "a")
        replace(place, content, seen)

    monkeypatch.setattr(pointer, "replace_stored", late)
    with pytest.raises(Changed):
        registry.pointer.replace("c", RETRAINED, "a")
    assert deployed(registry) == "b"


def history(*changes: tuple[str, str]) -> Pointer:
    found = tuple(Change(version=version, when="", why=why) for version, why in changes)
    return Pointer(version=found[-1].version, history=found)


def test_the_way_back_is_that_which_was_gone() -> None:
    assert history(("a", RETRAINED)).previous is None
    assert history(("a", RETRAINED), ("b", RETRAINED)).previous == "a"
    back = (("a", RETRAINED), ("b", RETRAINED), ("c", RETRAINED), ("b", ROLLED_BACK))
    assert history(*back).previous == "a"
    assert history(*back, ("d", RETRAINED)).previous == "b"
    twice = (("a", RETRAINED), ("b", RETRAINED), ("a", CHOSEN), ("c", RETRAINED), ("a", ROLLED_BACK))
    assert history(*twice).previous == "b"
