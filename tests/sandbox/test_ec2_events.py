"""The envelopes of the events that EC2 and SSM emit, and how they get on the bus."""

import json
import queue
from typing import Any

import pytest

from spot_sandbox import events
from spot_sandbox.events import Emitter, Event, Place
from tests.sandbox.stage import ACCOUNT, REGION, START

PLACE = Place(ACCOUNT, REGION, "us-east-1b", "i-1")


def test_spot_events_name_a_zone_and_no_account() -> None:
    """The ARN of a real interruption warning has a zone and no account."""
    entry = events.interruption_warning(PLACE, START, "stop").entry()
    assert entry["Source"] == "aws.ec2"
    assert entry["DetailType"] == "EC2 Spot Instance Interruption Warning"
    assert entry["Resources"] == ["arn:aws:ec2:us-east-1b:instance/i-1"]
    assert json.loads(entry["Detail"]) == {"instance-id": "i-1", "instance-action": "stop"}


def test_vanished_instance_has_a_region_in_its_arn() -> None:
    """Without a known zone the ARN has the region."""
    place = Place(ACCOUNT, REGION, "", "i-1")
    assert events.rebalance_recommendation(place, START).resources == ("arn:aws:ec2:us-east-1:instance/i-1",)


def test_state_events_name_the_account() -> None:
    """The ARN of a state change has region and account."""
    event = events.instance_state(PLACE, START, "running")
    assert event.resources == ("arn:aws:ec2:us-east-1:123456789012:instance/i-1",)
    assert event.detail == {"instance-id": "i-1", "state": "running"}


def test_id_stays_the_same_in_every_entry() -> None:
    """The same event twice has the same id on the bus, another event another one."""
    event = events.rebalance_recommendation(PLACE, START)
    assert event.entry() == event.entry()
    assert event.entry()["TraceHeader"] != events.rebalance_recommendation(PLACE, START).entry()["TraceHeader"]


def _event(number: int, region: str = REGION) -> Event:
    return Event(ACCOUNT, region, "aws.ec2", str(number), START, (), {})


def test_events_keep_their_order_in_small_batches() -> None:
    """Events reach PutEvents in order, at most ten a call, each on the bus of its region."""
    calls: queue.Queue[tuple[str, list[str]]] = queue.Queue()

    def put(_account: str, region: str, entries: list[dict[str, Any]]) -> None:
        calls.put((region, [entry["DetailType"] for entry in entries]))

    emitter = Emitter(put)
    for number in range(25):
        emitter.emit(_event(number))
    emitter.emit(_event(25, "eu-west-1"))
    seen: list[str] = []
    elsewhere: list[str] = []
    while len(seen) + len(elsewhere) < 26:
        region, kinds = calls.get(timeout=5)
        assert len(kinds) <= 10
        (seen if region == REGION else elsewhere).extend(kinds)
    assert seen == [str(number) for number in range(25)]
    assert elsewhere == ["25"]


def test_bus_that_fails_once_gets_the_next_event(caplog: pytest.LogCaptureFixture) -> None:
    """A failed PutEvents is logged, and the events after it are delivered."""
    delivered: queue.Queue[str] = queue.Queue()

    def put(_account: str, _region: str, entries: list[dict[str, Any]]) -> None:
        if entries[0]["DetailType"] == "0":
            delivered.put("failed")
            raise ConnectionError
        delivered.put(entries[0]["DetailType"])

    emitter = Emitter(put)
    emitter.emit(_event(0))
    assert delivered.get(timeout=5) == "failed"
    emitter.emit(_event(1))
    assert delivered.get(timeout=5) == "1"
    assert "events lost: ['0']" in caplog.text
