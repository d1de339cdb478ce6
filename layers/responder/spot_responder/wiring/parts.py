"""The parts that all functions share."""

from __future__ import annotations

import os
from functools import cache
from typing import Protocol

from spot_responder.adapters.clients import client
from spot_responder.adapters.notices_table import DynamoNoticesTable
from spot_responder.adapters.story_log import StoryLog
from spot_responder.adapters.system_clock import SystemClock
from spot_responder.settings import Settings


class Context(Protocol):
    """What we use of Lambda's context object."""

    aws_request_id: str

    def get_remaining_time_in_millis(self) -> int:
        """Return the milliseconds until this invocation is stopped."""


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
    return DynamoNoticesTable(client("dynamodb"), settings().notices_table, settings().keep)
