"""`aws logs tail` for version 1 of AWS's command line, which only version 2 has by itself.

A plugin: a section ``[plugins]`` of AWS's configuration file names this module, and the command line calls
`awscli_initialize`. Options, defaults and output are those of version 2, whose reference is
https://docs.aws.amazon.com/cli/latest/reference/logs/tail.html. One thing is better: while it follows, a line that
CloudWatch Logs shows late is still shown, as long as it is not older than `LOOK_BACK_MILLISECONDS`.
"""

import json
import re
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, ClassVar

from awscli.customizations.commands import BasicCommand  # type: ignore[import-untyped]
from botocore.utils import datetime2timestamp, parse_timestamp

POLL_SECONDS = 1.0
LOOK_BACK_MILLISECONDS = 15_000
SECONDS_OF_UNIT = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}

type Event = dict[str, Any]
"""A log event as FilterLogEvents returns it: ``timestamp`` in milliseconds since 1970, ``message``, ``logStreamName``, ``eventId``."""
type Paint = Callable[[str, str], str]
"""Puts a text into the color of an ANSI code."""


def awscli_initialize(event_hooks: Any) -> None:
    """Add the command; AWS's command line calls this for each plugin that its configuration names."""
    event_hooks.register("building-command-table.logs", Tail.add_command)


def milliseconds_since_1970(since: str, now: float) -> int:
    """Return the moment that `--since` means: ``10m`` ago, or an ISO 8601 time (UTC where it names no zone).

    `now` is in seconds since 1970. Raises `ValueError` where `since` is neither.
    """
    if relative := re.fullmatch(r"(\d+)([smhdw])", since):
        return int((now - int(relative[1]) * SECONDS_OF_UNIT[relative[2]]) * 1000)
    return int(datetime2timestamp(parse_timestamp(since)) * 1000)


def detailed(event: Event, paint: Paint) -> str:
    """Return the time with microseconds and zone, the log stream and the message."""
    return _with_stream(_time(event).isoformat(timespec="microseconds"), event, event["message"], paint)


def short(event: Event, paint: Paint) -> str:
    """Return the time in whole seconds (UTC) and the message."""
    return f"{paint('32', _time(event).strftime('%Y-%m-%dT%H:%M:%S'))} {event['message']}"


def pretty(event: Event, paint: Paint) -> str:
    """Return the same as `detailed`, but a message that is JSON indented, on lines of its own."""
    try:
        message = "\n" + json.dumps(json.loads(event["message"]), indent=4)
    except ValueError:
        message = event["message"]
    return _with_stream(_time(event).isoformat(), event, message, paint)


FORMATS: dict[str, Callable[[Event, Paint], str]] = {"detailed": detailed, "short": short, "json": pretty}


@dataclass
class Tailing:
    """The events of a log group, each once; `wanted` are the parameters of FilterLogEvents but the time."""

    logs: Any
    wanted: dict[str, Any]
    since: int
    _shown: dict[str, int] = field(default_factory=dict)

    def new_events(self) -> Iterator[Event]:
        """Return those that were not there the last time."""
        pages = self.logs.get_paginator("filter_log_events").paginate(**self.wanted, startTime=self.since)
        for event in (event for page in pages for event in page["events"]):
            if event["eventId"] not in self._shown:
                self._shown[event["eventId"]] = event["timestamp"]
                yield event
        self._move_on()

    def follow(self, pause: Callable[[float], object] = time.sleep) -> Iterator[Event]:
        """Return all events there are, then the new ones as they come, without end."""
        while True:
            yield from self.new_events()
            pause(POLL_SECONDS)

    def _move_on(self) -> None:
        """Ask for less the next time: what is shown already, but for what could still come late."""
        newest = max(self._shown.values(), default=self.since)
        self.since = max(self.since, newest - LOOK_BACK_MILLISECONDS)
        self._shown = {event_id: timestamp for event_id, timestamp in self._shown.items() if timestamp >= self.since}


class Tail(BasicCommand):  # type: ignore[misc]  # awscli has no types
    """The command; awscli reads its capital names."""

    NAME = "tail"
    DESCRIPTION = (
        "Shows the events of a CloudWatch Logs log group, by default those of the past ten minutes. Their order is that of "
        "FilterLogEvents, which is not quite that of their times."
    )
    ARG_TABLE: ClassVar = [
        {"name": "group_name", "positional_arg": True, "help_text": "The name of the log group."},
        {
            "name": "since",
            "default": "10m",
            "help_text": "From when on: a number and one of the units s, m, h, d, w (``10m``: ten minutes ago), or an ISO 8601 time.",
        },
        {
            "name": "follow",
            "action": "store_true",
            "default": False,
            "help_text": "Keep looking for new events, until Control-C.",
        },
        {
            "name": "format",
            "default": "detailed",
            "choices": list(FORMATS),
            "help_text": "``detailed``: time, log stream and message. ``short``: time in seconds, and message. ``json``: messages indented.",
        },
        {"name": "filter-pattern", "help_text": "Show only events that match this filter pattern."},
        {"name": "log-stream-names", "nargs": "+", "help_text": "Show only events of these log streams."},
        {"name": "log-stream-name-prefix", "help_text": "Show only events of log streams whose names begin so."},
    ]

    def _run_main(self, parsed_args: Namespace, parsed_globals: Namespace) -> int:
        tailing = Tailing(self._client(parsed_globals), _wanted(parsed_args), milliseconds_since_1970(parsed_args.since, time.time()))
        show, paint = FORMATS[parsed_args.format], _paint(parsed_globals.color)
        try:
            for event in tailing.follow() if parsed_args.follow else tailing.new_events():
                sys.stdout.write(show(event, paint).rstrip() + "\n")
                sys.stdout.flush()
        except KeyboardInterrupt:
            if not parsed_args.follow:
                raise
        return 0

    def _client(self, chosen: Namespace) -> Any:
        return self._session.create_client("logs", region_name=chosen.region, endpoint_url=chosen.endpoint_url, verify=chosen.verify_ssl)


def _wanted(options: Namespace) -> dict[str, Any]:
    wanted = {
        "logGroupName": options.group_name,
        "filterPattern": options.filter_pattern,
        "logStreamNames": options.log_stream_names,
        "logStreamNamePrefix": options.log_stream_name_prefix,
    }
    return {name: chosen for name, chosen in wanted.items() if chosen is not None}


def _with_stream(moment: str, event: Event, message: str, paint: Paint) -> str:
    return f"{paint('32', moment)} {paint('36', event['logStreamName'])} {message}"


def _time(event: Event) -> datetime:
    return datetime.fromtimestamp(event["timestamp"] / 1000, UTC)


def _paint(color: str | None) -> Paint:
    """Return how to color: as `--color` says, by itself only on a terminal."""
    if color == "on" or (color != "off" and sys.stdout.isatty()):
        return lambda code, text: f"\033[{code}m{text}\033[0m"
    return lambda _, text: text
