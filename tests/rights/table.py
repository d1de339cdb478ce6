"""docs/security.md, made from template.yaml: every right in one table, with the reason. ``python -m tests.rights.table`` writes it.

A right without a reason here, and a reason for which there is no right, is an error.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from tests.rights.policies import listed
from tests.rights.roles import resource_policies, roles, trust
from tests.rights.services import MADE_BY_AWS
from tests.template.stack import ACCOUNT, ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tests.rights.policies import Statement

PAGE = ROOT / "docs/security.md"
OWN_ACCOUNT = f"arn:aws:iam::{ACCOUNT}:root"
SEVERAL = 3
"""More names than these are listed by their number."""

ATTEMPT = "starts, follows and closes the job in its table"
LAUNCH = "launches one instance, from the stack's launch template"
CONTINUE = "goes on in an execution of its own kind before the history is full, and waits for its end"
CHECKPOINTS = "keeps checkpoints, and removes those that are obsolete"
END = "ends the job's instances; an instance without a job's tag cannot be ended"
FIND = "finds the job's instances; the action knows no resources"

WHY: Mapping[str, Mapping[str, str]] = {
    "RecordNoticeRole": {"dynamodb:PutItem": "writes each notice, once"},
    "RespondToNoticesRole": {
        "dynamodb:BatchGetItem": "reads what was done already, and which attempt a job is at",
        "dynamodb:PartiQLUpdate": "writes what was done; BatchExecuteStatement is authorized so",
        "ec2:DescribeInstances": "describes the instances of all notices at once; the action knows no resources",
        "ssm:DescribeInstanceInformation": "finds which of 50 instances SSM does not manage; the action knows no resources",
        "ssm:SendCommand": "asks for checkpoints, by the stack's own document and of instances that opted in",
        "states:SendTaskSuccess": "tells a job that its instance is interrupted",
    },
    "RecordCheckpointRole": {
        "dynamodb:Query": "finds the instance's notice",
        "dynamodb:UpdateItem": "writes how its checkpoint ended",
        "ssm:GetCommandInvocation": "reads the exit status and last lines of a checkpoint that failed; the action knows no resources",
    },
    "RecordInstanceStateRole": {
        "dynamodb:Query": "finds the instance's notices, and the attempt that ran on it",
        "dynamodb:UpdateItem": "writes that the instance ended",
        "states:SendTaskSuccess": "tells a job that its instance is gone",
    },
    "SpotJobRole": {
        **dict.fromkeys(("dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem"), ATTEMPT),
        **dict.fromkeys(("ec2:CreateFleet", "ec2:RunInstances"), LAUNCH),
        "ec2:CreateTags": "tags the instance as it is launched, and none that is there already",
        "iam:PassRole": "gives the instance its role, and no other role to anything",
        "ec2:TerminateInstances": END,
        "ec2:DescribeInstances": FIND,
        **dict.fromkeys(("states:StartExecution", "states:DescribeExecution", "states:StopExecution"), CONTINUE),
        **dict.fromkeys(("events:DescribeRule", "events:PutRule", "events:PutTargets"), "Step Functions waits for that end by a rule of its own"),
    },
    "EndJobRole": {
        **dict.fromkeys(("dynamodb:GetItem", "dynamodb:UpdateItem"), "closes a job whose execution was stopped"),
        "ec2:TerminateInstances": END,
        "ec2:DescribeInstances": FIND,
    },
    "JobInstanceRole": {
        "dynamodb:GetItem": "reads its job",
        "dynamodb:UpdateItem": "writes progress and hand-over: attributes of these names, none of which says what is run or where it is kept",
        **dict.fromkeys(("s3:AbortMultipartUpload", "s3:DeleteObject", "s3:GetObject", "s3:PutObject"), CHECKPOINTS),
        "s3:ListBucket": "hears that a checkpoint is missing; without it, S3 says that it is forbidden",
        **dict.fromkeys(("states:SendTaskHeartbeat", "states:SendTaskSuccess"), "tells the state machine that the attempt lives, and how it ended"),
        "lambda:GetLayerVersion": "fetches the agent",
        "cloudwatch:PutMetricData": "publishes the demonstration's progress, into its own namespace; the action knows no resources",
    },
}
"""By role: why it has an action. What AWS does in a role by itself is in services.py."""

LET_IN: Mapping[tuple[str, str], str] = {
    ("DeadLettersPolicy", "events.amazonaws.com"): "keeps events that a rule of the stack could not deliver",
    ("DeadLettersPolicy", "*"): "nobody without TLS",
    ("NotificationsPolicy", "events.amazonaws.com"): "tells of a notice at receipt; EventBridge allows no condition here (EventBridge User Guide, "
    "Resource-based policies: Amazon SNS)",
    ("NotificationsPolicy", "cloudwatch.amazonaws.com"): "tells of an alarm",
    ("NotificationsPolicy", "*"): "nobody without TLS",
    (
        "NotificationKey",
        f"arn:aws:iam::{ACCOUNT}:root",
    ): "leaves to the account's IAM policies who manages the key (KMS Developer Guide, Default key policy)",
    ("NotificationKey", "events.amazonaws.com"): "publishes to the encrypted topic",
    ("NotificationKey", "cloudwatch.amazonaws.com"): "publishes to the encrypted topic",
    ("JobBucketPolicy", "*"): "nobody without TLS",
}
"""By resource policy and principal: why."""

HEAD = """\
# Security: who may do what

