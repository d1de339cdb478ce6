"""What an EventBridge event says, and which field is wrong where it says nothing of ours."""

from __future__ import annotations

import json
from datetime import UTC
from typing import Any

import pytest
from hypothesis import example, given

from spot_responder.domain.errors import InvalidInput
from spot_responder.domain.events import CLOCK_SKEW, CheckpointResult, InstanceEnded, parse, parse_as
from spot_responder.domain.notices import Action, Notice, NoticeKind
from tests.examples import (
    ACCOUNT,
    COMMAND_ID,
    EVENT_TIME,
    INTERRUPTION,
    NOW,
    REGION,
    event,
    instance_id,
    interruption_event,
    rebalance_event,
    result_event,
    state_event,
)
from tests.strategies import JSON, almost_events


@pytest.mark.parametrize("action", ["terminate", "stop", "hibernate"])
def test_an_interruption_warning(action: str) -> None:
    """A warning tells the instance, what happens to it, where and when."""
    fact = parse(interruption_event(action=action), NOW)
    event_id = "12345678-1234-1234-1234-123456789012"
    assert fact == Notice(NoticeKind.INTERRUPTION, Action(action), instance_id(), ACCOUNT, REGION, EVENT_TIME, event_id)


def test_a_rebalance_recommendation() -> None:
    """A recommendation names no action: nothing has been decided."""
    fact = parse(rebalance_event(), NOW)
    assert isinstance(fact, Notice)
    assert (fact.kind, fact.action, fact.instance_id) == (NoticeKind.REBALANCE, Action.NONE, instance_id())


@pytest.mark.parametrize(("status", "is_success"), [("Success", True), ("Failed", False), ("TimedOut", False), ("Cancelled", False)])
def test_a_checkpoint_result(status: str, *, is_success: bool) -> None:
    """SSM's final statuses are results; only Success is a saved checkpoint."""
    fact = parse(result_event(status=status), NOW)
    assert fact == CheckpointResult(COMMAND_ID, instance_id(), status, ACCOUNT, REGION, EVENT_TIME)
    assert fact.is_success is is_success


@pytest.mark.parametrize("state", ["stopped", "terminated"])
def test_an_instance_ended(state: str) -> None:
    """An instance ends by being stopped or terminated."""
    assert parse(state_event(state=state), NOW) == InstanceEnded(instance_id(), state, ACCOUNT, REGION, EVENT_TIME)


def test_the_arn_is_not_read() -> None:
    """The instance comes from the detail: in real events the ARN bears a zone and no account, or is missing."""
    fact = parse(interruption_event() | {"resources": ["arn:aws:ec2:us-east-1b:instance/i-ffffffffffffffff0"]}, NOW)
    without = interruption_event()
    del without["resources"]
    assert fact == parse(without, NOW)


def test_an_old_instance_id() -> None:
    """Instance ids of eight digits are instance ids too."""
    fact = parse(event(INTERRUPTION, instance_id="i-0badcafe", instance_action="stop"), NOW)
    assert fact.instance_id == "i-0badcafe"


def test_times_are_utc() -> None:
    """A time with another offset is the same moment."""
    fact = parse(interruption_event() | {"time": "2026-11-22T11:30:00+01:30"}, NOW)
    assert (fact.time, fact.time.tzinfo) == (EVENT_TIME, UTC)


def test_a_clock_behind_is_no_error() -> None:
    """An event up to a minute ahead of our clock is taken; a second more, and it is a time in the future."""
    at_most = interruption_event() | {"time": f"{NOW + CLOCK_SKEW:%Y-%m-%dT%H:%M:%SZ}"}
    assert parse(at_most, NOW).time == NOW + CLOCK_SKEW
    with pytest.raises(InvalidInput, match=r"time: expected a time not after now, 2026-11-22T10:00:02Z, got '2026-11-22T10:01:03Z'"):
        parse(at_most, NOW.replace(second=2))


def without(name: str) -> dict[str, Any]:
    """Return a warning without this field of its detail."""
    broken = interruption_event()
    del broken["detail"][name]
    return broken


def with_detail(**detail: Any) -> dict[str, Any]:
    """Return a warning whose detail has these instead."""
    return event(INTERRUPTION, **({"instance_id": instance_id(), "instance_action": "stop"} | detail))


