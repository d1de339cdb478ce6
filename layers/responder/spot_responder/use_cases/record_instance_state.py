"""An instance ended: its notices are over, and a checkpoint that was not saved by then is missed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from spot_responder.domain import lines
from spot_responder.domain.errors import InvalidInput
from spot_responder.domain.events import InstanceEnded, parse_as
from spot_responder.domain.notices import account_region
from spot_responder.domain.plans import Outcome
from spot_responder.use_cases.ports import Closing

if TYPE_CHECKING:
    from spot_responder.use_cases.ports import Clock, Jobs, NoticesTable, Record, Story


@dataclass(frozen=True, slots=True)
class RecordInstanceState:
    """Close the notices of instances that ended. Most state changes are of instances that had none: nothing is told."""

    notices: NoticesTable
    jobs: Jobs
    story: Story
    clock: Clock

    def __call__(self, event: object, by: str) -> None:
        """Record one EventBridge event of EC2. ``by`` is the invocation's id, the same in Lambda's own retries."""
        try:
            ended = parse_as(InstanceEnded, event, self.clock.now())
        except InvalidInput as error:
            self.story.tell(lines.input_rejected(error))
            return
        attempt = self.jobs.lost(ended)
        if attempt is not None:
            self.story.tell(lines.attempt_lost(ended, attempt))
        if ended.is_final:
            self._close_notices(ended, by)

    def _close_notices(self, ended: InstanceEnded, by: str) -> None:
        records = self.notices.of_instance(account_region(ended.account, ended.region), ended.instance_id)
        running = [record for record in records if record.gone_by in (None, by) and record.notice.time <= ended.time]
        for record in running:
            self._miss(record, ended, by)
        marked = [record.notice for record in running if self.notices.mark_gone(record.notice.key, ended, by)]
        if marked:
            latest = max(marked, key=lambda notice: notice.time)
            self.story.tell(lines.instance_gone(latest, ended))

    def _miss(self, record: Record, ended: InstanceEnded, by: str) -> None:
        if record.outcome not in (None, Outcome.MISSED):
            return
        asked = "asked but not saved" if record.command_id else "not asked"
        reason = f"{asked} before the instance was {ended.state}"
        if self.notices.close(record.notice.key, Closing(Outcome.MISSED, reason, ended.time, by)):
            self.story.tell(lines.notice_closed(record.notice, Outcome.MISSED, reason, ended.time, record.command_id))
