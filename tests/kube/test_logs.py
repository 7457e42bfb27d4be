"""A log's lines as an API server hands them out, across connections that end at awkward places."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from kubernetes import client

from pocketkube.kube.logs import follow_log
from pocketkube.kube.session import Session
from pocketkube.kube.transport import ApiServer, Patience

PODS = {"resources": [{"name": "pods", "kind": "Pod", "namespaced": True}]}


def pod(state: str) -> bytes:
    document = {
        "metadata": {"name": "writer"},
        "spec": {"containers": [{"name": "main"}], "restartPolicy": "Never"},
        "status": {"containerStatuses": [{"name": "main", "state": {state: {"exitCode": 0}}}]},
    }
    return json.dumps(document).encode()


@contextmanager
def log_of(*answers: bytes) -> Iterator[tuple[Session, list[str]]]:
    """A server whose log is one answer after the other; the container has ended by the last."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/api/v1":
                body = json.dumps(PODS).encode()
            elif "/log" in self.path:
                body = answers[len(asked)]
                asked.append(self.path)
            else:
                body = pod("running" if len(asked) < len(answers) - 1 else "terminated")
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *said: object) -> None:
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}"
        api = client.ApiClient(client.Configuration(host=url))
        try:
            yield Session(ApiServer(url, api, Patience(answer_s=5, total_s=5)), "team"), asked
        finally:
            server.shutdown()
            thread.join()


def texts(*answers: bytes) -> list[str]:
    with log_of(*answers) as (session, _):
        return [line.text for line in follow_log(session, "writer", seconds=30)]


def test_lines_of_one_moment_are_told_apart_by_their_count() -> None:
    at, later = b"2026-01-01T00:00:00.5Z", b"2026-01-01T00:00:00.500000001Z"
    two = at + b" a\n" + at + b" a\n"
    assert texts(two, two + at + b" a\n" + later + b" b\n") == ["a", "a", "a", "b"]


def test_half_a_line_is_read_again_unless_it_is_the_last() -> None:
    at, later = b"2026-01-01T00:00:00.1Z", b"2026-01-01T00:00:00.2Z"
    assert texts(at + b" one\n" + later + b" tw", at + b" one\n" + later + b" two") == ["one", "two"]


def test_a_clock_that_is_put_back_loses_no_line() -> None:
    late, early = b"2026-01-01T00:00:10.0Z", b"2026-01-01T00:00:05.0Z"
    first = late + b" a\n"
    assert texts(first, first + early + b" b\n" + early + b" c\n") == ["a", "b", "c"]


def test_times_of_any_zone_are_compared_and_empty_lines_are_lines() -> None:
    here, there = b"2026-01-01T12:00:00.123456789Z", b"2026-01-01T14:00:00.123456790+02:00"
    with log_of(here + b" \n" + there + b"  x \n") as (session, _):
        lines = list(follow_log(session, "writer", seconds=30))
    assert [line.text for line in lines] == ["", " x "]
    assert lines[1].time_ns - lines[0].time_ns == 1
    assert lines[0].time_ns == 1767268800_123456789


def test_what_a_node_says_instead_of_a_log_is_no_line() -> None:
    assert texts(b"unable to retrieve container logs for containerd://1234") == []


def test_it_asks_for_what_comes_after_the_last_line() -> None:
    line = b"2026-01-01T00:00:10.7Z a\n"
    with log_of(line, line) as (session, asked):
        list(follow_log(session, "writer", "main", seconds=30))
    assert "follow=true" in asked[0]
    assert "sinceTime" not in asked[0]
    assert "sinceTime=2026-01-01T00%3A00%3A09Z" in asked[1]
