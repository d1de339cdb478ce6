"""SSM says how a checkpoint ended; the notice that it answers gets its outcome."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings

from spot_responder.domain.errors import Refused, Unavailable
from spot_responder.domain.lines import Happened
from spot_responder.domain.plans import Outcome
from spot_responder.use_cases.ports import Invocation
from spot_responder.use_cases.record_checkpoint import RecordCheckpoint
from tests.examples import COMMAND_ID, EVENT_TIME, NOW, instance_id, interruption_event, notice, rebalance, result_event, seconds
from tests.fakes.ports import THROTTLED, FakeClock, FakeCommands, FakeNoticesTable, FakeStory, Row
from tests.strategies import JSON, almost_events

if TYPE_CHECKING:
    from spot_responder.domain.notices import Notice

OTHER_COMMAND = "00000000-ba41-4cd6-9a88-142d1ec4ba49"


@dataclass
class World:
    """The use case in a world of fakes."""

    notices: FakeNoticesTable = field(default_factory=FakeNoticesTable)
    commands: FakeCommands = field(default_factory=FakeCommands)
    story: FakeStory = field(default_factory=FakeStory)

    def record(self, event: object, by: str = "invocation-1") -> None:
        """Handle an event."""
        RecordCheckpoint(self.notices, self.commands, self.story, FakeClock())(event, by)

    def outcome(self, subject: Notice) -> tuple[str | None, str]:
        """Return a notice's outcome and its reason."""
        row = self.notices.of(subject)
        return row.outcome, row.reason


def asked(subject: Notice, command_id: str | None = COMMAND_ID) -> Row:
    """Return the item of a notice whose instance was asked."""
    return Row(subject, "someone", command_id)


def world_with(*rows: Row) -> World:
    """Return a world whose table has these."""
    world = World()
    world.notices.put(*rows)
    return world


def test_a_saved_checkpoint() -> None:
    """Success closes the notice as saved, says how long it took, and asks SSM nothing."""
    world = world_with(asked(notice()))
    world.commands.failures.plan("invocation", AssertionError("not needed"))
    world.record(result_event(at=EVENT_TIME + seconds(3)))
    assert world.outcome(notice()) == (Outcome.SAVED, "saved 3 s after the event")
    (line,) = world.story.lines
    assert (line.event, line.outcome, line.seconds_since_event, line.command_id) == (Happened.NOTICE_CLOSED, Outcome.SAVED, 3, COMMAND_ID)


@pytest.mark.parametrize(
    ("invocation", "reason"),
    [
        (Invocation("Failed", 3, "disk full / giving up"), "exit status 3: disk full / giving up"),
        (Invocation("Failed", 124, ""), "exit status 124"),
        (Invocation("ExecutionTimedOut", None, ""), "ExecutionTimedOut"),
        (Invocation("DeliveryTimedOut", None, "late"), "DeliveryTimedOut: late"),
    ],
)
def test_a_failed_checkpoint(invocation: Invocation, reason: str) -> None:
    """A failure carries the exit status and the last lines of the output, or SSM's own word where nothing ran."""
    world = world_with(asked(notice()))
    world.commands.invocations[COMMAND_ID, instance_id()] = invocation
    world.record(result_event(status="Failed"))
    assert world.outcome(notice()) == (Outcome.FAILED, reason)
    assert world.story.lines[0].reason == reason


@pytest.mark.parametrize("error", [THROTTLED, Refused("ssm:GetCommandInvocation: InvocationDoesNotExist: ")])
def test_an_output_that_cannot_be_read(error: Exception) -> None:
    """A failure counts also where its output cannot be read; the reason says so."""
    world = world_with(asked(notice()))
    world.commands.failures.plan("invocation", error)
    world.record(result_event(status="TimedOut"))
    assert world.outcome(notice()) == (Outcome.FAILED, f"TimedOut; its output could not be read: {error}")


def test_the_command_finds_its_notice() -> None:
    """Of an instance's notices, the one whose item names the command gets the outcome."""
    world = world_with(asked(rebalance(age=60)), asked(notice(), OTHER_COMMAND))
    world.record(result_event())
    assert world.outcome(rebalance(age=60))[0] is Outcome.SAVED
    assert world.outcome(notice())[0] is None


