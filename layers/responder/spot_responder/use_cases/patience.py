"""Trying again, inside the time that is left."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from spot_responder.domain.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from spot_responder.use_cases.ports import Clock

FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 3.0


def pauses() -> Iterator[float]:
    """Yield the seconds between tries: doubling, up to the longest. One caller at a time, so there is no jitter."""
    pause = FIRST_PAUSE_SECONDS
    while True:
        yield pause
        pause = min(2 * pause, LONGEST_PAUSE_SECONDS)


def keep_trying[T](call: Callable[[], T], until: datetime, clock: Clock) -> T:
    """Return what the call returns, trying again while it is ``Unavailable`` and there is time; then raise that."""
    for pause in pauses():
        try:
            return call()
        except Unavailable:
            if clock.now() + timedelta(seconds=pause) >= until:
                raise
        clock.sleep(pause)
    raise AssertionError
