"""The story that a person reads in the log group: one line for each thing that happened, in plain words.

Every line has the same fields. Those that do not apply are null, so that a query or a metric filter can name any of them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from spot_responder.domain.notices import Action, NoticeKind, seconds_between, timestamp
from spot_responder.domain.plans import Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from spot_responder.domain.errors import InvalidInput
    from spot_responder.domain.events import CheckpointResult, InstanceEnded
    from spot_responder.domain.jobs import Attempt, Told
    from spot_responder.domain.notices import Notice


class Happened(StrEnum):
    """What a line tells of: its field ``event``."""

    NOTICE_RECEIVED = "notice_received"
    NOTICE_REPEATED = "notice_repeated"
    CHECKPOINT_ASKED = "checkpoint_asked"
    NOTICE_CLOSED = "notice_closed"
    INSTANCE_GONE = "instance_gone"
    REPLACEMENT_ASKED = "replacement_asked"
    REPLACEMENT_FAILED = "replacement_failed"
    ATTEMPT_LOST = "attempt_lost"
    RESULT_UNCLAIMED = "result_unclaimed"
    ANSWER_UNWRITTEN = "answer_unwritten"
    INPUT_REJECTED = "input_rejected"


@dataclass(frozen=True, slots=True)
class Line:
    """One line. ``seconds_since_event`` and ``seconds_left`` count from the notice's own time and to its deadline."""

    event: Happened
    message: str
    instance_id: str | None = None
    kind: NoticeKind | None = None
    action: Action | None = None
    event_time: str | None = None
    seconds_since_event: float | None = None
    seconds_left: float | None = None
    command_id: str | None = None
    outcome: Outcome | None = None
    reason: str | None = None
    job_id: str | None = None

    @property
    def is_trouble(self) -> bool:
        """Whether somebody should look at it."""
        return self.event in TROUBLES or self.outcome in (Outcome.FAILED, Outcome.MISSED, Outcome.LATE)


TROUBLES = frozenset({Happened.INPUT_REJECTED, Happened.ANSWER_UNWRITTEN, Happened.REPLACEMENT_FAILED})

KIND_WORDS: Mapping[NoticeKind, str] = {
    NoticeKind.INTERRUPTION: "Interruption warning",
    NoticeKind.REBALANCE: "Rebalance recommendation",
}

ACTION_WORDS: Mapping[Action, str] = {
    Action.TERMINATE: "it will be terminated",
    Action.STOP: "it will be stopped",
    Action.HIBERNATE: "it hibernates now",
    Action.NONE: "it may be interrupted",
}

OUTCOME_WORDS: Mapping[Outcome, str] = {
    Outcome.SAVED: "checkpoint saved",
    Outcome.FAILED: "checkpoint failed",
    Outcome.MISSED: "checkpoint missed",
    Outcome.VANISHED: "vanished",
    Outcome.NOT_OPTED_IN: "not opted in",
    Outcome.LATE: "too late",
    Outcome.LOGGED_ONLY: "logged only",
    Outcome.SUPERSEDED: "superseded",
}


def notice_received(notice: Notice, now: datetime) -> Line:
    """A notice was recorded for the first time."""
    left = seconds_between(now, notice.deadline)
    told = f" in {left:.0f} s" if left > 0 else f"; the time for that passed {-left:.0f} s ago"
    time_left = told if notice.action in (Action.TERMINATE, Action.STOP) else ""
    message = f"{notice.instance_id}: {KIND_WORDS[notice.kind].lower()}, {ACTION_WORDS[notice.action]}{time_left}"
    return _about(notice, now, Happened.NOTICE_RECEIVED, message)


def notice_repeated(notice: Notice, now: datetime) -> Line:
    """A notice that had been recorded before was delivered again."""
    message = f"{notice.instance_id}: the same {KIND_WORDS[notice.kind].lower()} again, nothing to do"
    return _about(notice, now, Happened.NOTICE_REPEATED, message)


