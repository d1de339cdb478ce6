"""EventBridge's replays: LocalStack keeps an archived event's time as text and then takes it for a time."""

from datetime import datetime
from typing import Any

from localstack.services.events.archive import ArchiveService

Event = dict[str, Any]


def install() -> None:
    """Replace the choice of the archived events."""
    ArchiveService._filter_events_start_end_time = _between  # noqa: SLF001 - LocalStack offers no hook here


def _between(self: ArchiveService, event_start_time: datetime, event_end_time: datetime) -> list[Event]:
    """The archived events of a span, to the minute, with their times as times."""
    events: list[Event] = [event | {"time": datetime.fromisoformat(event["time"])} for event in list(self.archive.events.values())]
    first, last = _minute(event_start_time), _minute(event_end_time)
    return [event for event in events if first <= _minute(event["time"]) <= last]


def _minute(moment: datetime) -> datetime:
    return moment.replace(second=0, microsecond=0)
