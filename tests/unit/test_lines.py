"""The story's lines: plain words for a person, the same fields for a query."""

from __future__ import annotations

import dataclasses

import pytest

from spot_responder.domain import lines
from spot_responder.domain.errors import InvalidInput
from spot_responder.domain.events import CheckpointResult, InstanceEnded
from spot_responder.domain.jobs import Told
from spot_responder.domain.lines import Happened, Line
from spot_responder.domain.notices import Action, NoticeKind
from spot_responder.domain.plans import Outcome
from tests.examples import ACCOUNT, COMMAND_ID, EVENT_TIME, NOW, REGION, attempt, instance_id, notice, rebalance, seconds

ID = instance_id()


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (Action.TERMINATE, f"{ID}: interruption warning, it will be terminated in 117 s"),
        (Action.STOP, f"{ID}: interruption warning, it will be stopped in 117 s"),
        (Action.HIBERNATE, f"{ID}: interruption warning, it hibernates now"),
        (Action.NONE, f"{ID}: rebalance recommendation, it may be interrupted"),
    ],
)
def test_a_notice_is_received(action: Action, message: str) -> None:
    """The line says what EC2 is going to do and how long that leaves."""
    assert lines.notice_received(notice(action=action), NOW).message == message


def test_a_late_notice_has_no_time_left() -> None:
    """A notice past its deadline says since when, and has a negative number for a query."""
    line = lines.notice_received(notice(age=150), NOW)
    assert line.message.endswith("it will be terminated; the time for that passed 30 s ago")
    assert line.seconds_left == -30


def test_a_notice_is_repeated() -> None:
    """A second delivery is told, with the news that nothing is to be done."""
    line = lines.notice_repeated(rebalance(), NOW)
    assert (line.event, line.message) == (Happened.NOTICE_REPEATED, f"{ID}: the same rebalance recommendation again, nothing to do")


def test_a_checkpoint_is_asked() -> None:
    """The line of a command says how long after the event it went out, and names the command."""
    line = lines.checkpoint_asked(notice(), COMMAND_ID, NOW + seconds(0.25))
    assert line.message == f"{ID}: checkpoint asked, 3.2 s after the interruption warning"
    assert (line.command_id, line.seconds_since_event, line.seconds_left, line.outcome) == (COMMAND_ID, 3.25, 116.75, None)


@pytest.mark.parametrize(
    ("outcome", "message"),
    [
        (Outcome.SAVED, f"{ID}: checkpoint saved, 3 s after the interruption warning"),
        (Outcome.FAILED, f"{ID}: checkpoint failed (interruption): because"),
        (Outcome.MISSED, f"{ID}: checkpoint missed (interruption): because"),
        (Outcome.VANISHED, f"{ID}: vanished (interruption): because"),
        (Outcome.NOT_OPTED_IN, f"{ID}: not opted in (interruption): because"),
        (Outcome.LATE, f"{ID}: too late (interruption): because"),
        (Outcome.LOGGED_ONLY, f"{ID}: logged only (interruption): because"),
        (Outcome.SUPERSEDED, f"{ID}: superseded (interruption): because"),
    ],
)
def test_a_notice_is_closed(outcome: Outcome, message: str) -> None:
    """Every outcome has its words and carries its reason."""
    line = lines.notice_closed(notice(), outcome, "because", NOW)
    assert (line.message, line.outcome, line.reason) == (message, outcome, "because")


def test_every_outcome_has_words() -> None:
    """No kind, action or outcome is without words."""
    assert (set(lines.OUTCOME_WORDS), set(lines.KIND_WORDS), set(lines.ACTION_WORDS)) == (set(Outcome), set(NoticeKind), set(Action))


def test_an_instance_is_gone() -> None:
    """The line of an instance's end counts from its notice."""
    line = lines.instance_gone(notice(), InstanceEnded(ID, "terminated", ACCOUNT, REGION, EVENT_TIME + seconds(121)))
    assert line.message == f"{ID}: terminated, 121 s after the interruption warning"
    assert (line.seconds_since_event, line.seconds_left) == (121, -1)


