"""What AWS services do with the stack's roles that no call of ours shows, with the page that says so."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tests.examples import instance_id
from tests.rights.policies import Request
from tests.rights.recorded import world
from tests.rights.roles import KNOWN, arn

if TYPE_CHECKING:
    from collections.abc import Mapping

READS = re.compile(r"\w+:(BatchGet|Describe|Get|List|Query)")
"""An action that changes nothing, by its name; the reference's access level of all that are granted here agrees."""

LINES = "Lambda writes the function's lines with the function's role (Lambda Developer Guide, Configuring CloudWatch log groups)"
LETTERS = "Lambda sends failed events and batches to the dead letters with the function's role (Lambda Developer Guide, Adding a destination)"
STREAM = "the event source mapping reads the stream with the function's role (Lambda Developer Guide, Using Lambda with DynamoDB)"
TARGETS = "FIS looks for the experiment's targets with its role (FIS User Guide, Targets)"
EXPERIMENT = "FIS does what the experiment says with its role (FIS User Guide, AWS FIS actions reference)"
AGENT = "the SSM agent tells that the instance is there (Systems Manager User Guide, Reference: ec2messages, ssmmessages, and other API operations)"
CHANNEL = "the SSM agent gets its commands, and Session Manager its sessions, by the instance's own channel (same page)"
OLD_CHANNEL = "SSM agents before 3.3.40 get their commands this way (same page)"
RULE = "EventBridge starts the state machine with the rule's role (EventBridge User Guide, Using identity-based policies)"
FUNCTION = {"logs:CreateLogStream": LINES, "logs:PutLogEvents": LINES, "sqs:SendMessage": LETTERS}

MADE_BY_AWS: Mapping[str, Mapping[str, str]] = {
    "RecordNoticeRole": FUNCTION,
    "RespondToNoticesRole": {
        **FUNCTION,
        **dict.fromkeys(("dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator", "dynamodb:ListStreams"), STREAM),
    },
    "RecordCheckpointRole": FUNCTION,
    "RecordInstanceStateRole": FUNCTION,
    "JobInstanceRole": {
        "ssm:UpdateInstanceInformation": AGENT,
        **{f"ssmmessages:{what}{kind}Channel": CHANNEL for what in ("Create", "Open") for kind in ("Control", "Data")},
        **{
            f"ec2messages:{action}": OLD_CHANNEL
            for action in ("AcknowledgeMessage", "DeleteMessage", "FailMessage", "GetEndpoint", "GetMessages", "SendReply")
        },
    },
    "InterruptExperimentRole": {"ec2:DescribeInstances": TARGETS, "ec2:SendSpotInstanceInterruptions": EXPERIMENT},
    "TerminateExperimentRole": {"ec2:DescribeInstances": TARGETS, "ec2:TerminateInstances": EXPERIMENT},
    "BatchExperimentRole": {"ec2:DescribeInstances": TARGETS, "ec2:SendSpotInstanceInterruptions": EXPERIMENT},
    "EndJobJobStoppedRole": {"states:StartExecution": RULE},
}
"""By role: what AWS does, and why."""

TARGETED = {
    "InterruptExperimentRole": {"aws:ResourceTag/Name": ["Fis/Spot"]},
    "TerminateExperimentRole": {"aws:ResourceTag/Name": ["Fis/Spot"]},
    "BatchExperimentRole": {"aws:ResourceTag/type": ["Spot"]},
}
"""The tag of the instances that an experiment aims at."""


def requests_of_aws() -> list[tuple[str, Request]]:
    """Return, with its role, each request that AWS makes by itself."""
    return [(role, _request(role, action)) for role, made in MADE_BY_AWS.items() for action in made]


def _request(role: str, action: str) -> Request:
    service = action.partition(":")[0]
    resources = {
        "logs": arn("logs", "log-group:/aws/events/spotinterruptions:log-stream:2026/11/22/function[$LATEST]0123"),
        "sqs": KNOWN["DeadLetters.Arn"],
        "dynamodb": KNOWN["NoticesTable.StreamArn"],
        "states": KNOWN["EndJob"],
        "ssm": world().instance(instance_id()),
    }
    if service == "ec2" and not READS.match(action):
        return Request(action, world().instance(instance_id()), TARGETED[role])
    return Request(action, resources.get(service, "*"))
