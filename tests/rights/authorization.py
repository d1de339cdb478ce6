"""What AWS asks IAM before it answers a call: actions, resources and condition keys.

From the Service Authorization Reference ("Actions, resources, and condition keys for AWS services"), the page of each service,
https://docs.aws.amazon.com/service-authorization/latest/reference/; where another page decides, it is named beside.
An operation that is not known here is an error, so that a new call is looked up before it is allowed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.rights.policies import Request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

type Parameters = Mapping[str, Any]

PREFIXES = {"sfn": "states", "stepfunctions": "states"}
"""Where IAM's prefix is not the name that botocore or the sandbox has for a service."""
STATEMENT = re.compile(r'(?P<verb>SELECT|INSERT|UPDATE|DELETE)\b.*?"(?P<table>[^"]+)"', re.DOTALL)
OBJECT_ACTIONS = {
    "GetObject": "GetObject",
    "HeadObject": "GetObject",
    "PutObject": "PutObject",
    "DeleteObject": "DeleteObject",
    # "Multipart upload API and permissions", Amazon S3 User Guide.
    "CreateMultipartUpload": "PutObject",
    "UploadPart": "PutObject",
    "CompleteMultipartUpload": "PutObject",
    "AbortMultipartUpload": "AbortMultipartUpload",
}
LAUNCH = ("image", "instance", "launch-template", "network-interface", "security-group", "subnet", "volume")
"""What a fleet's launch of one instance is made of; of these CreateFleet is asked for, and RunInstances."""


@dataclass(frozen=True)
class Call:
    """A call that was made: ``service`` as botocore names it, ``operation`` as the API does."""

    role: str
    service: str
    operation: str
    parameters: Parameters

    @property
    def name(self) -> str:
        """The call as IAM would write it."""
        return f"{PREFIXES.get(self.service, self.service)}:{self.operation}"


@dataclass(frozen=True)
class World:
    """What the parameters do not say: whose the calls are, and how things are marked.

    ``machine`` is the state machine whose task tokens there are, ``passed_role`` the role in the launch template's instance profile,
    ``tags`` those of the instances.
    """

    account: str
    region: str
    machine: str
    passed_role: str
    tags: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def arn(self, service: str, resource: str) -> str:
        """Return an ARN, unless the resource is one already."""
        return resource if resource.startswith("arn:") else f"arn:aws:{service}:{self.region}:{self.account}:{resource}"

    def table(self, name: str) -> str:
        """Return a table's ARN; both a name and an ARN may be given."""
        return name if name.startswith("arn:") else self.arn("dynamodb", f"table/{name}")

    def instance(self, instance_id: str) -> str:
        """Return an instance's ARN."""
        return self.arn("ec2", f"instance/{instance_id}")

    def tag_keys(self, instance_id: str, *prefixes: str) -> dict[str, list[str]]:
        """Return the condition keys that an instance's tags make."""
        return {f"{prefix}/{key}": [value] for prefix in prefixes for key, value in self.tags.get(instance_id, {}).items()}


def requests(call: Call, world: World) -> list[Request]:
    """Return everything that IAM has to allow for a call, one request for each resource."""
    service = call.name.split(":")[0]
    asking = _ASKING.get(call.name) or _ASKING.get(f"{service}:*")
    if asking is None:
        raise NotImplementedError(f"what {call.name} is authorized by")
    return list(asking(call, world))


def _everything(call: Call, _world: World) -> Iterator[Request]:
    """Ask for an operation that knows no resources."""
    yield Request(call.name)


# DynamoDB


def _item(call: Call, world: World) -> Iterator[Request]:
    table = world.table(call.parameters["TableName"])
    index = call.parameters.get("IndexName")
    yield Request(call.name, f"{table}/index/{index}" if index else table, _attributes(call.parameters))


def _attributes(parameters: Parameters) -> dict[str, list[str]]:
    """Return the top-level attributes that a request names ("Using IAM policy conditions for fine-grained access control").

    Those of its key and its item, and those in its expressions, by placeholder or not.
    """
    named = {*parameters.get("Key", {}), *parameters.get("Item", {}), *parameters.get("ExpressionAttributeNames", {}).values()}
    expressions = " ".join(str(text) for name, text in parameters.items() if name.endswith("Expression"))
    return {"dynamodb:Attributes": sorted(named | _names_in(expressions))}


def _names_in(expression: str) -> set[str]:
    """Return the names in an expression that stand there without a placeholder: what is neither keyword nor function."""
    words = re.findall(r"(?<![#:\w])[A-Za-z_]\w*(?!\w*\s*\()", expression)
    return {word for word in words if word.upper() not in {"SET", "REMOVE", "ADD", "DELETE", "AND", "OR", "NOT", "IN", "BETWEEN"}}


def _batch(call: Call, world: World) -> Iterator[Request]:
    for table in call.parameters["RequestItems"]:
        yield Request(call.name, world.table(table))


def _statements(call: Call, world: World) -> Iterator[Request]:
    """Each statement is authorized by what it does ("IAM security policies with PartiQL for DynamoDB")."""
    for statement in call.parameters["Statements"]:
        found = STATEMENT.match(statement["Statement"])
        assert found, statement
        yield Request(f"dynamodb:PartiQL{found['verb'].title()}", world.table(found["table"]))


# EC2 and Systems Manager


