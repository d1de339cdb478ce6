"""An instance ended: its notices are over."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings

from spot_responder.domain.errors import Unavailable
from spot_responder.domain.lines import Happened
from spot_responder.domain.plans import Outcome
from spot_responder.use_cases.record_instance_state import RecordInstanceState
from tests.examples import COMMAND_ID, EVENT_TIME, NOW, attempt, interruption_event, notice, rebalance, seconds, state_event
from tests.fakes.ports import THROTTLED, FakeClock, FakeJobs, FakeNoticesTable, FakeStory, Row
from tests.strategies import JSON, almost_events

if TYPE_CHECKING:
    from spot_responder.domain.notices import Notice

END = EVENT_TIME + seconds(122)


@dataclass
class World:
    """The use case in a world of fakes, a little after the instance's end."""

    notices: FakeNoticesTable = field(default_factory=FakeNoticesTable)
    jobs: FakeJobs = field(default_factory=FakeJobs)
    story: FakeStory = field(default_factory=FakeStory)

    def record(self, event: object, by: str = "invocation-1") -> None:
        """Handle an event."""
        RecordInstanceState(self.notices, self.jobs, self.story, FakeClock(END + seconds(1)))(event, by)

    def end(self, state: str = "terminated", by: str = "invocation-1") -> None:
        """Let the instance end."""
        self.record(state_event(state=state, at=END), by)


def world_with(*rows: Row) -> World:
    """Return a world whose table has these."""
    world = World()
    world.notices.put(*rows)
    return world


def test_an_instance_without_notices_is_silent() -> None:
    """Instances end all the time; one that had no notice is not told."""
    world = world_with(Row(notice(2)))
    world.end()
    assert world.story.lines == []
    assert world.notices.of(notice(2)).gone_at is None


@pytest.mark.parametrize("state", ["terminated", "stopped"])
def test_an_instance_that_saved_is_gone(state: str) -> None:
    """An instance whose checkpoint was saved ends in one line, and its outcome stays."""
    world = world_with(Row(notice(), command_id=COMMAND_ID, outcome=Outcome.SAVED))
    world.end(state)
    assert world.story.events == [Happened.INSTANCE_GONE]
    assert world.notices.of(notice()).gone_at == "2026-11-22T10:02:02Z"
    assert world.notices.of(notice()).outcome is Outcome.SAVED


@pytest.mark.parametrize(
    ("command_id", "reason"),
    [(COMMAND_ID, "asked but not saved before the instance was terminated"), (None, "not asked before the instance was terminated")],
)
def test_a_checkpoint_is_missed(command_id: str | None, reason: str) -> None:
    """An instance that ended before its checkpoint was saved has missed it; the reason says whether it had been asked."""
    world = world_with(Row(notice(), command_id=command_id))
    world.end()
    assert world.story.events == [Happened.NOTICE_CLOSED, Happened.INSTANCE_GONE]
    assert (world.story.lines[0].outcome, world.story.lines[0].reason) == (Outcome.MISSED, reason)
    assert world.notices.of(notice()).outcome is Outcome.MISSED


@pytest.mark.parametrize("outcome", [one for one in Outcome if one is not Outcome.MISSED])
def test_what_was_closed_is_not_missed(outcome: Outcome) -> None:
    """A notice that has an outcome keeps it, and nothing is written to find that out."""
    world = world_with(Row(notice(), outcome=outcome))
    world.notices.failures.plan("close", AssertionError("not needed"))
    world.end()
    assert (world.story.events, world.notices.of(notice()).outcome) == ([Happened.INSTANCE_GONE], outcome)


def test_an_instance_is_gone_once() -> None:
    """However many notices an instance had, its end is one line, told from the latest of them."""
    world = world_with(Row(rebalance(age=63), outcome=Outcome.SAVED), Row(notice(), outcome=Outcome.SAVED))
    world.end()
    (line,) = world.story.of(Happened.INSTANCE_GONE)
    assert line.kind == notice().kind
    assert all(row.gone_at for row in world.notices.rows.values())


def test_stopped_then_terminated_is_one_end() -> None:
    """What ends after it had stopped is told once, with the first of the two."""
    world = world_with(Row(notice(), outcome=Outcome.SAVED))
    world.end("stopped")
    world.end("terminated", "invocation-2")
    assert [line.reason for line in world.story.lines] == ["stopped"]


def test_a_second_delivery_changes_nothing() -> None:
    """The same event again, in another invocation, is not told again."""
    world = world_with(Row(notice(), command_id=COMMAND_ID))
    for by in ("invocation-1", "invocation-2"):
        world.end(by=by)
    assert world.story.events == [Happened.NOTICE_CLOSED, Happened.INSTANCE_GONE]


def test_a_notice_after_the_end_is_of_another_life() -> None:
    """A stopped instance that was started again and warned anew is not ended by its old stop, delivered late."""
    later = notice(age=-130)
    assert later.time > END
    world = world_with(Row(later))
    world.end("stopped")
    assert (world.story.lines, world.notices.of(later).outcome) == ([], None)


