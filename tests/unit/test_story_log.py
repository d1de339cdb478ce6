"""The story as JSON lines on standard output."""

from __future__ import annotations

import dataclasses
import itertools
import json
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest

from spot_responder.adapters.story_log import FIELDS, StoryLog
from spot_responder.domain import lines
from spot_responder.domain.errors import InvalidInput
from spot_responder.domain.events import CheckpointResult, InstanceEnded, parse_time
from spot_responder.domain.plans import Outcome
from tests.examples import ACCOUNT, COMMAND_ID, NOW, REGION, instance_id, notice

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spot_responder.domain.lines import Line

NAMES = itertools.count()
RESULT = CheckpointResult(COMMAND_ID, instance_id(), "Success", ACCOUNT, REGION, NOW)
ALL_LINES: Sequence[Line] = (
    lines.notice_received(notice(), NOW),
    lines.notice_repeated(notice(), NOW),
    lines.checkpoint_asked(notice(), COMMAND_ID, NOW),
    *(lines.notice_closed(notice(), outcome, "because", NOW) for outcome in Outcome),
    lines.answer_unwritten(notice(), "because", NOW, for_good=False),
    lines.instance_gone(notice(), InstanceEnded(instance_id(), "stopped", ACCOUNT, REGION, NOW)),
    lines.result_unclaimed(RESULT),
    lines.input_rejected(InvalidInput("time", "a time", 1)),
)


def story() -> StoryLog:
    """Return a story of its own: Powertools keeps one logger for each name."""
    return StoryLog(f"RecordNotice{next(NAMES)}")


def told(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """Return what was printed, one line each."""
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_every_line_has_the_same_fields(capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever happened, its line is one JSON object with exactly the same fields in the same order."""
    subject = story()
    subject.invoked("request-1")
    for line in ALL_LINES:
        subject.tell(line)
    printed = told(capsys)
    assert [list(fields) for fields in printed] == [list(FIELDS)] * len(ALL_LINES)
    assert [fields["message"] for fields in printed] == [line.message for line in ALL_LINES]


@pytest.mark.parametrize("text", ["\U0001f4a5" * 400, "\x1b" * 5_000, "a" * 300_000])
def test_a_line_is_short(capsys: pytest.CaptureFixture[str], text: str) -> None:
    """However long and strange what a hook printed or AWS said, its line has less than 8 KB, and begins as it did."""
    story().tell(lines.notice_closed(notice(), Outcome.FAILED, text, NOW))
    (line,) = capsys.readouterr().out.splitlines()
    assert len(line) < 8192
    reason = json.loads(line)["reason"]
    assert reason.endswith("...")
    assert text.startswith(reason.removesuffix("..."))


def test_a_line_of_usual_length_is_whole(capsys: pytest.CaptureFixture[str]) -> None:
    """A reason of some hundred characters is told to its end."""
    story().tell(lines.notice_closed(notice(), Outcome.FAILED, "x" * 3_000, NOW))
    (fields,) = told(capsys)
    assert fields["reason"] == "x" * 3_000


def test_the_fields_of_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    """The fields are those of the line, in its own values, beside when, how grave, which function and which invocation."""
    subject = story()
    subject.invoked("request-1")
    subject.tell(lines.notice_closed(notice(), Outcome.NOT_OPTED_IN, "because", NOW))
    (printed,) = told(capsys)
    assert datetime.fromisoformat(printed.pop("timestamp")).utcoffset() is not None
    assert printed == {
        "level": "INFO",
        "message": "i-00000000000000001: not opted in (interruption): because",
        "event": "notice_closed",
        "instance_id": "i-00000000000000001",
        "kind": "interruption",
        "action": "terminate",
        "event_time": "2026-11-22T10:00:00Z",
        "seconds_since_event": 3.0,
        "seconds_left": 117.0,
        "command_id": None,
        "outcome": "not opted in",
        "reason": "because",
        "job_id": None,
        "function": subject.function,
        "request_id": "request-1",
    }


def test_the_time_is_utc_and_rfc_3339(capsys: pytest.CaptureFixture[str]) -> None:
    """Lambda takes a line's own timestamp and level only in RFC 3339 (Lambda, "JSON log formats")."""
    story().tell(ALL_LINES[0])
    timestamp = told(capsys)[0]["timestamp"]
    assert datetime.fromisoformat(timestamp).isoformat(timespec="milliseconds") == timestamp
    assert timestamp.endswith(("+00:00", "Z"))


@pytest.mark.parametrize("line", ALL_LINES, ids=lambda line: f"{line.event}-{line.outcome}")
def test_trouble_is_a_warning(line: Line, capsys: pytest.CaptureFixture[str]) -> None:
    """What somebody should look at has level WARNING, all else INFO."""
    story().tell(line)
    assert told(capsys)[0]["level"] == ("WARNING" if line.is_trouble else "INFO")


def test_control_characters_are_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    """A line is one line of printable ASCII, whatever is in its values."""
    nasty = "one\ntwo\r\x1b[31m\x00\x85\u2028\ud800 ü"
    story().tell(dataclasses.replace(ALL_LINES[0], message=nasty, reason=nasty))
    printed = capsys.readouterr().out
    assert printed.endswith("\n")
    assert printed[:-1].isascii()
    assert printed[:-1].isprintable()
    assert json.loads(printed)["reason"] == nasty


def test_each_invocation_has_its_own_id(capsys: pytest.CaptureFixture[str]) -> None:
    """The lines of a second invocation bear its id, not the first's."""
    subject = story()
    for request_id in ("request-1", "request-2"):
        subject.invoked(request_id)
        subject.tell(ALL_LINES[0])
    assert [fields["request_id"] for fields in told(capsys)] == ["request-1", "request-2"]


def test_an_error_keeps_its_own_fields(capsys: pytest.CaptureFixture[str]) -> None:
    """What Powertools adds to a logged exception comes behind the story's fields; nothing is lost."""
    subject = story()
    try:
        parse_time("soon", "time", NOW)
    except InvalidInput:
        subject.logger.exception("failed")
    (printed,) = told(capsys)
    assert list(printed)[: len(FIELDS)] == list(FIELDS)
    assert printed["exception_name"] == "InvalidInput"
