"""Checkpoints through SSM Run Command: one SendCommand for 50 instances (Systems Manager API, "SendCommand").

Each instance finds its own notice in the one parameter ``Notices``, so that notices of any kind, action and deadline
share a command. ``MaxErrors`` defaults to 0, which would let the first failed instance stop the others: it is 100 %.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import batched
from typing import TYPE_CHECKING, Final

from botocore.exceptions import ClientError

from spot_responder.adapters.clients import calling, error_code, error_message
from spot_responder.domain.errors import InstancesRefused
from spot_responder.domain.notices import seconds_between
from spot_responder.use_cases.ports import Invocation

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from mypy_boto3_ssm import SSMClient

    from spot_responder.domain.notices import Notice

INSTANCES_PER_COMMAND: Final = 50
SHORTEST_DELIVERY_SECONDS = 30
LAST_LINES = 3
AGENTS_OWN_WORDS = "failed to run commands: exit status"
"""What the SSM agent adds to the output of a script that fails; the exit status is told apart."""
LAST_CHARACTERS = 400


@dataclass(frozen=True, slots=True)
class SsmCommands:
    """``Commands`` on SSM, by the document of this name."""

    ssm: SSMClient
    document: str
    batch_size: int = INSTANCES_PER_COMMAND

    def ask_checkpoint(self, notices: Sequence[Notice], now: datetime) -> str:
        """Send the command and return its id. Raises ``InstancesRefused``, ``Refused`` and ``Unavailable``."""
        with calling("ssm:SendCommand"):
            try:
                answer = self.ssm.send_command(
                    InstanceIds=[notice.instance_id for notice in notices],
                    DocumentName=self.document,
                    TimeoutSeconds=_delivery_seconds(notices, now),
                    MaxConcurrency="100%",
                    MaxErrors="100%",
                    Parameters={"Notices": [" ".join(entry(notice) for notice in notices)]},
                )
            except ClientError as error:
                raise _refused(error, notices) from error
        return answer["Command"]["CommandId"]

    def unreachable(self, instance_ids: Sequence[str]) -> dict[str, str]:
        """Return the reason for each instance that SSM does not manage or cannot reach."""
        status: dict[str, str] = {}
        with calling("ssm:DescribeInstanceInformation"):
            for ids in batched(instance_ids, INSTANCES_PER_COMMAND, strict=False):
                status |= dict(self._ping_status(ids))
        return {instance_id: _why(status.get(instance_id)) for instance_id in instance_ids if status.get(instance_id) != "Online"}

    def invocation(self, command_id: str, instance_id: str) -> Invocation:
        """Return how the command went on one instance, with the end of what it printed."""
        with calling("ssm:GetCommandInvocation"):
            went = self.ssm.get_command_invocation(CommandId=command_id, InstanceId=instance_id)
        exit_status = went.get("ResponseCode", -1)
        output = went.get("StandardErrorContent") or went.get("StandardOutputContent") or ""
        return Invocation(went.get("StatusDetails", ""), exit_status if exit_status >= 0 else None, last_lines(output))

    def _ping_status(self, instance_ids: Sequence[str]) -> Iterator[tuple[str, str]]:
        pages = self.ssm.get_paginator("describe_instance_information")
        for page in pages.paginate(Filters=[{"Key": "InstanceIds", "Values": list(instance_ids)}]):
            yield from ((info["InstanceId"], info["PingStatus"]) for info in page["InstanceInformationList"])


def _refused(error: ClientError, notices: Sequence[Notice]) -> InstancesRefused | ClientError:
    """Return our error where SSM's is about some of the instances, else SSM's."""
    named = {notice.instance_id for notice in notices} & set(re.findall(r"\bi-[0-9a-f]+", error_message(error)))
    if error_code(error) == "InvalidInstanceId" or (error_code(error) == "AccessDeniedException" and named):
        return InstancesRefused(f"ssm:SendCommand: {error_code(error)}: {error_message(error)}", named)
    return error


def entry(notice: Notice) -> str:
    """Return a notice as the document reads it: ``i-0123456789abcdef0:interruption:terminate:1763805720``."""
    return f"{notice.instance_id}:{notice.kind}:{notice.action}:{int(notice.deadline.timestamp())}"


def last_lines(output: str) -> str:
    """Return the last lines of a command's output, joined, short, without control characters."""
    lines = [line.strip() for line in output.splitlines() if line.strip() and not line.startswith(AGENTS_OWN_WORDS)]
    text = " / ".join(lines[-LAST_LINES:])
    return "".join(character if character.isprintable() else " " for character in text)[-LAST_CHARACTERS:]


def _delivery_seconds(notices: Sequence[Notice], now: datetime) -> int:
    longest = max(seconds_between(now, notice.deadline) for notice in notices)
    return max(SHORTEST_DELIVERY_SECONDS, int(longest))


def _why(ping_status: str | None) -> str:
    if ping_status is None:
        return "SSM does not manage this instance (InvalidInstanceId): no agent, or no instance profile that lets it register"
    return f"the SSM agent is offline ({ping_status})"
