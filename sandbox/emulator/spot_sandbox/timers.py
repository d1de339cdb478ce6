"""Things to do later: one thread that calls functions at their time, each of which can be cancelled."""

import heapq
import itertools
import logging
import threading
import time
from collections.abc import Callable

LOG = logging.getLogger(__name__)


class Timer:
    """Something to be done once, unless it is cancelled before."""

    def __init__(self, action: Callable[[], None]) -> None:
        """Remember what is to be done."""
        self.action = action
        self.cancelled = False

    def cancel(self) -> None:
        """Forget it."""
        self.cancelled = True


class Timers:
    """A queue of timers and the daemon thread that serves it. Actions must be short: they share the thread."""

    def __init__(self) -> None:
        """Start the thread with the first timer, not before."""
        self._queue: list[tuple[float, int, Timer]] = []
        self._numbers = itertools.count()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def after(self, seconds: float, action: Callable[[], None]) -> Timer:
        """Call `action` in `seconds`; timers of the same moment keep their order."""
        timer = Timer(action)
        with self._changed:
            heapq.heappush(self._queue, (time.monotonic() + seconds, next(self._numbers), timer))
            if self._thread is None:
                self._thread = threading.Thread(target=self._serve, name="spot-sandbox-timers", daemon=True)
                self._thread.start()
            self._changed.notify()
        return timer

    def _serve(self) -> None:
        while True:
            timer = self._next()
            if not timer.cancelled:
                self._call(timer)

    def _next(self) -> Timer:
        """Wait for the earliest timer."""
        with self._changed:
            while True:
                delay = self._queue[0][0] - time.monotonic() if self._queue else None
                if delay is not None and delay <= 0:
                    return heapq.heappop(self._queue)[2]
                self._changed.wait(delay)

    def _call(self, timer: Timer) -> None:
        # One action that fails must not stop the clock for all others.
        try:
            timer.action()
        except Exception:
            LOG.exception("a timer of the sandbox failed")
