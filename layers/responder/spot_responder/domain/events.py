"""EventBridge events in, facts out: one parser for each kind, found by (source, detail-type).

A new kind of event is one parser and one line in ``PARSERS``. What is not ours, or not well formed, is an
``InvalidInput`` that names the field. The instance is read from ``detail.instance-id`` alone: the ARN in
``resources`` bears a zone and no account in real events (EC2 User Guide, "Spot Instance interruption notices";
Systems Manager User Guide, "Monitoring Systems Manager events"; EC2 User Guide, "Instance state change events").
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, cast

from spot_responder.domain.errors import InvalidInput
from spot_responder.domain.notices import Action, Notice, NoticeKind

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

INSTANCE_ID = re.compile(r"i-(?:[0-9a-f]{8}|[0-9a-f]{17})", re.ASCII)
ACCOUNT = re.compile(r"[0-9]{12}", re.ASCII)
REGION = re.compile(r"[a-z]{2,4}(?:-[a-z]+)+-[0-9]", re.ASCII)
COMMAND_ID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", re.ASCII)
EVENT_ID = re.compile(r"[0-9A-Za-z-]{1,64}", re.ASCII)
CLOCK_SKEW = timedelta(seconds=60)
"""How far ahead of our clock an event's time may be before it counts as a time in the future."""

ENDED_STATES = ("shutting-down", "stopping", "stopped", "terminated")
FINAL_STATES = ("stopped", "terminated")
FINAL_STATUSES = ("Success", "Failed", "TimedOut", "Cancelled")


@dataclass(frozen=True, slots=True)
class CheckpointResult:
    """How SSM says that one invocation of a checkpoint command ended; ``status`` in SSM's words."""

    command_id: str
    instance_id: str
    status: str
    account: str
    region: str
    time: datetime

    @property
    def is_success(self) -> bool:
        """Whether the document ran to its end on the instance with exit status 0."""
        return self.status == "Success"


@dataclass(frozen=True, slots=True)
class InstanceEnded:
    """An instance works no more: it shuts down, or has done so; ``state`` in EC2's words."""

    instance_id: str
    state: str
    account: str
    region: str
    time: datetime

    @property
    def is_final(self) -> bool:
        """Whether that was the last state; before it, a checkpoint's result may still arrive."""
        return self.state in FINAL_STATES


@dataclass(frozen=True, slots=True)
class Envelope:
    """The part that all EventBridge events have in common, checked."""

    source: str
    detail_type: str
    account: str
    region: str
    time: datetime
    event_id: str
    detail: Mapping[str, object]


type Fact = Notice | CheckpointResult | InstanceEnded


def parse(event: object, now: datetime) -> Fact:
    """Return what an EventBridge event says. Raises ``InvalidInput``."""
    envelope = _envelope(event, now)
    parser = PARSERS.get((envelope.source, envelope.detail_type))
    if parser is None:
        known = " or ".join(f"{source} / {detail_type}" for source, detail_type in PARSERS)
        raise InvalidInput("source / detail-type", known, f"{envelope.source} / {envelope.detail_type}")
    return parser(envelope)


def parse_as[F: Fact](kind: type[F], event: object, now: datetime) -> F:
    """Return the event's fact, which has to be of one kind: each function is there for one. Raises ``InvalidInput``."""
    fact = parse(event, now)
    if not isinstance(fact, kind):
        detail_type = cast("Mapping[str, object]", event)["detail-type"]
        raise InvalidInput("detail-type", f"an event that tells of a {kind.__name__}", detail_type)
    return fact


def parse_time(value: object, field: str, now: datetime) -> datetime:
    """Return an ISO 8601 time with an offset, not in the future. Raises ``InvalidInput``."""
    expected = "a time such as 2026-11-22T10:00:00Z"
    try:
        local = datetime.fromisoformat(value) if isinstance(value, str) else None
        moment = local.astimezone(UTC) if local and local.tzinfo else None
    except (ValueError, OverflowError):
        moment = None
    if moment is None:
        raise InvalidInput(field, expected, value)
    if moment > now + CLOCK_SKEW:
        raise InvalidInput(field, f"a time not after now, {now:%Y-%m-%dT%H:%M:%SZ}", value)
    return moment


def _interruption(envelope: Envelope) -> Notice:
    actions = (Action.TERMINATE, Action.STOP, Action.HIBERNATE)
    action = _one_of(envelope.detail, "instance-action", actions)
    return _notice(envelope, NoticeKind.INTERRUPTION, Action(action))


def _rebalance(envelope: Envelope) -> Notice:
    return _notice(envelope, NoticeKind.REBALANCE, Action.NONE)


def _notice(envelope: Envelope, kind: NoticeKind, action: Action) -> Notice:
    return Notice(kind, action, _instance_id(envelope), envelope.account, envelope.region, envelope.time, envelope.event_id)


def _checkpoint_result(envelope: Envelope) -> CheckpointResult:
    command_id = _matching(envelope.detail, "command-id", COMMAND_ID, "an SSM command id", "detail.")
    status = _one_of(envelope.detail, "status", FINAL_STATUSES)
    return CheckpointResult(command_id, _instance_id(envelope), status, envelope.account, envelope.region, envelope.time)


def _instance_ended(envelope: Envelope) -> InstanceEnded:
    state = _one_of(envelope.detail, "state", ENDED_STATES)
    return InstanceEnded(_instance_id(envelope), state, envelope.account, envelope.region, envelope.time)


PARSERS: Mapping[tuple[str, str], Callable[[Envelope], Fact]] = {
    ("aws.ec2", "EC2 Spot Instance Interruption Warning"): _interruption,
    ("aws.ec2", "EC2 Instance Rebalance Recommendation"): _rebalance,
    ("aws.ssm", "EC2 Command Invocation Status-change Notification"): _checkpoint_result,
    ("aws.ec2", "EC2 Instance State-change Notification"): _instance_ended,
}


def _envelope(event: object, now: datetime) -> Envelope:
    if not isinstance(event, dict):
        raise InvalidInput("event", "an EventBridge event, a JSON object", event)
    detail = event.get("detail")
    if not isinstance(detail, dict):
        raise InvalidInput("detail", "a JSON object", detail)
    return Envelope(
        source=_text(event, "source"),
        detail_type=_text(event, "detail-type"),
        account=_matching(event, "account", ACCOUNT, "an account of 12 digits"),
        region=_matching(event, "region", REGION, "a Region such as us-east-1"),
        time=parse_time(event.get("time"), "time", now),
        event_id=_matching(event, "id", EVENT_ID, "the event's id"),
        detail=detail,
    )


def _instance_id(envelope: Envelope) -> str:
    return _matching(envelope.detail, "instance-id", INSTANCE_ID, "i- and 8 or 17 hexadecimal digits", "detail.")


def _text(part: Mapping[str, object], name: str) -> str:
    value = part.get(name)
    if not isinstance(value, str):
        raise InvalidInput(name, "a text", value)
    return value


def _matching(part: Mapping[str, object], name: str, pattern: re.Pattern[str], expected: str, where: str = "") -> str:
    value = part.get(name)
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise InvalidInput(f"{where}{name}", expected, value)
    return value


def _one_of(detail: Mapping[str, object], name: str, allowed: tuple[str, ...]) -> str:
    value = detail.get(name)
    if not isinstance(value, str) or value not in allowed:
        raise InvalidInput(f"detail.{name}", " or ".join(allowed), value)
    return value
