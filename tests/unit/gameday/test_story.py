"""The log group as it grows, and waiting."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gameday.story import LogEvent, Tail, readable
from gameday.waiting import looks
from tests.unit.gameday.scene import Account


@dataclass
class Group:
    """A log group in memory."""

    events: list[LogEvent] = field(default_factory=list)
    asked: list[float] = field(default_factory=list)

    def since(self, time: float) -> list[LogEvent]:
        """All from this time on, in no order."""
        self.asked.append(time)
        return [event for event in self.events if event.time >= time][::-1]


def test_each_line_comes_once_and_in_order() -> None:
    """Lines that were returned do not come again; those of one look come by their time."""
    group = Group([LogEvent("a", 100.0, "one"), LogEvent("b", 101.0, "two")])
    tail = Tail(group, 100.0)
    assert [event.text for event in tail.fresh()] == ["one", "two"]
    group.events.append(LogEvent("c", 102.0, "three"))
    assert [event.text for event in tail.fresh()] == ["three"]


def test_a_line_that_arrives_late_still_comes() -> None:
    """A line with an earlier time than one that was seen is told when it arrives."""
    group = Group([LogEvent("a", 150.0, "one")])
    tail = Tail(group, 100.0)
    tail.fresh()
    group.events.append(LogEvent("b", 125.0, "late"))
    assert [event.text for event in tail.fresh()] == ["late"]


def test_a_look_does_not_read_the_whole_group() -> None:
    """Each look goes back to shortly before the newest line, never to before the start."""
    group = Group([LogEvent("a", 1000.0, "one")])
    tail = Tail(group, 990.0)
    tail.fresh()
    group.events.append(LogEvent("b", 2000.0, "two"))
    tail.fresh()
    tail.fresh()
    assert group.asked == [990.0, 990.0, 1970.0]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ('{"message": "i-1: checkpoint saved", "level": "INFO"}', "i-1: checkpoint saved"),
        ("plain words\n", "plain words"),
        ('{"level": "INFO"}', '{"level": "INFO"}'),
        ("[1, 2]", "[1, 2]"),
        ('{"message": "\\u001b[31mred\\u001b[0m\\nsecond line"}', " [31mred [0m second line"),
    ],
)
def test_a_line_as_a_person_reads_it(text: str, shown: str) -> None:
    """The message of a JSON line, any other as it is, and nothing that a terminal would obey."""
    assert readable(text) == shown


@given(st.text())
def test_no_line_can_steer_a_terminal(text: str) -> None:
    """Whatever stands in the log, one line of printable letters comes out."""
    assert all(letter.isprintable() for letter in readable(text))


def test_waiting_looks_at_least_once_and_at_the_end() -> None:
    """With no time at all there is one look; with time there is one at the deadline itself."""
    account = Account()
    clock = account.services().clock
    assert list(looks(clock, 0)) == [account.time]
    start = account.time
    assert [time - start for time in looks(clock, 1.2, pause=0.5)] == pytest.approx([0, 0.5, 1.0, 1.2], abs=1e-6)
