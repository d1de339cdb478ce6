"""The events that EC2 and SSM emit, as entries of EventBridge's PutEvents.

The envelope is that of real events: source ``aws.ec2`` or ``aws.ssm``, ``resources`` with the zone and no account for
EC2. https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-instance-termination-notices.html
"""

import json
import logging
import queue
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

LOG = logging.getLogger(__name__)

PUT_EVENTS_LIMIT = 10
"""PutEvents takes at most 10 entries a call."""


@dataclass(frozen=True)
class Event:
    """One event on the default bus of an account and region; `id` stays the same when it is delivered twice."""

    account: str
    region: str
    source: str
    detail_type: str
    time: datetime
    resources: tuple[str, ...]
    detail: dict[str, Any]
    id: str = field(default_factory=lambda: str(uuid.uuid4()))

    def entry(self) -> dict[str, Any]:
        """Return the event as an entry of PutEvents.

        PutEvents makes up an id of its own; LocalStack takes it from the trace header where one is there (that is how
        it keeps the id when an event goes on to another account), which is the way to have the same id twice.
        """
        return {
            "Source": self.source,
            "DetailType": self.detail_type,
            "Time": self.time,
            "Resources": list(self.resources),
            "Detail": json.dumps(self.detail),
            "TraceHeader": json.dumps({"original_id": self.id}),
        }


def _ec2(detail_type: str, where: "Place", time: datetime, detail: dict[str, Any]) -> Event:
    arn = f"arn:aws:ec2:{where.zone or where.region}:instance/{where.instance_id}"
    return Event(where.account, where.region, "aws.ec2", detail_type, time, (arn,), detail)


@dataclass(frozen=True)
class Place:
    """Which instance an event is about. `zone` is empty for an instance that EC2 no longer knows."""

    account: str
    region: str
    zone: str
    instance_id: str


def interruption_warning(where: Place, time: datetime, action: str) -> Event:
    """Two minutes' notice: `action` is ``terminate``, ``stop`` or ``hibernate``."""
    detail = {"instance-id": where.instance_id, "instance-action": action}
    return _ec2("EC2 Spot Instance Interruption Warning", where, time, detail)


def rebalance_recommendation(where: Place, time: datetime) -> Event:
    """A raised risk of interruption."""
    return _ec2("EC2 Instance Rebalance Recommendation", where, time, {"instance-id": where.instance_id})


def instance_state(where: Place, time: datetime, state: str) -> Event:
    """An instance has gone into `state`."""
    arn = f"arn:aws:ec2:{where.region}:{where.account}:instance/{where.instance_id}"
    detail = {"instance-id": where.instance_id, "state": state}
    kind = "EC2 Instance State-change Notification"
    return Event(where.account, where.region, "aws.ec2", kind, time, (arn,), detail)


def spot_request_fulfilled(where: Place, time: datetime, request_id: str) -> Event:
    """A Spot request has its instance."""
    detail = {"spot-instance-request-id": request_id, "instance-id": where.instance_id}
    return _ec2("EC2 Spot Instance Request Fulfillment", where, time, detail)


def command_invocation_status(where: Place, time: datetime, detail: dict[str, Any]) -> Event:
    """An SSM command has a new status on one instance; `detail` has the keys of SSM's event."""
    arn = f"arn:aws:ec2:{where.region}:{where.account}:instance/{where.instance_id}"
    kind = "EC2 Command Invocation Status-change Notification"
    return Event(where.account, where.region, "aws.ssm", kind, time, (arn,), detail)


def command_status(account: str, region: str, time: datetime, detail: dict[str, Any]) -> Event:
    """An SSM command as a whole has a new status."""
    return Event(account, region, "aws.ssm", "EC2 Command Status-change Notification", time, (), detail)


class Emitter:
    """Puts events on the bus in the order in which they came, from a thread of its own so that nobody waits for it."""

    def __init__(self, put: Callable[[str, str, list[dict[str, Any]]], None]) -> None:
        """`put(account, region, entries)` is EventBridge's PutEvents."""
        self._put = put
        self._queue: queue.Queue[Event] = queue.Queue()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def emit(self, event: Event) -> None:
        """Put `event` on its bus soon."""
        self._queue.put(event)
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._serve, name="spot-sandbox-events", daemon=True)
                self._thread.start()

    def _serve(self) -> None:
        while True:
            self._deliver(self._batch())

    def _batch(self) -> list[Event]:
        """Wait for an event; return it with those that wait behind it for the same bus."""
        batch = [self._queue.get()]
        while len(batch) < PUT_EVENTS_LIMIT and not self._queue.empty():
            batch.append(self._queue.get())
        return batch

    def _deliver(self, batch: list[Event]) -> None:
        for bus in dict.fromkeys((event.account, event.region) for event in batch):
            entries = [event.entry() for event in batch if (event.account, event.region) == bus]
            # EventBridge that cannot be reached must not end the thread: EC2's events are best effort, too.
            try:
                self._put(*bus, entries)
            except Exception:
                LOG.exception("events lost: %s", [entry["DetailType"] for entry in entries])
