"""The parts that all functions share."""

from __future__ import annotations

import os
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Protocol

from spot_responder.adapters.clients import client
from spot_responder.adapters.notices_table import DynamoNoticesTable
from spot_responder.adapters.story_log import StoryLog
from spot_responder.adapters.system_clock import SystemClock
from spot_responder.settings import Settings
from spot_responder.use_cases.patience import keep_trying

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime


TIME_TO_FINISH = timedelta(seconds=5)
"""What is kept of an invocation's time for writing down how far it came."""


class Context(Protocol):
    """What we use of Lambda's context object."""

    aws_request_id: str

    def get_remaining_time_in_millis(self) -> int:
        """Return the milliseconds until this invocation is stopped."""


def until(context: Context) -> datetime:
    """Return the time by which an invocation has to come to its end."""
    return clock().now() + timedelta(milliseconds=context.get_remaining_time_in_millis()) - TIME_TO_FINISH


def patiently(act: Callable[[], None], context: Context) -> None:
    """Carry out, again while AWS is unavailable and there is time: Lambda's own retries come a minute later, half of what a notice has."""
    keep_trying(act, until(context), clock())


@cache
def settings() -> Settings:
    """Return this environment's settings. Raises ``ConfigurationError``."""
    return Settings.from_env(os.environ)


@cache
def clock() -> SystemClock:
    """Return the clock."""
    return SystemClock()


@cache
def story() -> StoryLog:
    """Return the story that this function tells."""
    return StoryLog(os.environ.get("AWS_LAMBDA_FUNCTION_NAME", "local"))


@cache
def notices() -> DynamoNoticesTable:
    """Return the notices table."""
    return DynamoNoticesTable(client("dynamodb"), settings().notices_table, settings().keep, settings().shards)
