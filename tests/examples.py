"""Notices, instances and events as the tests speak of them: one account, one Region, one morning."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from spot_responder.domain.instances import Instance, OptInTag
from spot_responder.domain.jobs import ATTEMPT_TAG, JOB_TAG, Attempt
from spot_responder.domain.notices import Action, Notice, NoticeKind
from spot_responder.domain.plans import Policy, RebalanceResponse

ACCOUNT = "123456789012"
REGION = "us-east-1"
EVENT_TIME = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
NOW = EVENT_TIME + timedelta(seconds=3)
"""Three seconds after the notice: its usual age when it is answered."""

OPT_IN = OptInTag("spot-responder:checkpoint", "enabled")
POLICY = Policy(OPT_IN, RebalanceResponse.CHECKPOINT)
LOG_ONLY = Policy(OPT_IN, RebalanceResponse.LOG)
REPLACE = Policy(OPT_IN, RebalanceResponse.REPLACE)
COMMAND_ID = "92853adf-ba41-4cd6-9a88-142d1ec4ba49"

INTERRUPTION = "EC2 Spot Instance Interruption Warning"
REBALANCE = "EC2 Instance Rebalance Recommendation"
STATE_CHANGE = "EC2 Instance State-change Notification"
INVOCATION = "EC2 Command Invocation Status-change Notification"


def seconds(count: float) -> timedelta:
    """Return so many seconds."""
    return timedelta(seconds=count)


def instance_id(number: int = 1) -> str:
    """Return the id of the example instance of this number."""
    return f"i-{number:017x}"


def notice(number: int = 1, *, action: Action = Action.TERMINATE, age: float = 3) -> Notice:
    """Return an interruption warning (or, for ``Action.NONE``, a rebalance recommendation), so many seconds old at ``NOW``."""
    kind = NoticeKind.REBALANCE if action is Action.NONE else NoticeKind.INTERRUPTION
    return Notice(kind, action, instance_id(number), ACCOUNT, REGION, NOW - seconds(age), f"event-{number}")


def rebalance(number: int = 1, *, age: float = 3) -> Notice:
    """Return a rebalance recommendation."""
    return notice(number, action=Action.NONE, age=age)


def instance(number: int = 1, *, state: str = "running", opted_in: bool = True) -> Instance:
    """Return the example instance of this number."""
    tags = {"Name": f"worker {number}"} | ({OPT_IN.key: OPT_IN.value} if opted_in else {})
    return Instance(instance_id(number), state, "m5.large", "us-east-1a", tags)


def attempt(number: int = 1, *, of_job: str = "job-1", on: int = 1) -> Attempt:
    """Return this attempt at a job, on the example instance of the number ``on``."""
    return Attempt(of_job, number, instance_id(on))


def worker(attempt_: Attempt, *, state: str = "running", opted_in: bool = True) -> Instance:
    """Return the instance of an attempt."""
    tags = {"Name": "Fis/Spot", JOB_TAG: attempt_.job_id, ATTEMPT_TAG: str(attempt_.number)} | ({OPT_IN.key: OPT_IN.value} if opted_in else {})
    return Instance(attempt_.instance_id, state, "m5.large", "us-east-1a", tags)


def event(detail_type: str = INTERRUPTION, *, at: datetime = EVENT_TIME, **detail: object) -> dict[str, Any]:
    """Return an EventBridge event; ``detail``'s names have underscores for the event's hyphens."""
    return {
        "version": "0",
        "id": "12345678-1234-1234-1234-123456789012",
        "detail-type": detail_type,
        "source": "aws.ssm" if detail_type == INVOCATION else "aws.ec2",
        "account": ACCOUNT,
        "time": f"{at:%Y-%m-%dT%H:%M:%SZ}",
        "region": REGION,
        "resources": [f"arn:aws:ec2:us-east-1b:instance/{instance_id()}"],
        "detail": {name.replace("_", "-"): value for name, value in detail.items()},
    }


def interruption_event(number: int = 1, action: str = "terminate") -> dict[str, Any]:
    """Return an interruption warning as EventBridge delivers it."""
    return event(INTERRUPTION, instance_id=instance_id(number), instance_action=action)


def rebalance_event(number: int = 1) -> dict[str, Any]:
    """Return a rebalance recommendation as EventBridge delivers it."""
    return event(REBALANCE, instance_id=instance_id(number))


def state_event(number: int = 1, state: str = "terminated", *, at: datetime = EVENT_TIME) -> dict[str, Any]:
    """Return a state change as EventBridge delivers it."""
    return event(STATE_CHANGE, at=at, instance_id=instance_id(number), state=state)


def result_event(number: int = 1, status: str = "Success", *, command_id: str = COMMAND_ID, at: datetime = EVENT_TIME) -> dict[str, Any]:
    """Return SSM's word on one invocation as EventBridge delivers it."""
    return event(
        INVOCATION,
        at=at,
        command_id=command_id,
        document_name="spot-responder-checkpoint",
        instance_id=instance_id(number),
        requested_date_time="2026-11-22T10:00:02Z",
        status=status,
    )
