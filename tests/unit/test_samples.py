"""The sample events through their functions."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from spot_responder.adapters.notices_table import from_item, from_stream, to_item
from spot_responder.domain.events import parse
from spot_responder.domain.notices import Notice
from spot_responder.use_cases.ports import Invocation
from spot_responder.use_cases.record_checkpoint import RecordCheckpoint
from spot_responder.use_cases.record_instance_state import RecordInstanceState
from spot_responder.use_cases.record_notice import RecordNotice
from spot_responder.use_cases.respond_to_notices import RespondToNotices
from tests.examples import POLICY, seconds
from tests.fakes.ports import AtOnce, FakeClock, FakeCommands, FakeFleet, FakeJobs, FakeNoticesTable, FakeStory, Row

if TYPE_CHECKING:
    from spot_responder.domain.lines import Line

EVENTS = Path(__file__).parents[2] / "events"
TODAY = datetime(2026, 11, 23, tzinfo=UTC)
"""A day after the samples' times."""


def sample(name: str) -> dict[str, Any]:
    """Return a sample event."""
    event: dict[str, Any] = json.loads((EVENTS / f"{name}.json").read_text())
    return event


def warning() -> Notice:
    """Return the notice of the first of the samples."""
    fact = parse(sample("spot_interruption_warning"), TODAY)
    assert isinstance(fact, Notice)
    return fact


@dataclass
class World:
    """All four functions over one table."""

    notices: FakeNoticesTable
    story: FakeStory

    def tell(self, function: str, event: dict[str, Any]) -> list[Line]:
        """Let a function handle an event; return its lines."""
        clock, commands = FakeClock(TODAY), FakeCommands()
        commands.invocations["92853adf-ba41-4cd6-9a88-142d1ec4ba49", "i-1234567890abcdef0"] = Invocation("Failed", 3, "disk full")
        if function == "RecordNotice":
            RecordNotice(self.notices, self.story, clock)(event, "request-1")
        elif function == "RecordCheckpoint":
            RecordCheckpoint(self.notices, commands, self.story, clock)(event, "request-1")
        elif function == "RecordInstanceState":
            RecordInstanceState(self.notices, FakeJobs(), self.story, clock)(event, "request-1")
        else:
            respond = RespondToNotices(self.notices, FakeFleet(), commands, FakeJobs(), self.story, clock, POLICY, AtOnce)
            assert respond((notice for _, notice in from_stream(event, TODAY)), TODAY + seconds(100)) == set()
        return self.story.lines


@pytest.mark.parametrize(
    ("name", "function", "told"),
    [
        ("spot_interruption_warning", "RecordNotice", ["notice_received: it will be terminated; the time for that passed"]),
        ("spot_interruption_warning_stop", "RecordNotice", ["notice_received: it will be stopped; the time for that passed"]),
        ("spot_interruption_warning_hibernate", "RecordNotice", ["notice_received: it hibernates now"]),
        ("spot_interruption_warning_zone_arn", "RecordNotice", ["notice_received: i-0aaaaaaaaaaaaaaa3"]),
        ("rebalance_recommendation", "RecordNotice", ["notice_received: it may be interrupted"]),
        ("spot_interruption_warning_malformed", "RecordNotice", ["input_rejected: detail.instance-id: expected"]),
        ("spot_interruption_warning_future", "RecordNotice", ["input_rejected: time: expected a time not after now"]),
        ("unknown_event", "RecordNotice", ["input_rejected: source / detail-type: expected"]),
        (
            "new_notices",
            "RespondToNotices",
            ["notice_closed: too late"] * 2 + ["notice_closed: too late", "notice_closed: logged only", "notice_closed: too late"],
        ),
        ("new_notices_malformed", "RespondToNotices", ["input_rejected: dynamodb.NewImage.instance_id: expected", "notice_closed: too late"]),
        ("checkpoint_succeeded", "RecordCheckpoint", ["notice_closed: checkpoint saved, 7 s after"]),
        ("checkpoint_failed", "RecordCheckpoint", ["notice_closed: exit status 3: disk full"]),
        ("checkpoint_timed_out", "RecordCheckpoint", ["notice_closed: checkpoint failed"]),
        ("instance_terminated", "RecordInstanceState", ["notice_closed: checkpoint missed", "instance_gone: terminated, 125 s after"]),
        ("instance_stopped", "RecordInstanceState", []),
    ],
)
def test_a_sample_tells_its_story(name: str, function: str, told: list[str]) -> None:
    """Each sample, sent to its function when the first warning of the samples waits for an answer, is told as events/README.md says."""
    world = World(FakeNoticesTable(), FakeStory())
    if function in ("RecordCheckpoint", "RecordInstanceState"):
        world.notices.put(Row(warning()))
    if function == "RespondToNotices":
        world.notices.put(*(Row(notice) for _, notice in from_stream(sample(name), TODAY) if isinstance(notice, Notice)))
    lines = sorted(
        world.tell(function, sample(name)),
        key=lambda line: (line.event != "input_rejected", line.instance_id != "i-1234567890abcdef0", line.instance_id),
    )
    assert len(lines) == len(told)
    for line, expected in zip(lines, told, strict=True):
        event, words = expected.split(": ", 1)
        assert line.event == event
        assert words in line.message


def test_the_samples_are_of_one_story() -> None:
    """The items of the sample batch are those that RecordNotice makes of the sample notices."""
    names = [
        "rebalance_recommendation",
        "spot_interruption_warning",
        *(f"spot_interruption_warning_{what}" for what in ("stop", "hibernate", "zone_arn")),
    ]
    images = [record["dynamodb"]["NewImage"] for record in sample("new_notices")["Records"]]
    assert [from_item(image) for image in images] == [parse(sample(name), TODAY) for name in names]
    for image in images:
        assert to_item(from_item(image)).items() <= image.items()
        assert set(image) - set(to_item(from_item(image))) == {"recorded_by", "recorded_at", "expires_at"}


@pytest.mark.parametrize("name", ["new_notices", "new_notices_malformed"])
def test_a_sample_batch_is_as_lambda_delivers_it(name: str) -> None:
    """The records have the fields of Lambda's DynamoDB event, and ascending sequence numbers ("Using Lambda with DynamoDB")."""
    records = sample(name)["Records"]
    for record in records:
        assert set(record) == {"eventID", "eventName", "eventVersion", "eventSource", "awsRegion", "dynamodb", "eventSourceARN"}
        assert (record["eventName"], record["dynamodb"]["StreamViewType"]) == ("INSERT", "NEW_IMAGE")
    numbers = [int(record["dynamodb"]["SequenceNumber"]) for record in records]
    assert numbers == sorted(set(numbers))
