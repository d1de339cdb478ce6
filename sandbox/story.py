"""The log group as it grows: each line of JSON once, in the order of its time."""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from sandbox.remote import Remote
from sandbox.waiting import wait_for

LOG_GROUP = "/aws/events/spotinterruptions"
LATEST = timedelta(seconds=180)
"""How late a line may be shown: a function's lines come when its invocation ends, which takes 150 s at most."""

type Json = dict[str, Any]


@dataclass(frozen=True)
class Line:
    """One line: when it was written (aware) and its fields; `fields` is empty where it is no JSON object."""

    time: datetime
    text: str
    fields: Json

    def has(self, **wanted: Any) -> bool:
        """Tell whether the line has these fields with these values."""
        return all(self.fields.get(name) == value for name, value in wanted.items())


@dataclass
class Story:
    """What a log group tells from the moment `since` on, which moves on with the reading."""

    remote: Remote
    since: datetime
    group: str = LOG_GROUP
    lines: list[Line] = field(default_factory=list)
    _known: set[str] = field(default_factory=set)

    def read(self) -> list[Line]:
        """Return the lines that are new since the last time."""
        since = int(self.since.timestamp() * 1000)
        pages = self.remote.client("logs").get_paginator("filter_log_events").paginate(logGroupName=self.group, startTime=since)
        events = {event["eventId"]: event for page in pages for event in page["events"] if event["eventId"] not in self._known}
        self._known |= events.keys()
        fresh = sorted((_line(event) for event in events.values()), key=lambda line: line.time)
        self.lines += fresh
        # Not everything is read again each time: a long story would become slow to read.
        self.since = max([self.since, *(line.time - LATEST for line in fresh)])
        return fresh

    def find(self, **wanted: Any) -> list[Line]:
        """Return the lines so far that have these fields."""
        return [line for line in self.lines if line.has(**wanted)]

    def wait(self, look: Callable[["Story"], Any], seconds: float, what: str) -> Any:
        """Read on until `look` finds something; return that."""

        def read_and_look() -> Any:
            self.read()
            return look(self)

        return wait_for(read_and_look, seconds, what)

    def await_line(self, seconds: float = 30, **wanted: Any) -> Line:
        """Wait for the first line that has these fields."""
        found: list[Line] = self.wait(lambda story: story.find(**wanted), seconds, f"the line {wanted}")
        return found[0]


def outcomes(lines: Iterable[Line]) -> list[str]:
    """Return the outcome of each notice that these lines close."""
    return [line.fields["outcome"] for line in lines if line.has(event="notice_closed")]


def _line(event: Json) -> Line:
    text = event["message"].rstrip("\n")
    try:
        fields = json.loads(text)
    except ValueError:
        fields = {}
    return Line(datetime.fromtimestamp(event["timestamp"] / 1000, UTC), text, fields if isinstance(fields, dict) else {})
