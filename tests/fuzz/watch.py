"""Watches what Python does on behalf of a function: nothing from an event may start a process, become code or name a file (PEP 578)."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

FORBIDDEN = frozenset(
    {
        "compile",
        "ctypes.dlopen",
        "exec",
        "glob.glob",
        "import",
        "marshal.loads",
        "open",
        "os.exec",
        "os.fork",
        "os.link",
        "os.listdir",
        "os.mkdir",
        "os.posix_spawn",
        "os.remove",
        "os.putenv",
        "os.rename",
        "os.rmdir",
        "os.scandir",
        "os.spawn",
        "os.symlink",
        "os.system",
        "os.truncate",
        "pickle.find_class",
        "socket.connect",
        "socket.getaddrinfo",
        "subprocess.Popen",
    },
)
"""A warm function reads no file, and imports nothing: whatever it opens would be by the name that somebody gave it."""


@dataclass(slots=True)
class Watch:
    """What was done that may not be, while somebody looked."""

    is_looking: bool = False
    seen: list[str] = field(default_factory=list)

    def hook(self, event: str, arguments: tuple[object, ...]) -> None:
        """Hear of one of Python's audit events."""
        if self.is_looking and event in FORBIDDEN:
            self.seen.append(f"{event} {arguments!r}"[:300])

    @contextmanager
    def looking(self) -> Iterator[None]:
        """Look for as long as this lasts."""
        self.is_looking = True
        try:
            yield
        finally:
            self.is_looking = False


WATCH = Watch()
# A hook cannot be taken away again: there is one, which costs next to nothing while nobody looks.
sys.addaudithook(WATCH.hook)