def test_a_crash_before_the_write_loses_nothing() -> None:
    """Where no item names the command, its result counts for the interruption that waits for one."""
    world = world_with(asked(rebalance(age=60), None), asked(notice(), None))
    world.record(result_event())
    assert world.outcome(notice())[0] is Outcome.SAVED
    assert world.outcome(rebalance(age=60))[0] is None


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (Row(notice(age=9)), Row(rebalance(age=5))),
        (Row(rebalance(age=5)), Row(notice(age=600), outcome=Outcome.MISSED)),
        (Row(notice(age=5), outcome=Outcome.FAILED), Row(rebalance(age=9), outcome=Outcome.FAILED)),
        (Row(rebalance(age=9)), Row(rebalance(age=5))),
    ],
    ids=["the interruption", "the open one", "the interruption of two failed", "the more urgent of two alike"],
)
def test_the_likeliest_of_two_waits_for_it(first: Row, second: Row) -> None:
    """Of two notices that no item's command decides between, the open one is meant, of two such the one that is asked where both come together."""
    world = world_with(second, first)
    world.record(result_event(at=NOW))
    assert (first.outcome, second.outcome is Outcome.SAVED) == (Outcome.SAVED, False)


def test_a_notice_after_the_result_does_not_wait_for_it() -> None:
    """A result says nothing about a notice that is younger than itself."""
    world = world_with(asked(notice(age=-5), None))
    world.record(result_event())
    assert world.outcome(notice(age=-5))[0] is None
    assert world.story.events == [Happened.RESULT_UNCLAIMED]


@pytest.mark.parametrize("rows", [[], [asked(notice(2))], [asked(notice(), OTHER_COMMAND)]])
def test_a_result_that_nobody_waits_for(rows: list[Row]) -> None:
    """A command of ours that a person sent, or for another instance's notice, changes no notice."""
    world = world_with(*rows)
    world.record(result_event())
    assert world.story.events == [Happened.RESULT_UNCLAIMED]
    assert all(row.outcome is None for row in world.notices.rows.values())


def test_a_second_delivery_changes_nothing() -> None:
    """The first result stands; another delivery, even with another status, is told as unclaimed."""
    world = world_with(asked(notice()))
    world.record(result_event())
    world.record(result_event(status="Failed"), "invocation-2")
    assert world.outcome(notice())[0] is Outcome.SAVED
    assert world.story.events == [Happened.NOTICE_CLOSED, Happened.RESULT_UNCLAIMED]


@pytest.mark.parametrize("status", ["Success", "Failed"])
@pytest.mark.parametrize("command_id", [COMMAND_ID, None], ids=["asked", "the item does not name the command yet"])
def test_lambdas_own_retry_tells_again(command_id: str | None, status: str) -> None:
    """If the function was stopped between item and line, its retry tells the outcome of the same notice; the item stays, and so does the other."""
    world = world_with(asked(notice(), command_id), asked(rebalance(age=9), None))
    world.record(result_event(status=status))
    (told,) = world.story.lines
    world.story.lines.clear()
    world.record(result_event(status=status))
    assert (told.event, world.story.lines) == (Happened.NOTICE_CLOSED, [told])
    assert world.outcome(rebalance(age=9))[0] is None


@pytest.mark.parametrize("call", ["of_instance", "close"])
def test_a_table_that_is_out_of_reach_is_lambdas_to_retry(call: str) -> None:
    """Where the table cannot be read or written the invocation fails, nothing is told, and the retry does it."""
    world = world_with(asked(notice()))
    world.notices.failures.plan(call, THROTTLED)
    with pytest.raises(Unavailable):
        world.record(result_event())
    assert world.story.lines == []
    world.record(result_event())
    assert world.outcome(notice())[0] is Outcome.SAVED


@pytest.mark.parametrize("event", [None, interruption_event(), result_event(status="InProgress")])
def test_what_is_no_result_is_rejected(event: object) -> None:
    """What is not a final result is one line and no error."""
    world = world_with(asked(notice()))
    world.record(event)
    assert (world.story.events, world.outcome(notice())[0]) == ([Happened.INPUT_REJECTED], None)


@given(JSON | almost_events())
@settings(max_examples=60)
def test_any_json_is_one_line(anything: object) -> None:
    """Whatever JSON comes, it is told in one line and raises nothing."""
    world = world_with(asked(notice()))
    world.record(anything)
    assert len(world.story.lines) == 1
