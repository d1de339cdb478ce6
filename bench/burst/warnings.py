"""A burst: interruption warnings as EventBridge has them, and what became of each."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from spot_responder.domain.notices import WARNING_TIME

if TYPE_CHECKING:
    from collections.abc import Iterable
    from random import Random

START = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
ACCOUNT, REGION = "123456789012", "us-east-1"
BURST_SECONDS = 2.0
DEADLINE = WARNING_TIME.total_seconds()

type Event = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Warned:
    """An instance's warning, put on the bus ``at`` seconds after the start. Its event's own time has whole seconds."""

    instance_id: str
    at: float

    @property
    def event_time(self) -> float:
        """What the deadline counts from, in seconds after the start."""
        return float(int(self.at))

    def event(self) -> Event:
        """Return the event (EC2 User Guide, "Spot Instance interruption notices")."""
        detail = {"instance-id": self.instance_id, "instance-action": "terminate"}
        return envelope("aws.ec2", "EC2 Spot Instance Interruption Warning", self.event_time, self.instance_id, detail)


def burst(count: int, chance: Random) -> list[Warned]:
    """Return so many warnings, anywhere within two seconds, the first come first."""
    return [Warned(f"i-{number:017x}", at) for number, at in enumerate(sorted(chance.uniform(0, BURST_SECONDS) for _ in range(count)))]


def envelope(source: str, detail_type: str, seconds: float, event_id: str, detail: dict[str, str]) -> Event:
    """Return an EventBridge event of this time."""
    return {
        "version": "0",
        "id": event_id,
        "detail-type": detail_type,
        "source": source,
        "account": ACCOUNT,
        "time": f"{moment(seconds):%Y-%m-%dT%H:%M:%SZ}",
        "region": REGION,
        "resources": [],
        "detail": detail,
    }


def moment(seconds: float) -> datetime:
    """Return the time so many seconds after the start."""
    return START + timedelta(seconds=seconds)


@dataclass(slots=True)
class Commanded:
    """When a command went to each instance first, in seconds after the start, and how many it got."""

    at: dict[str, float] = field(default_factory=dict)
    times: dict[str, int] = field(default_factory=dict)

    def note(self, instance_ids: Iterable[str], now: float) -> None:
        """SSM took a command for these instances."""
        for instance_id in instance_ids:
            self.at.setdefault(instance_id, now)
            self.times[instance_id] = self.times.get(instance_id, 0) + 1
