"""What goes wrong on the way to a server that is there: it passes, or one line says what it was."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from threading import Event

import pytest

from pocketkube.errors import UserError
from pocketkube.storage import ServerAway, fetch_folder, parse_uri, refuse_unwritable, send_folder
from tests.storage.gateway import BUCKET, Gateway
from tests.storage.relay import Answer, Cut, once, refusal, relay
from tests.storage.test_folders import BUNDLE, files_of, place, write

LARGE = os.urandom(1 << 20) * 20
PAGE = "<html>Fehlerhafte Übertragung</html>".encode("latin-1")


@pytest.fixture
def via(monkeypatch: pytest.MonkeyPatch):
    """Makes the environment name another endpoint."""
    return lambda endpoint: monkeypatch.setenv("AWS_ENDPOINT_URL_S3", endpoint)


@pytest.mark.slow
def test_a_slow_upload_is_not_a_dead_one(s3: Gateway, tmp_path: Path, request, via) -> None:
    files = {"model.keras": LARGE[: 8 << 20]}
    with relay(s3, bytes_per_second=1e6) as endpoint:
        via(endpoint)
        began = time.monotonic()
        send_folder(write(tmp_path / "sent", files), place(request))
        assert time.monotonic() - began > 7
    via(s3.endpoint)
    fetch_folder(place(request), tmp_path / "back")
    assert files_of(tmp_path / "back") == files


@pytest.mark.parametrize("end", ["?uploads", "?uploadId"])
@pytest.mark.parametrize("busy", [refusal(503, "SlowDown"), Answer(429, b"", "text/plain")])
def test_an_upload_in_parts_outlasts_a_busy_server(
    s3: Gateway, tmp_path: Path, request, via, end: str, busy: Answer
) -> None:
    there = parse_uri(f"s3://{BUCKET}/busy/{end[1:]}{busy.status}")
    with relay(s3, once("POST", end, busy)) as endpoint:
        via(endpoint)
        send_folder(write(tmp_path / "sent", {"model.keras": LARGE}), there)
    via(s3.endpoint)
    fetch_folder(there, tmp_path / "back")
    assert files_of(tmp_path / "back") == {"model.keras": LARGE}


def test_a_download_goes_on_where_it_broke(s3: Gateway, tmp_path: Path, request, via) -> None:
    there = place(request)
    send_folder(write(tmp_path / "sent", {"model.keras": LARGE}), there)
    with relay(s3, once("GET", "model.keras", Cut(7 << 20))) as endpoint:
        via(endpoint)
        fetch_folder(there, tmp_path / "back")
    assert files_of(tmp_path / "back") == {"model.keras": LARGE}


def test_a_connection_that_always_breaks(s3: Gateway, tmp_path: Path, request, via) -> None:
    there = place(request)
    send_folder(write(tmp_path / "sent", BUNDLE), there)
    with relay(s3, lambda _, path: Cut(0) if "model.keras" in path else None) as endpoint:
        via(endpoint)
        with pytest.raises(ServerAway) as caught:
            fetch_folder(there, tmp_path / "back")
    assert f"the connection to {endpoint} broke off" in str(caught.value)
    assert "AWS_ENDPOINT_URL_S3" not in str(caught.value)
    assert not (tmp_path / "back").exists()


def test_a_server_that_asks_for_hours_is_not_obeyed(s3: Gateway, tmp_path: Path, request, via) -> None:
    there = place(request)
    send_folder(write(tmp_path / "sent", BUNDLE), there)
    later = Answer(503, refusal(503, "SlowDown").body, headers=(("Retry-After", "3600"),))
    with relay(s3, lambda _, path: later if path == "/" else None) as endpoint:
        via(endpoint)
        began = time.monotonic()
        fetch_folder(there, tmp_path / "back")
        assert time.monotonic() - began < 60


def test_an_upload_that_is_dropped_after_all(s3: Gateway, tmp_path: Path, request, via) -> None:
    there = place(request)
    joined = once("POST", "?uploadId", refusal(200, "InternalError"))
    with relay(s3, joined) as endpoint:
        via(endpoint)
        with pytest.raises(ServerAway, match=r"model\.keras was sent, but the server did not keep"):
            send_folder(write(tmp_path / "sent", {"model.keras": LARGE}), there)
        with pytest.raises(UserError, match="incomplete"):
            fetch_folder(there, tmp_path / "back")
        send_folder(tmp_path / "sent", there)
        fetch_folder(there, tmp_path / "back")


@pytest.mark.parametrize(
    ("answer", "said", "passes"),
    [
        (Answer(413, PAGE, "text/html"), "answers 413 Request Entity Too Large: a proxy", False),
        (Answer(502, PAGE, "text/html"), "answers 502 Bad Gateway: it, or a proxy", True),
        (refusal(503, "SlowDown", "Slow!"), "answers 503 Service Unavailable (SlowDown: Slow!)", True),
        (Answer(403, PAGE, "text/html"), "does not answer as an S3 server does (403 Forbidden)", False),
        (refusal(400, "ExpiredToken"), "AWS_SESSION_TOKEN has expired", False),
        (refusal(403, "AccessDenied"), "what they may do in models", False),
    ],
)
def test_what_an_answer_means(
    s3: Gateway, tmp_path: Path, request, via, answer: Answer, said: str, passes: bool
) -> None:
    with relay(s3, lambda method, path: answer if path.endswith("/a") else None) as endpoint:
        via(endpoint)
        with pytest.raises(UserError) as caught:
            send_folder(write(tmp_path / "sent", {"a": b"1"}), parse_uri(f"s3://{BUCKET}/answers"))
    assert said in str(caught.value)
    assert endpoint in str(caught.value)
    assert isinstance(caught.value, ServerAway) == passes


def test_keys_that_may_not_ask_for_the_region(
    s3: Gateway, tmp_path: Path, request, via, monkeypatch
) -> None:
    there = place(request)
    send_folder(write(tmp_path / "sent", BUNDLE), there)
    denied = refusal(403, "AccessDenied")
    with relay(s3, lambda _, path: denied if "location=" in path else None) as endpoint:
        via(endpoint)
        with pytest.raises(UserError, match="set AWS_REGION"):
            fetch_folder(there, tmp_path / "back")
        monkeypatch.setenv("AWS_REGION", "us-east-1")
        fetch_folder(there, tmp_path / "back")


def test_xml_of_something_else(s3: Gateway, tmp_path: Path, request, via) -> None:
    feed = Answer(200, b"<rss><channel/></rss>")
    with relay(s3, lambda _, path: feed if "list-type" in path else None) as endpoint:
        via(endpoint)
        with pytest.raises(UserError, match="does not answer as an S3 server does"):
            fetch_folder(place(request), tmp_path / "back")


def test_the_probe_is_removed_where_it_is_not_told_of(s3: Gateway, request, via) -> None:
    """An answer that is lost leaves the object."""
    there = place(request)
    with relay(
        s3, lambda method, _: refusal(403, "AccessDenied") if method == "DELETE" else None
    ) as to:
        via(to)
        with pytest.raises(UserError, match="refuses access"):
            refuse_unwritable(there)
    # What it could not remove is in nobody's way.
    via(s3.endpoint)
    refuse_unwritable(there)
    assert not files_of(s3.objects / there.key)


def test_an_interrupted_run_does_not_hide_that_nothing_may_be_written(
    s3: Gateway, tmp_path: Path, request, via
) -> None:
    there, denied = place(request), refusal(403, "AccessDenied")
    write(s3.objects / there.key, {"unfinished.json": b'{"writer": "gone", "names": ["a"]}', "a": b"1"})
    with relay(s3, lambda method, _: denied if method == "PUT" else None) as endpoint:
        via(endpoint)
        with pytest.raises(UserError, match="refuses access"):
            refuse_unwritable(there)
    # Whoever wrote there may still be at it.
    assert set(files_of(s3.objects / there.key)) == {"unfinished.json", "a"}


SEND = (
    "import sys; from pathlib import Path; from pocketkube.errors import UserError;"
    "from pocketkube.storage import parse_uri, send_folder\n"
    "try: send_folder(Path(sys.argv[1]), parse_uri(sys.argv[2]))\n"
    "except UserError as error: sys.exit(str(error))"
)


@pytest.mark.parametrize(
    "meeting",
    [("PUT", "unfinished.json", 1), ("GET", "unfinished.json", 3), ("GET", "unfinished.json", 4)],
    ids=["before-its-mark", "in-the-middle", "at-the-end"],
)
def test_of_two_writers_one_gives_up(
    s3: Gateway, tmp_path: Path, request, meeting: tuple[str, str, int]
) -> None:
    """The first is held at some request until the second has done all its work."""
    there = parse_uri(f"s3://{BUCKET}/writers/{meeting[0]}{meeting[2]}")
    method, words, number = meeting
    held, release, seen = Event(), Event(), []

    def hold(asked: str, path: str) -> None:
        if asked == method and words in path:
            seen.append(path)
            if len(seen) == number:
                held.set()
                release.wait(60)

    ours = {"both": b"ours", "only-ours": b"o"}
    first = write(tmp_path / "first", {"a": b"first only", "both": b"1st."})
    second = write(tmp_path / "second", ours)
    with relay(s3, hold) as endpoint:
        writer = subprocess.Popen(
            [sys.executable, "-c", SEND, str(first), str(there)],
            env={**os.environ, "AWS_ENDPOINT_URL_S3": endpoint},
            stderr=subprocess.PIPE,
            text=True,
        )
        assert held.wait(60)
        send_folder(second, there)
        release.set()
        _, said = writer.communicate(timeout=60)
    assert writer.returncode == 1
    assert f"Another stage writes to {there}" in said
    objects = s3.objects / there.key
    assert set(files_of(objects)) - {"unfinished.json"} == {*ours, "checksums.json"}
    fetch_folder(there, tmp_path / "back")
    assert files_of(tmp_path / "back") == ours
    send_folder(first, there)
    assert {file["name"] for file in json.loads((objects / "checksums.json").read_text())["files"]} == {
        "a",
        "both",
    }


def test_an_object_that_appears_meanwhile_is_nobodys_to_remove(
    s3: Gateway, tmp_path: Path, request, via
) -> None:
    there = place(request)

    def appears(method: str, path: str) -> None:
        if method == "PUT" and path.endswith("/plots/loss.svg"):
            write(s3.objects / there.key, {"notes.txt": b"mine"})

    with relay(s3, appears) as endpoint:
        via(endpoint)
        with pytest.raises(UserError, match=r"notes\.txt has appeared there"):
            send_folder(write(tmp_path / "sent", BUNDLE), there)
    assert (s3.objects / there.key / "notes.txt").read_bytes() == b"mine"
    via(s3.endpoint)
    with pytest.raises(UserError, match="incomplete"):
        fetch_folder(there, tmp_path / "back")
