"""CloudWatch Logs: the story."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gameday.adapters.connection import calling
from gameday.failures import Refused, Unmet
from gameday.story import LogEvent

if TYPE_CHECKING:
    from mypy_boto3_logs import CloudWatchLogsClient


@dataclass(frozen=True, slots=True)
class CloudWatchLogs:
    """``Logs`` by FilterLogEvents."""

    client: CloudWatchLogsClient

    def group(self, name: str) -> LogGroup:
        """Return the log group. Whether it is there, its first read tells."""
        return LogGroup(self.client, name)


@dataclass(frozen=True, slots=True)
class LogGroup:
    """``LogSource`` of one log group."""

    client: CloudWatchLogsClient
    name: str

    def since(self, time: float) -> list[LogEvent]:
        """Return all events from ``time`` on (seconds since 1970); Unmet: the group is not there."""
        try:
            with calling("logs:FilterLogEvents"):
                pages = self.client.get_paginator("filter_log_events").paginate(logGroupName=self.name, startTime=int(time * 1000))
                events = [event for page in pages for event in page["events"]]
        except Refused as refused:
            if refused.code == "ResourceNotFoundException":
                raise Unmet(f"The log group {self.name} of the stack is not there: deploy the stack again.") from refused
            raise
        return [LogEvent(event.get("eventId", ""), event.get("timestamp", 0) / 1000, event.get("message", "")) for event in events]
