"""A way to the server on which things go wrong, as on the proxies and networks between."""

import ssl
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Protocol
from urllib.parse import urlsplit

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


@dataclass(frozen=True)
class Otherwise:
    """The server's answer to another path."""

    path: str


class Server(Protocol):
    """What requests are handed on to."""

    @property
    def endpoint(self) -> str: ...


def refusal(status: int, code: str, said: str = "told by the test") -> Answer:
    return Answer(status, f"<Error><Code>{code}</Code><Message>{said}</Message></Error>".encode())


Wrong = Answer | Cut | Otherwise
Fault = Callable[[str, str], Wrong | None]


def once(method: str, words: str, fault: Wrong) -> Fault:
    """`fault` for the first request of that method with `words` in its path."""
    left = [fault]

    def found(asked: str, path: str) -> Wrong | None:
        return left.pop() if left and asked == method and words in path else None

    return found


@contextmanager
def relay(
    server: Server,
    fault: Fault = lambda method, path: None,
    bytes_per_second: float | None = None,
    left_out: Collection[str] = (),
    context: ssl.SSLContext | None = None,
) -> Iterator[str]:
    """Hands requests on to the server until the block ends.

    Args:
        server: The server.
        fault: For a request's method and path, what goes wrong with it; it may wait, too.
        bytes_per_second: How fast a request's body is taken.
        left_out: Headers that the server does not get to see.
        context: What the server trusts and is trusted by, if it is spoken to by https.

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
            path = wrong.path if isinstance(wrong, Otherwise) else self.path
            host = urlsplit(server.endpoint).netloc
            connection = HTTPSConnection(host, context=context) if context else HTTPConnection(host)
            # Its Host header is signed.
            connection.putrequest(self.command, path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name not in left_out:
                    connection.putheader(name, value)
            try:
                connection.endheaders(body or None)
                self.hand_back(
                    connection.getresponse(), wrong.after_bytes if isinstance(wrong, Cut) else None
                )
            except (OSError, HTTPException):
                # The server, or the client, is gone.
                self.close_connection = True
            finally:
                connection.close()

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

        def hand_back(self, response: HTTPResponse, left: int | None) -> None:
            """The server's answer as it comes; `left` bytes of it, if that is not None."""
            self.send_response(response.status)
            length, is_empty = response.getheader("Content-Length"), response.status in (204, 304)
            for name, value in response.getheaders():
                if name.lower() not in ("transfer-encoding", "connection"):
                    self.send_header(name, value)
            is_chunked = length is None and not is_empty and self.command != "HEAD"
            if is_chunked:
                self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            while block := response.read1(BLOCK):
                block = block if left is None else block[:left]
                self.wfile.write(
                    b"%x\r\n%b\r\n" % (len(block), block) if is_chunked and block else block
                )
                if left is not None and (left := left - len(block)) <= 0:
                    raise ConnectionAbortedError
            if is_chunked:
                self.wfile.write(b"0\r\n\r\n")

        def answer(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
            self.send_response(status)
            for name, value in headers:
                self.send_header(name, value)
            if status != 204:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_HEAD = do_PUT = do_POST = do_PATCH = do_DELETE = pass_on

        def log_message(self, *said: object) -> None:
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as door:
        thread = Thread(target=door.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{door.server_port}"
        finally:
            door.shutdown()
            thread.join()
