"""Instances that stopped or terminated, as EC2 tells it."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from spot_responder.use_cases.record_instance_state import RecordInstanceState
from spot_responder.wiring.jobs import jobs
from spot_responder.wiring.parts import clock, notices, patiently, story

if TYPE_CHECKING:
    from spot_responder.wiring.parts import Context


def record_instance_state(event: object, context: Context) -> None:
    """Handle one EventBridge event of EC2."""
    story().invoked(context.aws_request_id)
    patiently(lambda: _use_case()(event, context.aws_request_id), context)


@cache
def _use_case() -> RecordInstanceState:
    return RecordInstanceState(notices(), jobs(), story(), clock())
