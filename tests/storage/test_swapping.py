"""One small object, many who want to replace it: one of those who saw the same succeeds."""

import errno
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pocketkube.errors import UserError
from pocketkube.storage import (
    Changed,
    add_folder,
    is_whole,
    parse_location,
    read_stored,
    replace_stored,
)
from pocketkube.storage.download_cache import hold
from tests.storage.gateway import BUCKET, Gateway
from tests.storage.relay import relay
from tests.storage.test_folders import write


@pytest.fixture(params=["folder", "server"])
def root(request, tmp_path: Path) -> str:
    if request.param == "folder":
        return str(tmp_path / "place")
    request.getfixturevalue("s3")
    return f"s3://{BUCKET}/{request.node.name.split('[')[0]}"


def test_it_is_replaced_by_who_has_seen_it(root: str) -> None:
    place = parse_location(root).below("deployed.json")
    assert read_stored(place) is None
    replace_stored(place, b"one", None)
    first = read_stored(place)
    assert first is not None
    assert first.content == b"one"
    replace_stored(place, b"two", first)
    for late in (first, None):
        with pytest.raises(Changed, match="somebody else"):
            replace_stored(place, b"three", late)
    second = read_stored(place)
    assert second is not None
    assert second.content == b"two"


def test_of_many_at_once_one_succeeds(root: str) -> None:
    place = parse_location(root).below("deployed.json")
    replace_stored(place, b"before", None)
    seen, done = read_stored(place), []

    def attempt(number: int) -> None:
        try:
            replace_stored(place, f"by {number}".encode(), seen)
        except Changed:
            return
        done.append(number)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(attempt, range(6)))
    now = read_stored(place)
    assert now is not None
    assert [now.content] == [f"by {number}".encode() for number in done]


def test_nothing_is_left_beside_it(s3: Gateway) -> None:
    place = parse_location(f"s3://{BUCKET}/beside/deployed.json")
    replace_stored(place, b"one", None)
    assert {path.name for path in (s3.objects / "beside").iterdir()} == {"deployed.json"}


def test_a_server_without_conditions_is_read_before(
    s3: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = parse_location(f"s3://{BUCKET}/unconditional/deployed.json")
    with relay(s3, left_out=("If-Match", "If-None-Match")) as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", endpoint)
        replace_stored(place, b"one", None)
        with pytest.raises(Changed):
            replace_stored(place, b"two", None)
        replace_stored(place, b"two", read_stored(place))
        now = read_stored(place)
    assert now is not None
    assert now.content == b"two"


def test_two_that_write_the_same_both_succeed(root: str) -> None:
    """As one does whose first answer was lost on its way."""
    if not root.startswith("s3://"):
        pytest.skip("a file's writer knows that it has written")
    place = parse_location(root).below("deployed.json")
    replace_stored(place, b"one", None)
    replace_stored(place, b"one", None)


def test_a_folder_is_written_once(root: str, tmp_path: Path) -> None:
    place = parse_location(root).below("versions/1")
    assert not is_whole(place)
    assert add_folder(write(tmp_path / "first", {"a.txt": b"1", "b/c.txt": b"2"}), place)
    assert is_whole(place)
    assert not add_folder(write(tmp_path / "second", {"a.txt": b"other"}), place)
    with place.fetched(sealed=True) as folder:
        assert (folder / "a.txt").read_bytes() == b"1"
        assert (folder / "b" / "c.txt").read_bytes() == b"2"
    assert place.holds("a.txt")
    assert not place.holds("c.txt")


def test_what_is_right_below_a_folder(root: str, tmp_path: Path) -> None:
    place = parse_location(root).below("versions")
    assert place.children() == ()
    for name in ("b", "a"):
        add_folder(write(tmp_path / name, {"inner/deep.txt": b"1"}), place.below(name))
    assert [child.name for child in place.children()] == ["a", "b"]


def test_a_file_in_the_way_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="Cannot write"):
        replace_stored(parse_location(str(tmp_path / "file" / "x")), b"1", None)


def test_what_many_share_is_not_written_where_there_are_no_locks(tmp_path: Path, monkeypatch) -> None:
    def unlocked(opened: int, how: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.flock", unlocked)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    place = parse_location(str(tmp_path)).below("deployed.json")
    with pytest.raises(UserError, match=r"deployed.json: No locks available"):
        replace_stored(place, b"one", None)
    assert read_stored(place) is None
    with pytest.raises(UserError, match=r"knows locks.* set XDG_CACHE_HOME or TMPDIR to another"):
        hold("one", "s3://bucket/one", 1, lambda folder: None)
