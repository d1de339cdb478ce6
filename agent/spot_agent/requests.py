"""Where the hook asks for a checkpoint: a Unix socket, one line of JSON each way.

The question is ``{"kind": "interruption" | "rebalance" | ..., "action": "terminate" | ..., "deadline": seconds since the epoch or null}``; the
answer, when there is one, ``{"saved": true | false, "text": "..."}``. Only root and the agent's own user can open the socket.
"""

from __future__ import annotations

import json
import os
import socket
from typing import TYPE_CHECKING

from spot_agent.ports import Request

if TYPE_CHECKING:
    from pathlib import Path

SOCKET_NAME = "agent.sock"
LINE_BYTES = 4096
READ_SECONDS = 1.0
OWNER_ONLY = 0o177


class SocketRequests:
    """`spot_agent.ports.Requests`. ``listener`` is readable when somebody asks."""

    def __init__(self, folder: Path) -> None:
        self.listener = listening(folder)
        self._asking: dict[int, socket.socket] = {}
        self._numbers = 0

    def arrived(self) -> list[Request]:
        """Return the requests since the last call; what is none is dropped."""
        requests = []
        while (connection := self._accept()) is not None:
            request = self._read(connection)
            if request is None:
                connection.close()
            else:
                requests.append(request)
                self._asking[request.number] = connection
        return requests

    def _accept(self) -> socket.socket | None:
        try:
            connection, _ = self.listener.accept()
        except BlockingIOError:
            return None
        connection.settimeout(READ_SECONDS)
        return connection

    def _read(self, connection: socket.socket) -> Request | None:
        try:
            with connection.makefile("rb") as stream:
                raw = json.loads(stream.readline(LINE_BYTES))
            deadline = raw.get("deadline")
            request = Request(self._numbers + 1, str(raw["kind"]), str(raw["action"]), None if deadline is None else float(deadline))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None  # it went away, or does not speak our language
        self._numbers += 1
        return request

    def answer(self, request: Request, is_saved: bool, text: str) -> None:  # noqa: FBT001  # as in the port
        """Answer; one who has gone away meanwhile is past being told."""
        connection = self._asking.pop(request.number)
        with connection:
            try:
                connection.sendall(json.dumps({"saved": is_saved, "text": text}).encode() + b"\n")
            except OSError:
                return


def listening(folder: Path) -> socket.socket:
    """Return a socket that listens in ``folder``.

    A socket's address takes no more than 108 bytes, which the path of a directory may exceed: so it is reached through the
    directory's own file descriptor.
    """
    (folder / SOCKET_NAME).unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.setblocking(False)  # noqa: FBT003  # the socket module's own signature
    mask = os.umask(OWNER_ONLY)
    try:
        with _short(folder) as address:
            listener.bind(address)
    finally:
        os.umask(mask)
    listener.listen(8)
    return listener


def connected(folder: Path, seconds: float) -> socket.socket:
    """Return a connection to the agent that listens in ``folder``; raise OSError without one."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(seconds)
    try:
        with _short(folder) as address:
            connection.connect(address)
    except OSError:
        connection.close()
        raise
    return connection


class _short:  # noqa: N801  # reads as a word of the sentence that it stands in
    """A short address of the socket in a folder, while it is needed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __enter__(self) -> str:
        self._descriptor = os.open(self._folder, os.O_RDONLY)
        return f"/proc/self/fd/{self._descriptor}/{SOCKET_NAME}"

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)
