"""How checkpoints ended, as SSM tells it."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from spot_responder.adapters.clients import client
from spot_responder.adapters.ssm_commands import SsmCommands
from spot_responder.use_cases.record_checkpoint import RecordCheckpoint
from spot_responder.wiring.parts import clock, notices, patiently, settings, story

if TYPE_CHECKING:
    from spot_responder.wiring.parts import Context


def record_checkpoint(event: object, context: Context) -> None:
    """Handle one EventBridge event of SSM."""
    story().invoked(context.aws_request_id)
    patiently(lambda: _use_case()(event, context.aws_request_id), context)


@cache
def _use_case() -> RecordCheckpoint:
    commands = SsmCommands(client("ssm"), settings().checkpoint_document)
    return RecordCheckpoint(notices(), commands, story(), clock())
