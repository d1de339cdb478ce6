"""The roles of the stack with all its parts, as template.yaml describes them, with ARNs as CloudFormation would put them in."""

from __future__ import annotations

import json
import re
from functools import cache
from typing import TYPE_CHECKING, Any

from tests.template.stack import ACCOUNT, PSEUDO, RESOURCES, WITH_JOB, of_type, resolved

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.rights.policies import Statement

REGION = "us-east-1"
STACK = PSEUDO["AWS::StackName"]
WHOLE = WITH_JOB | {"NotificationEmail": "somebody@example.com"}
"""The parameters of a stack that has every part."""
HASH = 10
LAUNCH_TEMPLATE, BUCKET = "lt-0123456789abcdef0", f"{STACK}-jobbucket"


def arn(service: str, resource: str, region: str = REGION, account: str = ACCOUNT) -> str:
    """Return an ARN of the stack's account."""
    return f"arn:aws:{service}:{region}:{account}:{resource}"


MACHINE = arn("states", f"stateMachine:{STACK}-SpotChaosStateMachine")
JOBS_TABLE, NOTICES_TABLE = arn("dynamodb", f"table/{STACK}-jobs"), arn("dynamodb", f"table/{STACK}-notices")
DOCUMENT = arn("ssm", f"document/{STACK}-checkpoint")

KNOWN = {
    "NoticesTable.Arn": NOTICES_TABLE,
    "NoticesTable.StreamArn": f"{NOTICES_TABLE}/stream/2026-11-22T10:00:00.000",
    "JobsTable.Arn": JOBS_TABLE,
    # CloudFormation's attribute ends so (AWS::Logs::LogGroup, "Return values").
    "StoryLogGroup.Arn": arn("logs", "log-group:/aws/events/spotinterruptions:*"),
    "DeadLetters.Arn": arn("sqs", f"{STACK}-DeadLetters"),
    "JobBucket.Arn": f"arn:aws:s3:::{BUCKET}",
    "JobBucket": BUCKET,
    "JobLaunchTemplate": LAUNCH_TEMPLATE,
    "SpotChaosStateMachine": MACHINE,
    "EndJob": arn("states", "stateMachine:EndJob"),
    "Notifications": arn("sns", f"{STACK}-Notifications"),
    "NotificationKey": arn("kms", "key/12345678-1234-1234-1234-123456789012"),
}
"""What CloudFormation knows and ``resolved`` does not: by ``Ref``'s name, or by ``GetAtt``'s."""


def role_arn(name: str) -> str:
    """Return the ARN of a role of the stack, by its name in the template."""
    return arn("iam", f"role/{STACK}-{name}", region="")


def with_arns(part: Any) -> Any:
    """Return a resolved part of the template with real ARNs and names in place of logical names."""
    return json.loads(_NAMES.sub(lambda found: _known(found[0]), json.dumps(part)))


def _known(name: str) -> str:
    if name in KNOWN:
        return KNOWN[name]
    logical, _, attribute = name.partition(".")
    kind = RESOURCES[logical]["Type"]
    if attribute == "Arn" and kind == "AWS::IAM::Role":
        return role_arn(logical)
    if attribute == "Arn" and kind == "AWS::Events::Rule":
        return arn("events", f"rule/{STACK}-{logical}")
    if kind == "AWS::Lambda::LayerVersion":
        # SAM adds a hash to the logical name, and not to the layer's.
        return arn("lambda", f"layer:{STACK}-{logical[:-HASH]}:1")
    raise NotImplementedError(f"what {name} becomes")


_LOGICAL = sorted((name for name in RESOURCES if RESOURCES[name]["Type"] != "AWS::IAM::ManagedPolicy"), key=len, reverse=True)
_NAMES = re.compile(rf'(?<=["/:])(?:{"|".join(_LOGICAL)})(?:\.(?:Arn|StreamArn))?(?=["/])')


@cache
def roles() -> Mapping[str, list[Statement]]:
    """Return what each role of the template may do, by the role's name in the template."""
    written = of_type("AWS::IAM::Role")
    return {name: _statements(name, resolved(role, WHOLE)) for name, role in written.items()}


def _statements(name: str, role: Mapping[str, Any]) -> list[Statement]:
    managed = [resolved(of_type("AWS::IAM::ManagedPolicy")[policy])["PolicyDocument"] for policy in role.get("ManagedPolicyArns", [])]
    own = [policy["PolicyDocument"] for policy in role.get("Policies", [])]
    added = [resolved(policy, WHOLE) for policy in of_type("AWS::IAM::Policy").values()]
    attached = [policy["PolicyDocument"] for policy in added if name in policy["Roles"]]
    documents = [json.loads(document) if isinstance(document, str) else document for document in (*managed, *own, *attached)]
    return [with_arns(statement) for document in documents for statement in document["Statement"]]


@cache
def trust(name: str) -> list[Mapping[str, Any]]:
    """Return the statements that say who may take a role."""
    document = with_arns(resolved(of_type("AWS::IAM::Role")[name]["AssumeRolePolicyDocument"], WHOLE))
    statements: list[Mapping[str, Any]] = document["Statement"]
    return statements


def resource_policies() -> dict[str, list[Mapping[str, Any]]]:
    """Return the statements of the policies that queues, topics, keys and buckets have, by the policy's name in the template."""
    kinds = {"AWS::SQS::QueuePolicy": "PolicyDocument", "AWS::SNS::TopicPolicy": "PolicyDocument", "AWS::S3::BucketPolicy": "PolicyDocument"}
    found = {name: properties[place] for kind, place in kinds.items() for name, properties in of_type(kind).items()}
    found |= {name: properties["KeyPolicy"] for name, properties in of_type("AWS::KMS::Key").items()}
    return {name: with_arns(resolved(document, WHOLE))["Statement"] for name, document in found.items()}