def _fleet(call: Call, world: World) -> Iterator[Request]:
    """Ask for the fleet, for what its instance is made of, for its tags, and for the role that it gets.

    A fleet launches "using your permissions": RunInstances for every part ("EC2 Fleet prerequisites", EC2 User Guide). The key
    ec2:LaunchTemplate is one of each part's, the fleet itself has none.
    """
    yield Request("ec2:CreateFleet", world.arn("ec2", "fleet/fleet-new"))
    for config in call.parameters["LaunchTemplateConfigs"]:
        template = world.arn("ec2", f"launch-template/{config['LaunchTemplateSpecification']['LaunchTemplateId']}")
        subnets = sorted({override["SubnetId"] for override in config.get("Overrides") or []})
        for action in ("ec2:CreateFleet", "ec2:RunInstances"):
            for resource in (*_parts(world, template), *(world.arn("ec2", f"subnet/{subnet}") for subnet in subnets)):
                yield Request(action, resource, {"ec2:LaunchTemplate": [template]})
    for kind in {one["ResourceType"] for one in call.parameters.get("TagSpecifications") or []}:
        for action in ("CreateFleet", "RunInstances"):
            yield Request("ec2:CreateTags", world.arn("ec2", f"{kind}/new"), {"ec2:CreateAction": [action]})
    yield Request("iam:PassRole", world.passed_role, {"iam:PassedToService": ["ec2.amazonaws.com"]})


def _parts(world: World, template: str) -> list[str]:
    fixed = {"launch-template": template, "image": f"arn:aws:ec2:{world.region}::image/ami-any"}
    return [fixed.get(part) or world.arn("ec2", f"{part}/any") for part in LAUNCH if part != "subnet"]


def _end_instances(call: Call, world: World) -> Iterator[Request]:
    for instance_id in call.parameters["InstanceIds"]:
        yield Request(call.name, world.instance(instance_id), world.tag_keys(instance_id, "aws:ResourceTag", "ec2:ResourceTag"))


def _send_command(call: Call, world: World) -> Iterator[Request]:
    """Ask for the document, and for each instance with its tags."""
    yield Request(call.name, world.arn("ssm", f"document/{call.parameters['DocumentName']}"))
    for instance_id in call.parameters["InstanceIds"]:
        yield Request(call.name, world.instance(instance_id), world.tag_keys(instance_id, "ssm:resourceTag", "aws:ResourceTag"))


# Step Functions


def _send_task(call: Call, world: World) -> Iterator[Request]:
    """Ask for the token's state machine.

    The reference names no resource; that AWS asks for the state machine is what its refusals say, and what CDK's grantTaskResponse
    allows (https://github.com/aws/aws-cdk/pull/8486).
    """
    yield Request(call.name, world.machine)


def _start(call: Call, world: World) -> Iterator[Request]:
    """Ask for an execution, and for what Step Functions needs to wait for its end.

    That is the pattern ``.sync`` ("Step Functions", "IAM policies for calling Step Functions", the Developer Guide).
    """
    machine = call.parameters["StateMachineArn"]
    yield Request(call.name, machine)
    if call.parameters.get("sync"):
        for action in ("states:DescribeExecution", "states:StopExecution"):
            yield Request(action, machine.replace(":stateMachine:", ":execution:") + ":any")
        for action in ("events:DescribeRule", "events:PutRule", "events:PutTargets"):
            yield Request(action, world.arn("events", "rule/StepFunctionsGetEventsForStepFunctionsExecutionRule"))


def _execution(call: Call, _world: World) -> Iterator[Request]:
    yield Request(call.name, call.parameters.get("executionArn") or call.parameters["ExecutionArn"])


# The rest


def _object(call: Call, _world: World) -> Iterator[Request]:
    bucket, action = f"arn:aws:s3:::{call.parameters['Bucket']}", OBJECT_ACTIONS[call.operation]
    yield Request(f"s3:{action}", f"{bucket}/{call.parameters['Key']}")
    if action == "GetObject":
        # "If the object doesn't exist, the error depends on whether you also have the s3:ListBucket permission" (GetObject, API Reference).
        yield Request("s3:ListBucket", bucket)


def _layer(call: Call, _world: World) -> Iterator[Request]:
    yield Request("lambda:GetLayerVersion", call.parameters["Arn"])


def _metrics(call: Call, _world: World) -> Iterator[Request]:
    yield Request(call.name, context={"cloudwatch:namespace": [call.parameters["Namespace"]]})


_ASKING: Mapping[str, Callable[[Call, World], Iterator[Request]]] = {
    "cloudwatch:PutMetricData": _metrics,
    "dynamodb:BatchExecuteStatement": _statements,
    "dynamodb:BatchGetItem": _batch,
    "dynamodb:GetItem": _item,
    "dynamodb:PutItem": _item,
    "dynamodb:Query": _item,
    "dynamodb:UpdateItem": _item,
    "ec2:CreateFleet": _fleet,
    "ec2:DescribeInstances": _everything,
    "ec2:TerminateInstances": _end_instances,
    "lambda:GetLayerVersionByArn": _layer,
    "s3:*": _object,
    "ssm:DescribeInstanceInformation": _everything,
    "ssm:GetCommandInvocation": _everything,
    "ssm:SendCommand": _send_command,
    "states:DescribeExecution": _execution,
    "states:SendTaskHeartbeat": _send_task,
    "states:SendTaskSuccess": _send_task,
    "states:StartExecution": _start,
    "states:StopExecution": _execution,
}
