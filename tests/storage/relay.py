"""A way to the server on which things go wrong, as on the proxies and networks between."""

import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import urlsplit

from tests.storage.gateway import Gateway

BLOCK = 1 << 16


@dataclass(frozen=True)
class Answer:
    """What a client gets in the server's place.

    Attributes:
        status: HTTP status.
        body: What follows.
        kind: Its content type.
        headers: More of them.
    """

    status: int
    body: bytes = b""
    kind: str = "application/xml"
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Cut:
    """The server's answer, which breaks off after so many bytes."""

    after_bytes: int


def refusal(status: int, code: str, said: str = "told by the test") -> Answer:
    return Answer(status, f"<Error><Code>{code}</Code><Message>{said}</Message></Error>".encode())


Fault = Callable[[str, str], Answer | Cut | None]


def once(method: str, words: str, fault: Answer | Cut) -> Fault:
    """`fault` for the first request of that method with `words` in its path."""
    left = [fault]

    def found(asked: str, path: str) -> Answer | Cut | None:
        return left.pop() if left and asked == method and words in path else None

    return found


@contextmanager
def relay(
    gateway: Gateway,
    fault: Fault = lambda method, path: None,
    bytes_per_second: float | None = None,
    left_out: Collection[str] = (),
) -> Iterator[str]:
    """Hands requests on to the server until the block ends.

    Args:
        gateway: The server.
        fault: For a request's method and path, what goes wrong with it; it may wait, too.
        bytes_per_second: How fast a request's body is taken.
        left_out: Headers that the server does not get to see.

    Yields:
        The endpoint to use in the server's place.
    """

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_one_request(self) -> None:
            with suppress(ConnectionError):
                super().handle_one_request()

        def pass_on(self) -> None:
            body = self.read_body()
            wrong = fault(self.command, self.path)
            if isinstance(wrong, Answer):
                self.answer(wrong.status, [("Content-Type", wrong.kind), *wrong.headers], wrong.body)
                return
            server = HTTPConnection(urlsplit(gateway.endpoint).netloc)
            # Its Host header is signed.
            server.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name not in left_out:
                    server.putheader(name, value)
            server.endheaders(body or None)
            response = server.getresponse()
            headers = [
                (name, value)
                for name, value in response.getheaders()
                if name.lower() not in ("content-length", "transfer-encoding", "connection")
            ]
            self.answer(response.status, headers, response.read(), wrong)
            server.close()

        def read_body(self) -> bytes:
            body, length = b"", int(self.headers.get("Content-Length") or 0)
            while len(body) < length:
                block = self.rfile.read1(min(BLOCK, length - len(body)))
                if not block:
                    raise ConnectionResetError
                body += block
                if bytes_per_second:
                    time.sleep(len(block) / bytes_per_second)
            return body

        def answer(
            self, status: int, headers: list[tuple[str, str]], body: bytes, cut: Cut | None = None
        ) -> None:
            self.send_response(status)
            for name, value in headers:
                self.send_header(name, value)
            if status != 204:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: cut.after_bytes] if cut else body)
            self.close_connection = self.close_connection or cut is not None

        do_GET = do_PUT = do_POST = do_DELETE = pass_on

        def log_message(self, *said: object) -> None:
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
