"""SSM says how a checkpoint ended on one instance: the notice that it answers gets its outcome."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from spot_responder.domain import lines
from spot_responder.domain.errors import CallFailed, InvalidInput
from spot_responder.domain.events import CheckpointResult, parse_as
from spot_responder.domain.notices import account_region, seconds_between
from spot_responder.domain.plans import Outcome, strength
from spot_responder.use_cases.ports import Closing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spot_responder.use_cases.ports import Clock, Commands, NoticesTable, Record, Story


@dataclass(frozen=True, slots=True)
class RecordCheckpoint:
    """Record how checkpoints ended."""

    notices: NoticesTable
    commands: Commands
    story: Story
    clock: Clock

    def __call__(self, event: object, by: str) -> None:
        """Record one EventBridge event of SSM. ``by`` is the invocation's id, the same in Lambda's own retries."""
        try:
            result = parse_as(CheckpointResult, event, self.clock.now())
        except InvalidInput as error:
            self.story.tell(lines.input_rejected(error))
            return
        records = self.notices.of_instance(account_region(result.account, result.region), result.instance_id)
        record = answered_by(result, records, by)
        if record is None or not self._close(record, result, by):
            self.story.tell(lines.result_unclaimed(result))

    def _close(self, record: Record, result: CheckpointResult, by: str) -> bool:
        outcome = Outcome.SAVED if result.is_success else Outcome.FAILED
        reason = self._reason(record, result)
        if not self.notices.close(record.notice.key, Closing(outcome, reason, result.time, by)):
            return False
        self.story.tell(lines.notice_closed(record.notice, outcome, reason, result.time, result.command_id))
        return True

    def _reason(self, record: Record, result: CheckpointResult) -> str:
        if result.is_success:
            return f"saved {seconds_between(record.notice.time, result.time):.0f} s after the event"
        try:
            went = self.commands.invocation(result.command_id, result.instance_id)
        except CallFailed as error:
            return f"{result.status}; its output could not be read: {error}"
        status = f"exit status {went.exit_status}" if went.exit_status is not None else went.detail
        return f"{status}: {went.last_lines}" if went.last_lines else status


def answered_by(result: CheckpointResult, records: Sequence[Record], by: str) -> Record | None:
    """Return the notice that a command answers.

    Where this very invocation closed one before and never heard of it, it is that one. Usually its item names the command. If the
    function that sent it was stopped before it could write that, or never heard that it was sent, the result counts for a notice of
    the instance that has no command: one that is still open, and of two the one that is asked when they come together.
    """
    ours = [record for record in records if record.closing is not None and record.closing.by == by]
    asked = [record for record in records if record.command_id == result.command_id]
    unsure = (None, Outcome.FAILED, Outcome.MISSED)
    waiting = [record for record in records if not record.command_id and record.outcome in unsure and record.notice.time <= result.time]
    candidates = ours or asked or waiting
    return min(candidates, key=lambda record: (record.outcome is not None, strength(record.notice)), default=None)
