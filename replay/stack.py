"""The parts of a deployed stack that a replay needs (CloudFormation)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from replay.failures import ReplayFailed, calling

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient

NOTICE_RULES = ("RecordNoticeInterruptionWarning", "RecordNoticeRebalanceRecommendation")
"""The rules that lead to record_notice alone: others of the bus, and the notification address, are not to get everything again."""


@dataclass(frozen=True, slots=True)
class Stack:
    """``archive``: its ARN; ``queue``: the dead letters' URL; ``rules``: names of those of ``NOTICE_RULES``."""

    archive: str
    queue: str
    rules: tuple[str, ...]


def find(client: CloudFormationClient, name: str) -> Stack:
    """Return the stack's parts. Raises ``ReplayFailed`` where there is no such stack or it is not ours."""
    with calling("cloudformation:DescribeStacks"):
        try:
            (found,) = client.describe_stacks(StackName=name)["Stacks"]
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") != "ValidationError":  # "Stack with id x does not exist", or no name at all
                raise
            raise ReplayFailed(f"There is no stack {name!r} in this account and Region: give --stack and --region.") from error
    outputs = {output.get("OutputKey", ""): output.get("OutputValue", "") for output in found.get("Outputs", [])}
    with calling("cloudformation:ListStackResources"):
        pages = client.get_paginator("list_stack_resources").paginate(StackName=name)
        names = {each["LogicalResourceId"]: each.get("PhysicalResourceId", "") for page in pages for each in page["StackResourceSummaries"]}
    try:
        # A rule's physical id is its name, or its ARN.
        return Stack(outputs["NoticeArchive"], outputs["DeadLetterQueue"], tuple(names[rule].rpartition("/")[2] for rule in NOTICE_RULES))
    except KeyError as error:
        raise ReplayFailed(f"The stack {name} has no {error}: it is not Spot Responder's; give --stack and --region.") from error
