"""The log group as it grows: each line once, as a person reads it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

OVERLAP_SECONDS = 30.0
"""How far back each look goes: CloudWatch Logs takes a line's time from its writer, and lines of several writers arrive out of order."""


@dataclass(frozen=True, slots=True)
class LogEvent:
    """One event of a log group. ``time``: seconds since 1970; ``text``: the message as it was written."""

    event_id: str
    time: float
    text: str


class LogSource(Protocol):
    """A log group."""

    def since(self, time: float) -> Sequence[LogEvent]:
        """Return all events from ``time`` on (seconds since 1970)."""
        ...


@dataclass(slots=True)
class Tail:
    """What is new in a log group since ``start``, look by look."""

    source: LogSource
    start: float
    _seen: set[str] = field(default_factory=set)
    _newest: float = 0.0

    def fresh(self) -> list[LogEvent]:
        """Return the events that were not returned before, oldest first."""
        events = self.source.since(max(self.start, self._newest - OVERLAP_SECONDS))
        unseen = sorted((event for event in events if event.event_id not in self._seen), key=lambda event: event.time)
        self._seen |= {event.event_id for event in unseen}
        self._newest = max([self._newest, *(event.time for event in unseen)])
        return unseen


def readable(text: str) -> str:
    """Return the field ``message`` of a line of JSON; any other line as it is, without control characters (it may end on a terminal)."""
    try:
        fields = json.loads(text)
    except ValueError:
        fields = {}
    message = fields.get("message") if isinstance(fields, dict) else None
    plain = message if isinstance(message, str) else text.strip()
    return " ".join(harmless(plain).split("\n"))


def harmless(text: str) -> str:
    """Return a text without what a terminal would act on: a job's output can be in it, and an execution's name."""
    return "".join(letter if letter.isprintable() or letter == "\n" else " " for letter in text)
