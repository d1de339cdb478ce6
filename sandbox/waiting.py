"""Waiting for something to become so, with a deadline: everything in AWS is asynchronous."""

import time
from collections.abc import Callable

from sandbox.control import SandboxError

PAUSE_SECONDS = 0.2


class TooLong(SandboxError):
    """What was waited for did not happen in time; the text says what."""


def wait_for[T](look: Callable[[], T], seconds: float, what: str, pause: float = PAUSE_SECONDS) -> T:
    """Return the first true answer of `look`; raise `TooLong` when there is none within `seconds`.

    `what` completes the sentence "... did not happen within 10 s".
    """
    deadline = time.monotonic() + seconds
    while not (found := look()):
        if time.monotonic() > deadline:
            raise TooLong(f"{what} did not happen within {seconds:.0f} s (last seen: {found!r:.200})")
        time.sleep(pause)
    return found
