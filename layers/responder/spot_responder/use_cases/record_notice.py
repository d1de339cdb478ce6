"""An event comes in; one line in the story and one item in the table come out, however often it is delivered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from spot_responder.domain import lines
from spot_responder.domain.errors import InvalidInput
from spot_responder.domain.events import parse_as
from spot_responder.domain.notices import Notice

if TYPE_CHECKING:
    from spot_responder.use_cases.ports import Clock, NoticesTable, Story


@dataclass(frozen=True, slots=True)
class RecordNotice:
    """Record notices as they arrive."""

    notices: NoticesTable
    story: Story
    clock: Clock

    def __call__(self, event: object, by: str) -> None:
        """Record one EventBridge event. ``by`` is the invocation's id, the same in Lambda's own retries."""
        now = self.clock.now()
        try:
            notice = parse_as(Notice, event, now)
        except InvalidInput as error:
            self.story.tell(lines.input_rejected(error))
            return
        is_first = self.notices.add(notice, now, by)
        tell = lines.notice_received if is_first else lines.notice_repeated
        self.story.tell(tell(notice, now))
