"""Where processes ask for their places, and Gloo keeps the addresses by which they connect.

Gloo's part is Horovod's protocol: plain HTTP without a secret, of values that this server only keeps.
Places are given to those that know the token.
"""

import json
import secrets
from contextlib import suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from pocketkube.launch.elastic.group import Group, JoinRequest, LostProcess

# Horovod asks so when it starts again in a process.
_RANK_AND_SIZE = "rank_and_size"
_LONGEST_BYTES = 1 << 20
# So long an answer may take; then the process asks again, and each learns whether the other is there.
ASK_AGAIN_S = 20.0


class Rendezvous:
    """The server, which runs until the process ends.

    Attributes:
        port: Where it listens.
        token: What places are given for.
        group: Who takes part; may be replaced by another where all begins anew.

    Args:
        host: The address to listen at.
        group: See above.
    """

    def __init__(self, host: str, group: Group) -> None:
        self.group, self.token = group, secrets.token_urlsafe(16)
        self._server = _Server((host, 0), partial(_Handler, self))
        self.port = self._server.server_port
        Thread(target=self._server.serve_forever, name="rendezvous", daemon=True).start()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # While processes connect, each asks a hundred times a second.
    request_queue_size = 256


class _Handler(BaseHTTPRequestHandler):
    def __init__(self, served: Rendezvous, *of_the_server: object) -> None:
        self._served = served
        super().__init__(*of_the_server)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        """A value, or a place for Horovod itself."""
        group = self._served.group
        words = self.path.strip("/").split("/")
        if words[0] == _RANK_AND_SIZE:
            place = group.place_of(words[-1].partition(":")[0])
            rank, size = (place.rank, place.size) if place else (-1, -1)
            # Each process is the only one of its host: its rank among hosts is its rank.
            self._answer(f"{rank},{size},0,1,{rank},{size}".encode())
        elif words[:2] == [self._served.token, "changes"]:
            self._answer(json.dumps(group.is_to_change(int(words[2]))).encode())
        else:
            self._answer(group.get(self.path))

    def do_PUT(self) -> None:
        """A value that Gloo tells the others."""
        self._served.group.put(self.path, self._body())
        self._answer(b"")

    def do_POST(self) -> None:
        """A process asks for its place, and waits for it; an empty answer has it ask again."""
        words = self.path.strip("/").split("/")
        if words[:2] != [self._served.token, "join"]:
            self._answer(None)
            return
        asked = json.loads(self._body())
        request = None if asked is None else JoinRequest(**asked)
        try:
            place = self._served.group.join(words[2], request, ASK_AGAIN_S)
        except LostProcess:
            self._answer(None)
        except TimeoutError:
            self._answer(b"{}")
        else:
            self._answer(json.dumps(place and vars(place)).encode())

    def do_DELETE(self) -> None:
        """Gloo is done with a value; all go with the next group."""
        self._answer(b"")

    def log_message(self, *message: object) -> None:
        """Nothing is logged: there are thousands of requests."""

    def _body(self) -> bytes:
        length = int(self.headers.get("Content-Length", 0))
        return self.rfile.read(max(0, min(_LONGEST_BYTES, length)))

    def _answer(self, content: bytes | None) -> None:
        # A process that was lost while it waited reads no answer.
        with suppress(BrokenPipeError, ConnectionResetError):
            self.send_response(200 if content is not None else 404)
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            self.wfile.write(content or b"")