@pytest.mark.parametrize(
    ("told", "event", "words"),
    [
        (Told(), Happened.REPLACEMENT_ASKED, "its replacement is launched now"),
        (Told("somebody told it before"), Happened.REPLACEMENT_ASKED, "needs no word of a replacement: somebody told it before"),
        (Told("throttled", is_trouble=True), Happened.REPLACEMENT_FAILED, "could not be asked for a replacement: throttled"),
    ],
)
def test_a_replacement_is_asked(told: Told, event: Happened, words: str) -> None:
    """The line names job and attempt and how its state machine took the word; that it could not be told is trouble."""
    line = lines.replacement_asked(notice(), attempt(2), told, NOW)
    assert (line.event, line.message) == (event, f"{ID}: job job-1, attempt 2: {words}")
    assert (line.job_id, line.reason, line.is_trouble) == ("job-1", told.refusal, told.is_trouble)


def test_an_attempt_is_lost() -> None:
    """The line of an instance that ended under its job names both, and no kind of notice: there may have been none."""
    line = lines.attempt_lost(InstanceEnded(ID, "shutting-down", ACCOUNT, REGION, NOW), attempt(2))
    assert line.message == f"{ID}: shutting-down, job job-1 lost its attempt 2, the next one is launched now"
    assert (line.job_id, line.instance_id, line.kind, line.event_time) == ("job-1", ID, None, "2026-11-22T10:00:03Z")


def test_a_result_is_unclaimed() -> None:
    """A result that no notice waits for names instance, command and status, and no kind of notice."""
    line = lines.result_unclaimed(CheckpointResult(COMMAND_ID, ID, "TimedOut", ACCOUNT, REGION, NOW))
    assert line.message == f"{ID}: command ended (TimedOut), no open notice waits for it"
    assert (line.command_id, line.instance_id, line.kind, line.event_time) == (COMMAND_ID, ID, None, "2026-11-22T10:00:03Z")


def test_an_answer_is_unwritten() -> None:
    """What could not be written down is told as trouble, with AWS's reason."""
    line = lines.answer_unwritten(notice(), "ThrottlingError", NOW, for_good=False)
    assert line.message == f"{ID}: what was done is not written down, to be delivered again: ThrottlingError"
    assert line.is_trouble


def test_an_input_is_rejected() -> None:
    """A rejected input's line names the field, in the sentence and in the field ``reason``."""
    line = lines.input_rejected(InvalidInput("detail.instance-id", "an id", None))
    assert line.message == "Not a valid input, dropped: detail.instance-id: expected an id, got nothing"
    assert (line.event, line.reason, line.is_trouble) == (Happened.INPUT_REJECTED, "detail.instance-id", True)


@pytest.mark.parametrize("outcome", Outcome)
def test_what_a_person_should_look_at(outcome: Outcome) -> None:
    """Failed, missed and late checkpoints are trouble; all other outcomes are not."""
    expected = outcome in (Outcome.FAILED, Outcome.MISSED, Outcome.LATE)
    assert lines.notice_closed(notice(), outcome, "because", NOW).is_trouble is expected


def test_lines_about_a_notice_have_all_that_is_known_of_it() -> None:
    """Whatever happened to a notice, its line has the notice's instance, kind, action and time."""
    ended = InstanceEnded(ID, "stopped", ACCOUNT, REGION, NOW)
    told: list[Line] = [
        lines.notice_received(notice(), NOW),
        lines.notice_repeated(notice(), NOW),
        lines.checkpoint_asked(notice(), COMMAND_ID, NOW),
        lines.notice_closed(notice(), Outcome.SAVED, "", NOW),
        lines.answer_unwritten(notice(), "", NOW, for_good=False),
        lines.instance_gone(notice(), ended),
        lines.replacement_asked(notice(), attempt(), Told(), NOW),
        lines.replacement_asked(notice(), attempt(), Told("throttled", is_trouble=True), NOW),
    ]
    for line in told:
        facts = dataclasses.asdict(line)
        assert [facts[name] for name in ("instance_id", "kind", "action", "event_time")] == [ID, "interruption", "terminate", "2026-11-22T10:00:00Z"]
        assert (line.seconds_since_event, line.seconds_left) == (3, 117)
    unclaimed = lines.result_unclaimed(CheckpointResult(COMMAND_ID, ID, "Success", ACCOUNT, REGION, NOW))
    rejected = lines.input_rejected(InvalidInput("time", "a time", 1))
    lost = lines.attempt_lost(ended, attempt())
    assert {line.event for line in (*told, unclaimed, rejected, lost)} == set(Happened)
