"""Watches what Python does on behalf of a function: nothing from an event may start a process, or become code (PEP 578)."""

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
        "marshal.loads",
        "os.exec",
        "os.fork",
        "os.posix_spawn",
        "os.remove",
        "os.rename",
        "os.spawn",
        "os.system",
        "pickle.find_class",
        "socket.connect",
        "socket.getaddrinfo",
        "subprocess.Popen",
    },
)


@dataclass(slots=True)
class Watch:
    """What was done that may not be, while somebody looked."""

    is_looking: bool = False
    seen: list[str] = field(default_factory=list)

    def hook(self, event: str, arguments: tuple[object, ...]) -> None:
        """Hear of one of Python's audit events."""
        if self.is_looking and (event in FORBIDDEN or (event == "open" and _writes(arguments))):
            self.seen.append(f"{event} {arguments!r}"[:300])

    @contextmanager
    def looking(self) -> Iterator[None]:
        """Look for as long as this lasts."""
        self.is_looking = True
        try:
            yield
        finally:
            self.is_looking = False


def _writes(arguments: tuple[object, ...]) -> bool:
    mode = arguments[1] if len(arguments) > 1 else None
    return isinstance(mode, str) and bool(set(mode) & set("wax+"))


WATCH = Watch()
# A hook cannot be taken away again: there is one, which costs next to nothing while nobody looks.
sys.addaudithook(WATCH.hook)
