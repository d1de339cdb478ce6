"""The archive's notices, given to record_notice again (EventBridge, StartReplay)."""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING

from replay.failures import ReplayFailed, calling

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from mypy_boto3_events import EventBridgeClient

    from replay.stack import Stack

PAUSE_SECONDS = 2.0
LONGEST_SECONDS = 6 * 3600.0
"""EventBridge gives no figure for a replay's duration; it goes minute by minute through the span."""
OVER = ("COMPLETED", "CANCELLED", "FAILED")


def replay(events: EventBridgeClient, stack: Stack, span: tuple[datetime, datetime], say: Callable[[str], None]) -> None:
    """Replay a span to the two rules of record_notice and wait until that is done. Raises ``ReplayFailed``."""
    name = f"spot-responder-{uuid.uuid4().hex[:12]}"
    # arn:aws:events:us-east-1:123456789012:archive/name -> ...:event-bus/default
    here = stack.archive.rpartition(":")[0]
    with calling("events:StartReplay"):
        events.start_replay(
            ReplayName=name,
            EventSourceArn=stack.archive,
            EventStartTime=span[0],
            EventEndTime=span[1],
            Destination={"Arn": f"{here}:event-bus/default", "FilterArns": [f"{here}:rule/{rule}" for rule in stack.rules]},
        )
    _await_end(events, name, say)


def _await_end(events: EventBridgeClient, name: str, say: Callable[[str], None]) -> None:
    deadline, told = time.monotonic() + LONGEST_SECONDS, ""
    while time.monotonic() < deadline:
        with calling("events:DescribeReplay"):
            found = events.describe_replay(ReplayName=name)
        state = found["State"]
        if state in OVER:
            if state != "COMPLETED":
                raise ReplayFailed(f"The replay {name} is {state}: {found.get('StateReason') or 'EventBridge gives no reason'}")
            return
        last: datetime | None = found.get("EventLastReplayedTime")
        until = "" if last is None else f"{last:%Y-%m-%d %H:%M}"
        if until not in {"", told}:
            say(f"  replayed until {until}")
        told = until or told
        time.sleep(PAUSE_SECONDS)
    raise ReplayFailed(f"The replay {name} takes over six hours: look at `aws events describe-replay --replay-name {name}`")