BAD: list[tuple[object, str, str]] = [
    (None, "event", "an EventBridge event"),
    ([], "event", "an EventBridge event"),
    ("i-0badcafe", "event", "an EventBridge event"),
    ({}, "detail", "a JSON object"),
    (interruption_event() | {"detail": "i-0badcafe"}, "detail", "a JSON object"),
    (interruption_event() | {"source": None}, "source", "a text"),
    (interruption_event() | {"detail-type": 1}, "detail-type", "a text"),
    (interruption_event() | {"source": "aws.ecs"}, "source / detail-type", "aws.ec2 / EC2 Spot Instance Interruption Warning"),
    (interruption_event() | {"detail-type": "Scheduled Event"}, "source / detail-type", "EC2 Instance Rebalance Recommendation"),
    (interruption_event() | {"account": "1234"}, "account", "12 digits"),
    (interruption_event() | {"account": 123456789012}, "account", "12 digits"),
    (interruption_event() | {"account": "١٢٣٤٥٦٧٨٩٠١٢"}, "account", "12 digits"),
    (interruption_event() | {"region": "us east 1"}, "region", "a Region such as us-east-1"),
    (interruption_event() | {"region": "us-east-1\n"}, "region", "a Region such as us-east-1"),
    (interruption_event() | {"id": ""}, "id", "the event's id"),
    (interruption_event() | {"time": "yesterday"}, "time", "a time such as"),
    (interruption_event() | {"time": 1795341600}, "time", "a time such as"),
    (interruption_event() | {"time": None}, "time", "got nothing"),
    (interruption_event() | {"time": "2026-11-22T10:00:00"}, "time", "a time such as"),
    (interruption_event() | {"time": "2026-11-22"}, "time", "a time such as"),
    (interruption_event() | {"time": "0001-01-01T00:00:00+14:00"}, "time", "a time such as"),
    (interruption_event() | {"time": "9999-12-31T23:59:59Z"}, "time", "a time not after now"),
    (without("instance-id"), "detail.instance-id", "8 or 17 hexadecimal digits"),
    (with_detail(instance_id=7), "detail.instance-id", "8 or 17 hexadecimal digits"),
    (with_detail(instance_id="i-123456789"), "detail.instance-id", "8 or 17 hexadecimal digits"),
    (with_detail(instance_id="i-0BADCAFE"), "detail.instance-id", "8 or 17 hexadecimal digits"),
    (with_detail(instance_id="i-0badcafe\n"), "detail.instance-id", "8 or 17 hexadecimal digits"),
    (with_detail(instance_id="i-0badcafe; reboot"), "detail.instance-id", "8 or 17 hexadecimal digits"),
    (without("instance-action"), "detail.instance-action", "terminate or stop or hibernate"),
    (with_detail(instance_action="none"), "detail.instance-action", "terminate or stop or hibernate"),
    (with_detail(instance_action="Terminate"), "detail.instance-action", "terminate or stop or hibernate"),
    (with_detail(instance_action=["terminate"]), "detail.instance-action", "terminate or stop or hibernate"),
    (event(INTERRUPTION, instance_id_="i-0badcafe", instance_action="stop"), "detail.instance-id", "got nothing"),
    (result_event(command_id="latest"), "detail.command-id", "an SSM command id"),
    (result_event(status="InProgress"), "detail.status", "Success or Failed or TimedOut or Cancelled"),
    (state_event(state="running"), "detail.state", "stopped or terminated"),
]


@pytest.mark.parametrize(("broken", "field", "expected"), BAD, ids=[f"{number}-{field}" for number, (_, field, _) in enumerate(BAD)])
def test_what_is_wrong_is_named(broken: object, field: str, expected: str) -> None:
    """The error names the field and what should have stood there."""
    with pytest.raises(InvalidInput) as caught:
        parse(broken, NOW)
    assert caught.value.field == field
    assert str(caught.value).startswith(f"{field}: expected ")
    assert expected in str(caught.value)


def test_a_long_value_is_cut() -> None:
    """What was got is shown short, and never with a line break or a control character of its own."""
    with pytest.raises(InvalidInput) as caught:
        parse(with_detail(instance_id="\n\x1b[31m" + "x" * 5000), NOW)
    assert str(caught.value).endswith("...")
    assert len(str(caught.value)) < 200
    assert str(caught.value).isprintable()


def test_each_function_takes_its_own_kind() -> None:
    """An event of a kind that another function is there for is named by its detail-type."""
    with pytest.raises(InvalidInput, match=r"detail-type: expected an event that tells of a Notice, got 'EC2 Instance State-change"):
        parse_as(Notice, state_event(), NOW)


@given(JSON | almost_events())
@example(interruption_event() | {"time": "0001-01-01T00:00:00+14:00"})
def test_any_json_is_a_fact_or_invalid_input(anything: object) -> None:
    """Whatever JSON comes, it is a fact of ours or an InvalidInput; nothing else is ever raised, and the sentence can be written."""
    try:
        fact = parse(anything, NOW)
    except InvalidInput as error:
        json.dumps(str(error)).encode()
    else:
        assert fact.time.tzinfo is UTC
        assert fact.time <= NOW + CLOCK_SKEW
