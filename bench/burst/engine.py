"""A discrete-event engine for code that blocks.

The use cases call and sleep as on a real machine, deep inside their own functions. So each invocation is a greenlet: where it
waits, the engine puts it aside until that moment of the simulated time, and lets whoever is next go on. One at a time, in a fixed
order: the same seed gives the same run.
"""

from __future__ import annotations

from concurrent.futures import Executor, Future
from heapq import heappop, heappush
from itertools import count
from typing import TYPE_CHECKING

from greenlet import getcurrent, greenlet

if TYPE_CHECKING:
    from collections.abc import Callable

type Act = Callable[[], object]


class Engine:
    """The simulated time, ``now`` in seconds from the start, and what is to happen in it."""

    def __init__(self) -> None:
        self.now = 0.0
        self._hub = getcurrent()
        self._order = count()
        self._ahead: list[tuple[float, int, Act]] = []

    def at(self, seconds: float, act: Act) -> None:
        """Let something happen at this time. It may not wait; ``start`` what does."""
        heappush(self._ahead, (max(seconds, self.now), next(self._order), act))

    def start(self, act: Act) -> None:
        """Run something that may wait."""
        self.at(self.now, greenlet(act, self._hub).switch)

    def sleep(self, seconds: float) -> None:
        """Wait."""
        self.at(self.now + seconds, getcurrent().switch)
        self._hub.switch()

    def wait_in(self, room: list[Act]) -> None:
        """Wait until somebody wakes those in this room."""
        room.append(getcurrent().switch)
        self._hub.switch()

    def wake(self, room: list[Act], most: int | None = None) -> None:
        """Let those in a room go on, or as many as this, the first come first."""
        for act in room[:most]:
            self.at(self.now, act)
        del room[:most]

    def run(self, until: float = float("inf")) -> None:
        """Let everything happen up to this time. What a process raises is raised here."""
        while self._ahead and self._ahead[0][0] <= until:
            self.now, _, act = heappop(self._ahead)
            act()


class Beside(Executor):
    """An executor in simulated time: what it is given may wait, and whoever gave it goes on meanwhile. It has as many workers as are needed."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def submit[**P, T](self, act: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Start it. Its error, as that of every process, is raised by the engine."""
        done: _Awaited[T] = _Awaited(self._engine)
        self._engine.start(lambda: done.finish(act(*args, **kwargs)))
        return done


class _Awaited[T](Future[T]):
    """What a process will have found: to wait for it takes simulated time."""

    def __init__(self, engine: Engine) -> None:
        super().__init__()
        self._engine = engine
        self._room: list[Act] = []

    def finish(self, found: T) -> None:
        self.set_result(found)
        self._engine.wake(self._room)

    def result(self, timeout: float | None = None) -> T:
        if not self.done():
            self._engine.wait_in(self._room)
        return super().result(timeout)
