"""Interruption warnings and rebalance recommendations, as they arrive."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from spot_responder.use_cases.record_notice import RecordNotice
from spot_responder.wiring.parts import clock, notices, patiently, story

if TYPE_CHECKING:
    from spot_responder.wiring.parts import Context


def record_notice(event: object, context: Context) -> None:
    """Handle one EventBridge event of EC2."""
    story().invoked(context.aws_request_id)
    patiently(lambda: _use_case()(event, context.aws_request_id), context)


@cache
def _use_case() -> RecordNotice:
    return RecordNotice(notices(), story(), clock())
