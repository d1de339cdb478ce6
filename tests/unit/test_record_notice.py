"""A notice arrives: one item, one line, however often."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings

from spot_responder.domain.errors import Unavailable
from spot_responder.domain.events import parse
from spot_responder.domain.lines import Happened
from spot_responder.domain.notices import Notice
from spot_responder.use_cases.record_notice import RecordNotice
from tests.examples import NOW, interruption_event, rebalance_event, result_event, state_event
from tests.fakes.ports import THROTTLED, FakeClock, FakeNoticesTable, FakeStory
from tests.strategies import JSON, almost_events


@dataclass
class World:
    """The use case in a world of fakes."""

    notices: FakeNoticesTable = field(default_factory=FakeNoticesTable)
    story: FakeStory = field(default_factory=FakeStory)

    def record(self, event: object, by: str = "invocation-1") -> None:
        """Handle an event."""
        RecordNotice(self.notices, self.story, FakeClock())(event, by)


def test_a_notice_is_recorded_and_told() -> None:
    """A notice becomes one item and one line."""
    world = World()
    world.record(interruption_event())
    fact = parse(interruption_event(), NOW)
    assert isinstance(fact, Notice)
    assert [row.notice for row in world.notices.rows.values()] == [fact]
    assert world.story.events == [Happened.NOTICE_RECEIVED]


def test_both_kinds_for_one_instance_are_two_notices() -> None:
    """An instance's recommendation and warning are two items, also where they are of the same second."""
    world = World()
    world.record(interruption_event())
    world.record(rebalance_event())
    assert len(world.notices.rows) == 2
    assert world.story.events == [Happened.NOTICE_RECEIVED] * 2


def test_a_second_delivery_changes_nothing() -> None:
    """The same event in another invocation leaves the item alone and is told as a repetition."""
    world = World()
    for by in ("invocation-1", "invocation-2"):
        world.record(interruption_event(), by)
    assert [row.recorded_by for row in world.notices.rows.values()] == ["invocation-1"]
    assert world.story.events == [Happened.NOTICE_RECEIVED, Happened.NOTICE_REPEATED]


def test_lambdas_own_retry_is_no_second_delivery() -> None:
    """If the function was stopped between item and line, its retry tells the notice as new."""
    world = World()
    world.record(interruption_event())
    world.story.lines.clear()
    world.record(interruption_event())
    assert world.story.events == [Happened.NOTICE_RECEIVED]


@pytest.mark.parametrize("event", [None, {}, result_event(), state_event(), interruption_event() | {"time": "soon"}])
def test_what_is_no_notice_is_rejected(event: object) -> None:
    """What is not a notice is one line, no item and no error: it is not worth a retry."""
    world = World()
    world.record(event)
    assert (world.story.events, world.notices.rows) == ([Happened.INPUT_REJECTED], {})


def test_a_table_that_is_out_of_reach_is_lambdas_to_retry() -> None:
    """Where the table cannot be written the invocation fails, nothing is told, and Lambda tries again."""
    world = World()
    world.notices.failures.plan("add", THROTTLED)
    with pytest.raises(Unavailable):
        world.record(interruption_event())
    assert world.story.lines == []
    world.record(interruption_event())
    assert world.story.events == [Happened.NOTICE_RECEIVED]


@given(JSON | almost_events())
@settings(max_examples=60)
def test_any_json_is_one_line(anything: object) -> None:
    """Whatever JSON comes, it is told in one line and raises nothing."""
    world = World()
    world.record(anything)
    assert len(world.story.lines) == 1
    assert len(world.notices.rows) == (world.story.events == [Happened.NOTICE_RECEIVED])
