"""A notice: EC2's word that a Spot Instance is about to be taken back, or may be.

Sources: EC2 User Guide, "Spot Instance interruption notices" and "EC2 instance rebalance recommendations".
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import cached_property

WARNING_TIME = timedelta(seconds=120)
"""From the warning to the end of a stopped or terminated instance."""

RECOMMENDATION_TIME = timedelta(seconds=600)
"""How long a rebalance recommendation says something about the present. AWS sets no limit; a replayed one is stale."""


class NoticeKind(StrEnum):
    """Which of EC2's two notices it is."""

    INTERRUPTION = "interruption"
    REBALANCE = "rebalance"


class Action(StrEnum):
    """What EC2 is going to do to the instance; nothing yet, for a rebalance recommendation."""

    TERMINATE = "terminate"
    STOP = "stop"
    HIBERNATE = "hibernate"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class NoticeKey:
    """Where a notice is kept: all of one account and Region together, so that one stream shard brings them in one batch."""

    account_region: str
    notice_id: str


@dataclass(frozen=True)  # without slots, for the key's sake
class Notice:
    """What AWS said, and when (``time`` is the event's own, aware, whole seconds)."""

    kind: NoticeKind
    action: Action
    instance_id: str
    account: str
    region: str
    time: datetime
    event_id: str

    @cached_property
    def key(self) -> NoticeKey:
        """The key under which a second copy of this notice is the same item. Made once, since every step asks for it."""
        notice_id = f"{self.instance_id}#{self.kind}#{timestamp(self.time)}"
        return NoticeKey(account_region(self.account, self.region), notice_id)

    @property
    def deadline(self) -> datetime:
        """When it is too late to act. Hibernation starts with the notice, so there is no time at all."""
        if self.kind is NoticeKind.REBALANCE:
            return self.time + RECOMMENDATION_TIME
        return self.time if self.action is Action.HIBERNATE else self.time + WARNING_TIME

    def is_late(self, now: datetime) -> bool:
        """Whether the time to act has passed."""
        return now >= self.deadline


def account_region(account: str, region: str) -> str:
    """Return the aggregation key of the notices of one account and Region."""
    return f"{account}#{region}"


def timestamp(moment: datetime) -> str:
    """Return a moment as ISO 8601 in UTC, whole seconds: ``2026-11-22T10:00:00Z``."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="seconds") + "Z"


def seconds_between(start: datetime, end: datetime) -> float:
    """Return the seconds from start to end, to the millisecond."""
    return round((end - start).total_seconds(), 3)