Made from `template.yaml` by `python -m tests.rights.table`; a test fails when it is not up to date. Names are those of a stack
`spot-responder` with every part; ARNs are shown without `arn:aws:<service>:<region>:<account>:`. How it is shown that every call is allowed, and
that nothing is granted that no call needs: `tests/rights`, and `tests/e2e/test_rights.py` for the calls that were made end to end. Who could
attack what, and what stops them: [threat-model.md](threat-model.md).

## What the roles may do
"""

TAIL = """\

## Encrypted

| What | At rest | In transit |
| --- | --- | --- |
| notices table, jobs table | the account's key `aws/dynamodb` | TLS, the only way to DynamoDB |
| dead-letter queue | SQS's key (SSE-SQS) | TLS; the queue's policy denies anything else |
| notification topic | a key of the stack's own, renewed every year | TLS; the topic's policy denies anything else |
| checkpoint bucket | S3's key (SSE-S3); public access blocked, access lists off | TLS; the bucket's policy denies anything else |
| log group | CloudWatch Logs' key, or yours (`LogGroupKeyArn`) | TLS |
| functions' variables, archive, executions, the agent's archive | the services' own keys | TLS |
| a job's root volume | the account's key `aws/ebs` | does not apply |

A job's input is in the execution's history and in the jobs table, where whoever may read those reads it: no place for secrets. A program that
needs a secret, or data of its own, needs a policy of yours on the role `JobInstanceRole`, which then holds for every job of the stack.

A key of yours for the log group needs a key policy that lets `logs.<region>.amazonaws.com` use it (CloudWatch Logs User Guide, "Encrypt log data
using AWS KMS"). A bucket of yours (`CheckpointBucket`) keeps its own settings: have it encrypted, private, and used for nothing else, since a job's
instances may read, write and delete everything in it.

`make audit` runs [checkov](https://www.checkov.io) over the template. The checks that do not hold here, each with its reason, are in `.checkov.yaml`.
"""


def page() -> str:
    """Return the whole page."""
    taken = sorted((name, _principal(statement), _condition(statement)) for name in roles() for statement in trust(name))
    parts = [
        HEAD,
        _table(("Role", "Action", "Resource", "Condition", "Why"), _rights()),
        "\n## Who takes the roles\n",
        _table(("Role", "Who", "Condition"), taken),
        "\n## Who else is let in\n",
        _table(("Policy", "Who", "Effect", "Action", "Condition", "Why"), _let_in()),
        TAIL,
    ]
    return "\n".join(parts)


def whys(role: str) -> Mapping[str, str]:
    """Return why a role has its actions, those that AWS needs included."""
    return {**MADE_BY_AWS.get(role, {}), **WHY.get(role, {})}


def _rights() -> Iterator[Sequence[str]]:
    for role, statements in roles().items():
        for statement in statements:
            resources = _code(_short(one) for one in listed(statement["Resource"]))
            by_reason: dict[str, list[str]] = {}
            for action in listed(statement["Action"]):
                by_reason.setdefault(whys(role)[action], []).append(action)
            for why, actions in by_reason.items():
                yield role.removesuffix("Role"), _code(actions), resources, _condition(statement), why


def _let_in() -> Iterator[Sequence[str]]:
    for policy, statements in resource_policies().items():
        for statement in statements:
            who, actions = _principal(statement), _code(listed(statement["Action"]))
            shown = f"`{who}`" if who != "*" else "everybody"
            yield policy, shown, statement["Effect"], actions, _condition(statement), LET_IN[policy, who]


def _principal(statement: Statement) -> str:
    principal = statement["Principal"]
    return str(principal) if isinstance(principal, str) else str(next(iter(listed(next(iter(principal.values()))))))


def _short(arn: str) -> str:
    """Return an ARN's last part, which names the resource; a bucket's has no other."""
    return arn.split(":", 5)[-1] if arn.startswith("arn:") else arn


def _condition(statement: Statement) -> str:
    conditions = statement.get("Condition", {})
    return "; ".join(f"{operator} `{key}`: {_values(value)}" for operator, keys in conditions.items() for key, value in keys.items())


def _values(value: Any) -> str:
    texts = [json.dumps(one) if isinstance(one, bool) else _short(str(one)) for one in listed(value)]
    return _code(texts) if len(texts) <= SEVERAL else f"{len(texts)} values in the template"


def _code(texts: Any) -> str:
    return ", ".join(f"`{text}`" for text in texts)


def _table(heads: Sequence[str], rows: Any) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '&#124;') for cell in line)} |" for line in lines) + "\n"


def main() -> None:
    """Write the page."""
    PAGE.write_text(page())
    sys.stdout.write(f"{PAGE.relative_to(ROOT)} is written\n")


if __name__ == "__main__":
    main()
