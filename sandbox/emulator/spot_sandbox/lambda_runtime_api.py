"""Lambda's Runtime API for one environment: the HTTP service that AWS's runtime interface client polls.

The client asks for the next invocation, which blocks until there is one, and posts its answer. Everything that
happens is put into one mailbox in the order in which it happens, for the executor to read.
https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
"""

import queue
import threading
from dataclasses import dataclass
from enum import Enum, auto
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, override

_PREFIX = "/2018-06-01/runtime/"


@dataclass(frozen=True)
class Invocation:
    """One event for the function. `deadline_ms` is an epoch time in milliseconds."""

    request_id: str
    function_arn: str
    trace_id: str
    payload: bytes
    deadline_ms: int


class Kind(Enum):
    """What happened in the environment."""

    READY = auto()
    RESPONSE = auto()
    ERROR = auto()
    INIT_ERROR = auto()
    EXITED = auto()


@dataclass(frozen=True)
class Message:
    """One thing that happened; `payload` is the function's answer or error document, `status` a process's exit."""

    kind: Kind
    request_id: str = ""
    payload: bytes = b""
    status: int = 0


class RuntimeApi:
    """The service on a free port of 127.0.0.1, from construction until `close`."""

    def __init__(self) -> None:
        self.messages: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._invocations: queue.SimpleQueue[Invocation | None] = queue.SimpleQueue()
        self._server = _Server(self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="runtime-api", daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        """Host and port, for ``AWS_LAMBDA_RUNTIME_API``."""
        return f"127.0.0.1:{self._server.server_address[1]}"

    def submit(self, invocation: Invocation) -> None:
        """Hand an invocation to the client's next poll."""
        self._invocations.put(invocation)

    def next_invocation(self) -> Invocation | None:
        """Block until there is an invocation; None when the environment ends."""
        self.messages.put(Message(Kind.READY))
        return self._invocations.get()

    def close(self) -> None:
        """Release a waiting poll and stop listening."""
        self._invocations.put(None)
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, api: RuntimeApi) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.api = api


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # An answer in one packet, sent at once: otherwise each invocation waits 40 ms for a delayed acknowledgement.
    disable_nagle_algorithm = True
    wbufsize = -1
    server: _Server

    def do_GET(self) -> None:
        if self.path != f"{_PREFIX}invocation/next":
            self._answer(HTTPStatus.NOT_FOUND)
            return
        invocation = self.server.api.next_invocation()
        if invocation is None:
            self._answer(HTTPStatus.GONE)
            return
        self._answer(HTTPStatus.OK, invocation.payload, _headers(invocation))

    def do_POST(self) -> None:
        body = self._body()
        message = _message(self.path.removeprefix(_PREFIX).split("/"), body)
        if message is None:
            self._answer(HTTPStatus.NOT_FOUND)
            return
        self._answer(HTTPStatus.ACCEPTED, b'{"status":"OK"}')
        self.server.api.messages.put(message)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            return b"".join(iter(self._chunk, b""))
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _chunk(self) -> bytes:
        size = int(self.rfile.readline().split(b";")[0], 16)
        chunk = self.rfile.read(size)
        self.rfile.readline()
        return chunk

    def _answer(self, status: HTTPStatus, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, text in (headers or {}).items():
            self.send_header(name, text)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    @override
    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: the emulator's log is not for every poll."""


def _headers(invocation: Invocation) -> dict[str, str]:
    return {
        "Lambda-Runtime-Aws-Request-Id": invocation.request_id,
        "Lambda-Runtime-Deadline-Ms": str(invocation.deadline_ms),
        "Lambda-Runtime-Invoked-Function-Arn": invocation.function_arn,
        "Lambda-Runtime-Trace-Id": invocation.trace_id,
    }


def _message(path: list[str], body: bytes) -> Message | None:
    match path:
        case ["invocation", request_id, "response"]:
            return Message(Kind.RESPONSE, request_id, body)
        case ["invocation", request_id, "error"]:
            return Message(Kind.ERROR, request_id, body)
        case ["init", "error"]:
            return Message(Kind.INIT_ERROR, payload=body)
        case _:
            return None
