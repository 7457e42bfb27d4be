"""What a server that is away, refuses, or is something else than KFP's API comes to: one line."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from pocketkube.errors import UserError
from pocketkube.kube.kfp import backend
from pocketkube.kube.kfp.failures import BackendAway, BackendRefuses

Answer = Callable[[str, dict[str, str]], tuple[int, str, str]]
HEALTHY = '{"commit_sha": "a", "tag_name": "2.17.0", "multi_user": %s, "pipeline_store": "%s"}'


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("KF_PIPELINES_ENDPOINT", "KF_PIPELINES_UI_ENDPOINT", "KF_PIPELINES_SA_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(backend, "NAMESPACE_FILE", tmp_path / "absent")


@contextmanager
def served(answer: Answer) -> Iterator[str]:
    """The address of a server that answers as it is told to."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, kind, body = answer(self.path, dict(self.headers))
            self.send_response(status)
            self.send_header("Content-Type", kind)
            if status == 302:
                self.send_header("Location", body)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *words: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def healthy(multi_user: str = "false", store: str = "database") -> Answer:
    return lambda path, headers: (200, "application/json", HEALTHY % (multi_user, store))


def test_what_a_back_end_says_of_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KF_PIPELINES_UI_ENDPOINT", "https://kubeflow.example/pipeline/")
    with served(healthy(store="kubernetes")) as address:
        found = backend.connect(address + "/", "ignored")
    assert (found.endpoint, found.ui) == (address, "https://kubeflow.example/pipeline")
    assert (found.namespace, found.release, found.keeps_objects) == ("", "2.17.0", True)


def test_a_namespace_is_asked_for_where_each_user_has_one() -> None:
    with served(healthy("true")) as address:
        assert backend.connect(address, "team").namespace == "team"
        with pytest.raises(UserError, match="name yours by --namespace"):
            backend.connect(address)


def test_the_token_is_read_anew_for_each_request(tmp_path: Path) -> None:
    seen, token = [], tmp_path / "token"
    token.write_text("first\n")

    def answer(path: str, headers: dict[str, str]) -> tuple[int, str, str]:
        seen.append(headers.get("authorization") or headers.get("Authorization"))
        return healthy()(path, headers)

    with served(answer) as address:
        found = backend.connect(address, token_file=token)
        token.write_text("second")
        found.ask("runs", "GET", "/runs")
    assert seen == ["Bearer first", "Bearer second"]
    assert "first" not in repr(found)


@pytest.mark.parametrize("content", [None, " \n"])
def test_a_token_that_is_none(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "token").write_text(content)
    with pytest.raises(UserError, match=r"--token-file: .*token (cannot be read|is empty)"):
        backend.connect("http://127.0.0.1:1", token_file=tmp_path / "token")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((200, "text/html", "<html>Log in</html>"), "answers with a page, not as the API"),
        ((200, "application/json", "{}"), "answers with a page, not as the API"),
        ((200, "application/json", "[]"), "answers with a page, not as the API"),
        ((404, "text/plain", "404 page not found"), "answers 404: Not Found"),
        ((401, "text/plain", "no"), "refuses access .*--token-file"),
        ((403, "application/json", '{"error": "RBAC: access denied"}'), "RBAC: access denied.*token"),
        ((400, "application/json", '{"message": "Invalid input"}'), "answers 400: Invalid input"),
        ((500, "application/json", '{"error_message": "It is so"}'), "answers 500: It is so"),
    ],
)
def test_a_server_that_refuses_or_is_another(answer: tuple[int, str, str], words: str) -> None:
    with (
        served(lambda path, headers: answer) as address,
        pytest.raises(UserError, match=words) as refused,
    ):
        backend.connect(address)
    assert not isinstance(refused.value, BackendAway)
    assert "\n" not in str(refused.value)
    if answer[0] != 200:
        assert isinstance(refused.value, BackendRefuses)
        assert refused.value.status == answer[0]


def test_a_login_page_behind_a_redirection() -> None:
    def answer(path: str, headers: dict[str, str]) -> tuple[int, str, str]:
        return (200, "text/html", "<html>") if path == "/dex/auth" else (302, "text/plain", "/dex/auth")

    with served(answer) as address, pytest.raises(UserError, match="asks for a login"):
        backend.connect(address)


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_server_that_is_overloaded(status: int) -> None:
    with (
        served(lambda path, headers: (status, "text/plain", "later")) as address,
        pytest.raises(BackendAway, match=f"answers {status}.*try again later"),
    ):
        backend.connect(address)


def test_nobody_answers() -> None:
    with served(healthy()) as address:
        pass
    with pytest.raises(BackendAway, match=r"cannot be reached \(.*refused\); is --endpoint right\?"):
        backend.connect(address)
    with pytest.raises(BackendAway, match="cannot be reached"):
        backend.connect("http://no-such-host.invalid:8888")


def test_no_secure_connection() -> None:
    with (
        served(healthy()) as address,
        pytest.raises(UserError, match=r"no secure connection.*SSL_CERT_FILE"),
    ):
        backend.connect(address.replace("http:", "https:"))


@pytest.mark.parametrize(
    "address",
    ["localhost:8888", "ftp://host", "http://", "http://host:port", "http://host/?a=b", "http://[::1"],
)
def test_an_address_that_is_none(address: str) -> None:
    with pytest.raises(UserError, match=r"--endpoint is .* has to be http"):
        backend.connect(address)


def test_a_password_in_an_address_is_not_repeated() -> None:
    with pytest.raises(UserError, match="must hold no user or password") as refused:
        backend.connect("https://me:secret@host")
    assert "secret" not in str(refused.value)
