"""Lambda's way to CloudWatch Logs: lines of all functions, in batches, from one thread.

Lambda delivers logs beside the invocation, not within it: a slow log service never delays a function.
"""

import logging
import queue
import threading
from collections import defaultdict
from dataclasses import dataclass
from functools import cache
from typing import Any

from localstack.aws.connect import connect_to

LOG = logging.getLogger(__name__)
_BATCH_EVENTS = 1_000


@dataclass(frozen=True)
class LogTarget:
    """Where a Lambda environment's lines go."""

    account: str
    region: str
    group: str
    stream: str


@dataclass(frozen=True)
class LogEvent:
    """One line; `timestamp` in epoch milliseconds."""

    target: LogTarget
    timestamp: int
    message: str


class LogWriter:
    """Takes lines from any thread and writes them in the order in which they came."""

    def __init__(self) -> None:
        self._events: queue.SimpleQueue[LogEvent] = queue.SimpleQueue()
        threading.Thread(target=self._work, name="lambda-logs", daemon=True).start()

    def write(self, event: LogEvent) -> None:
        """Take a line; returns at once."""
        self._events.put(event)

    def _work(self) -> None:
        while True:
            batches: defaultdict[LogTarget, list[LogEvent]] = defaultdict(list)
            for event in self._take_waiting():
                batches[event.target].append(event)
            for target, events in batches.items():
                try:
                    _put(target, events)
                except Exception:
                    # The thread serves all functions: one that cannot be logged must not silence the others.
                    LOG.exception("Lines of %s could not be written to %s", target.stream, target.group)

    def _take_waiting(self) -> list[LogEvent]:
        events = [self._events.get()]
        while len(events) < _BATCH_EVENTS:
            try:
                events.append(self._events.get_nowait())
            except queue.Empty:
                break
        return events


def _put(target: LogTarget, events: list[LogEvent]) -> None:
    logs = connect_to(aws_access_key_id=target.account, region_name=target.region).logs
    request: dict[str, Any] = {
        "logGroupName": target.group,
        "logStreamName": target.stream,
        "logEvents": [{"timestamp": event.timestamp, "message": event.message} for event in events],
    }
    try:
        logs.put_log_events(**request)
    except logs.exceptions.ResourceNotFoundException:
        _create_stream(logs, target)
        logs.put_log_events(**request)


def _create_stream(logs: Any, target: LogTarget) -> None:
    try:
        logs.create_log_group(logGroupName=target.group)
    except logs.exceptions.ResourceAlreadyExistsException:
        LOG.debug("Log group %s is there already", target.group)
    try:
        logs.create_log_stream(logGroupName=target.group, logStreamName=target.stream)
    except logs.exceptions.ResourceAlreadyExistsException:
        LOG.debug("Log stream %s is there already", target.stream)


@cache
def log_writer() -> LogWriter:
    """The writer that all environments share."""
    return LogWriter()
