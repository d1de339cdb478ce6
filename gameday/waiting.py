"""Waiting with a deadline: everything in AWS is asynchronous."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

PAUSE_SECONDS = 0.5
"""Between two looks. Each look is two or three calls, far below what the APIs allow for each second."""


class Clock(Protocol):
    """Time, so that tests need none."""

    def now(self) -> float:
        """Seconds since 1970."""
        ...

    def pause(self, seconds: float) -> None:
        """Let so many seconds pass."""
        ...


@dataclass(frozen=True, slots=True)
class SystemClock:
    """``Clock`` of this machine."""

    def now(self) -> float:
        """Seconds since 1970."""
        return time.time()

    def pause(self, seconds: float) -> None:
        """Let so many seconds pass."""
        time.sleep(seconds)


def looks(clock: Clock, seconds: float, pause: float = PAUSE_SECONDS) -> Iterator[float]:
    """Yield the time, again and again with a pause between, until ``seconds`` have passed; at least once, and once at the end."""
    deadline = clock.now() + seconds
    while (now := clock.now()) < deadline:
        yield now
        clock.pause(min(pause, max(0.0, deadline - clock.now())))
    yield now
