"""The batches of the notices table's stream."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING

from spot_responder.adapters.clients import client
from spot_responder.adapters.ec2_fleet import Ec2Fleet
from spot_responder.adapters.notices_table import from_stream
from spot_responder.adapters.ssm_commands import SsmCommands
from spot_responder.domain.notices import Notice
from spot_responder.use_cases.respond_to_notices import RespondToNotices
from spot_responder.wiring.jobs import jobs
from spot_responder.wiring.parts import clock, notices, settings, story, until

if TYPE_CHECKING:
    from spot_responder.wiring.parts import Context


def respond_to_notices(event: object, context: Context) -> dict[str, list[dict[str, str]]]:
    """Handle a batch; the answer names the first record to be delivered again, if any.

    Lambda delivers from the lowest sequence number named to the batch's end (Lambda, "Reporting batch item failures").
    """
    story().invoked(context.aws_request_id)
    records = list(from_stream(event, clock().now()))
    again = _use_case()((notice for _, notice in records), until(context))
    unfinished = [number for number, notice in records if isinstance(notice, Notice) and notice.key in again]
    return {"batchItemFailures": [{"itemIdentifier": number} for number in unfinished[:1]]}


@cache
def _use_case() -> RespondToNotices:
    fleet = Ec2Fleet(client("ec2"))
    commands = SsmCommands(client("ssm"), settings().checkpoint_document)
    return RespondToNotices(notices(), fleet, commands, jobs(), story(), clock(), settings().policy, lambda: ThreadPoolExecutor(max_workers=1))