def checkpoint_asked(notice: Notice, command_id: str, now: datetime) -> Line:
    """SSM took the command that asks the instance to checkpoint."""
    since = seconds_between(notice.time, now)
    message = f"{notice.instance_id}: checkpoint asked, {since:.1f} s after the {KIND_WORDS[notice.kind].lower()}"
    return _about(notice, now, Happened.CHECKPOINT_ASKED, message, command_id=command_id)


def notice_closed(notice: Notice, outcome: Outcome, reason: str, now: datetime, command_id: str | None = None) -> Line:
    """The notice has its outcome."""
    since = f", {seconds_between(notice.time, now):.0f} s after the {KIND_WORDS[notice.kind].lower()}"
    detail = since if outcome is Outcome.SAVED else f" ({notice.kind}): {reason}"
    message = f"{notice.instance_id}: {OUTCOME_WORDS[outcome]}{detail}"
    return _about(notice, now, Happened.NOTICE_CLOSED, message, command_id=command_id, outcome=outcome, reason=reason)


def answer_unwritten(notice: Notice, reason: str, now: datetime, *, for_good: bool) -> Line:
    """What was done could not be written on the notice's item; unless that is for good, the stream delivers the notice again."""
    again = "" if for_good else ", to be delivered again"
    message = f"{notice.instance_id}: what was done is not written down{again}: {reason}"
    return _about(notice, now, Happened.ANSWER_UNWRITTEN, message, reason=reason)


def instance_gone(notice: Notice, ended: InstanceEnded) -> Line:
    """An instance that had a notice reached its end."""
    since = seconds_between(notice.time, ended.time)
    message = f"{notice.instance_id}: {ended.state}, {since:.0f} s after the {KIND_WORDS[notice.kind].lower()}"
    return _about(notice, ended.time, Happened.INSTANCE_GONE, message, reason=ended.state)


def replacement_asked(notice: Notice, attempt: Attempt, told: Told, now: datetime) -> Line:
    """The job's state machine was told to launch the next attempt, or could not be."""
    event = Happened.REPLACEMENT_FAILED if told.is_trouble else Happened.REPLACEMENT_ASKED
    asked = "could not be asked for a replacement" if told.is_trouble else "needs no word of a replacement"
    what = "its replacement is launched now" if told.refusal is None else f"{asked}: {told.refusal}"
    message = f"{notice.instance_id}: job {attempt.job_id}, attempt {attempt.number}: {what}"
    return replace(_about(notice, now, event, message, reason=told.refusal), job_id=attempt.job_id)


def attempt_lost(ended: InstanceEnded, attempt: Attempt) -> Line:
    """An instance ended under its job; the state machine was told, without waiting for a heartbeat to be missed."""
    message = f"{ended.instance_id}: {ended.state}, job {attempt.job_id} lost its attempt {attempt.number}, the next one is launched now"
    return Line(
        Happened.ATTEMPT_LOST,
        message,
        instance_id=ended.instance_id,
        event_time=timestamp(ended.time),
        reason=ended.state,
        job_id=attempt.job_id,
    )


def result_unclaimed(result: CheckpointResult) -> Line:
    """A checkpoint command ended for which no open notice waits: a second copy, or one that a person sent."""
    message = f"{result.instance_id}: command ended ({result.status}), no open notice waits for it"
    return Line(
        Happened.RESULT_UNCLAIMED,
        message,
        instance_id=result.instance_id,
        event_time=timestamp(result.time),
        command_id=result.command_id,
        reason=result.status,
    )


def input_rejected(error: InvalidInput) -> Line:
    """An input was not ours or not well formed; it is dropped."""
    return Line(Happened.INPUT_REJECTED, f"Not a valid input, dropped: {error}", reason=error.field)


def _about(
    notice: Notice,
    now: datetime,
    event: Happened,
    message: str,
    *,
    command_id: str | None = None,
    outcome: Outcome | None = None,
    reason: str | None = None,
) -> Line:
    return Line(
        event,
        message,
        notice.instance_id,
        notice.kind,
        notice.action,
        timestamp(notice.time),
        seconds_between(notice.time, now),
        seconds_between(now, notice.deadline),
        command_id,
        outcome,
        reason,
    )