def test_a_notice_of_the_same_second_is_of_this_life() -> None:
    """Events have whole seconds: who ends in the second of its notice was warned before."""
    last = replace(notice(), time=END)
    world = world_with(Row(last))
    world.end("terminated")
    assert world.notices.of(last).outcome is Outcome.MISSED


@pytest.mark.parametrize("call", ["of_instance", "close", "mark_gone"])
def test_a_crash_is_made_good_by_lambdas_retry(call: str) -> None:
    """If the table fails at any step, the retry closes the notice and tells the end; nothing is lost."""
    world = world_with(Row(notice(), command_id=COMMAND_ID))
    world.notices.failures.plan(call, THROTTLED)
    with pytest.raises(Unavailable):
        world.end()
    world.story.lines.clear()
    world.end()
    assert world.story.events == [Happened.NOTICE_CLOSED, Happened.INSTANCE_GONE]
    assert (world.notices.of(notice()).outcome, bool(world.notices.of(notice()).gone_at)) == (Outcome.MISSED, True)


@pytest.mark.parametrize("event", [None, interruption_event(), state_event(state="running", at=NOW)])
def test_what_is_no_end_is_rejected(event: object) -> None:
    """What does not tell of an instance's end is one line and no error."""
    world = world_with(Row(notice()))
    world.record(event)
    assert world.story.events == [Happened.INPUT_REJECTED]
    assert world.notices.of(notice()).gone_at is None


@given(JSON | almost_events())
@settings(max_examples=60)
def test_any_json_is_told_or_of_no_interest(anything: object) -> None:
    """Whatever JSON comes raises nothing: it is rejected in one line, or of an instance without notices."""
    world = World()
    world.record(anything)
    assert world.story.events in ([Happened.INPUT_REJECTED], [])
    assert isinstance(anything, dict) or world.story.lines


def test_the_notice_of_another_instance_is_left_alone() -> None:
    """An instance's end is its own."""
    world = world_with(Row(notice(), outcome=Outcome.SAVED), Row(notice(2)))
    world.end()
    other: Notice = notice(2)
    assert world.notices.of(other).outcome is None


def test_lambdas_own_retry_tells_again() -> None:
    """If the function was stopped between item and line, its retry tells the end; the item stays."""
    world = world_with(Row(notice(), outcome=Outcome.SAVED))
    world.end()
    world.story.lines.clear()
    world.end()
    assert world.story.events == [Happened.INSTANCE_GONE]


ENDING = ("shutting-down", "stopping")
ENDED = ("stopped", "terminated")


@pytest.mark.parametrize("state", [*ENDING, *ENDED])
def test_a_job_is_told_at_once(state: str) -> None:
    """The first state of an end tells the job that its attempt is lost, in one line."""
    world = World()
    world.jobs.run(attempt())
    world.end(state)
    assert world.jobs.told == [("lost", attempt())]
    assert world.story.events == [Happened.ATTEMPT_LOST]


@pytest.mark.parametrize("states", [("shutting-down", "terminated"), ("stopping", "stopped", "terminated")])
def test_a_job_is_told_once(states: tuple[str, ...]) -> None:
    """The states that follow on the first tell the job nothing more."""
    world = World()
    world.jobs.run(attempt())
    for number, state in enumerate(states):
        world.end(state, f"invocation-{number}")
    assert world.story.events == [Happened.ATTEMPT_LOST]


@pytest.mark.parametrize("state", ENDING)
def test_an_end_that_has_only_begun_closes_no_notice(state: str) -> None:
    """While an instance shuts down its checkpoint's result may still come: the notice stays open, and its items are not even read."""
    world = world_with(Row(notice(), command_id=COMMAND_ID))
    world.notices.failures.plan("of_instance", AssertionError("not needed"))
    world.end(state)
    assert (world.story.lines, world.notices.of(notice()).gone_at) == ([], None)


def test_an_end_tells_the_job_and_closes_the_notice() -> None:
    """The end of a job's instance that had a notice is told of both."""
    world = world_with(Row(notice(), command_id=COMMAND_ID))
    world.jobs.run(attempt())
    world.end()
    assert world.story.events == [Happened.ATTEMPT_LOST, Happened.NOTICE_CLOSED, Happened.INSTANCE_GONE]


def test_a_zombies_end_tells_nobody() -> None:
    """The end of an instance from an earlier attempt is not that of the attempt that runs."""
    world = World()
    world.jobs.run(attempt(2, on=2))
    world.end()
    assert (world.jobs.told, world.story.lines) == ([], [])


def test_a_job_out_of_reach_is_told_by_lambdas_retry() -> None:
    """If the job cannot be told, the invocation fails, and its retry tells the job and closes the notice."""
    world = world_with(Row(notice(), command_id=COMMAND_ID))
    world.jobs.run(attempt())
    world.jobs.failures.plan("lost", THROTTLED)
    with pytest.raises(Unavailable):
        world.end()
    world.end()
    assert world.story.events == [Happened.ATTEMPT_LOST, Happened.NOTICE_CLOSED, Happened.INSTANCE_GONE]
