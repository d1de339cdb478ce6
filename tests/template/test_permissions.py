"""Least privilege of the functions, by the template alone; that each call is allowed, and each right needed, tests/rights shows."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

import botocore.session
import pytest
from botocore import xform_name

from tests.examples import event
from tests.fakes.aws import AwsOverHttp
from tests.lambdas import forget_parts, invoke, start_cold
from tests.rights.policies import Request, actions, applying, listed
from tests.rights.recorded import by_functions
from tests.rights.roles import DOCUMENT, JOBS_TABLE, KNOWN, LAUNCH_TEMPLATE, MACHINE, NOTICES_TABLE, STACK, arn, role_arn, roles
from tests.template.stack import FUNCTIONS, ROOT, of_type, resolved

if TYPE_CHECKING:
    from collections.abc import Iterator

MODELS = {"dynamodb": ("dynamodb", "dynamodbstreams"), "states": ("stepfunctions",)}
"""botocore's models of a service, where they are not named as IAM names it."""
NO_OPERATION = {
    "dynamodb:PartiQLUpdate",
    "ec2:SendSpotInstanceInterruptions",
    "iam:PassRole",
    "s3:ListBucket",
    "ssm:UpdateInstanceInformation",
}
"""Actions that are IAM's alone: no operation of the API has their name."""
NO_MODEL = {"ec2messages", "ssmmessages"}
"""What only the SSM agent speaks."""
OWN = {
    *KNOWN.values(),
    DOCUMENT,
    arn("ec2", f"launch-template/{LAUNCH_TEMPLATE}"),
    arn("lambda", f"layer:{STACK}-AgentLayer"),
    MACHINE.replace(":stateMachine:", ":execution:"),
    *(role_arn(name) for name in roles()),
}
"""The stack's own resources; what goes on after a slash or a colon is a part of one."""
KNOWS_NO_RESOURCE = {
    "ec2:DescribeInstances", "ssm:DescribeInstanceInformation", "ssm:GetCommandInvocation", "cloudwatch:PutMetricData",
}  # fmt: skip
"""What cannot be allowed on less than everything: the Service Authorization Reference names no type of resource."""
INSTANCES = "instance/*"
LAUNCHED = {"image/*", INSTANCES, "network-interface/*", "security-group/*", "subnet/*", "volume/*"}
OF_OTHERS = {
    "ssm:SendCommand": ({INSTANCES}, "ssm:resourceTag/spot-responder:checkpoint"),
    "ec2:CreateFleet": (LAUNCHED, "ec2:LaunchTemplate"),
    "ec2:RunInstances": (LAUNCHED, "ec2:LaunchTemplate"),
    "ec2:CreateTags": ({INSTANCES}, "ec2:CreateAction"),
    "ec2:TerminateInstances": ({INSTANCES}, "aws:ResourceTag/"),
    "ec2:SendSpotInstanceInterruptions": ({INSTANCES}, "aws:ResourceTag/"),
}
"""What is allowed on resources that the stack does not have when it is deployed, and the condition key that makes them its own."""
UNCONDITIONAL = {
    ("ec2:CreateFleet", arn("ec2", "fleet/*")): "a fleet bears no template's name; what it launches does",
    ("ssm:UpdateInstanceInformation", arn("ec2", INSTANCES)): "an instance's id is not known before it runs; it signs for its own",
    **dict.fromkeys(
        ((f"events:{operation}", arn("events", "rule/StepFunctionsGetEventsForStepFunctionsExecutionRule"))
         for operation in ("DescribeRule", "PutRule", "PutTargets")),
        "Step Functions' own rule, one in an account, by which it hears that an execution ended",
    ),
}  # fmt: skip
"""And what without one, with the reason."""


def test_the_functions_went_all_their_ways() -> None:
    """Every operation that stands in the adapters' code was among the recorded calls: none was overlooked."""
    assert {f"{call.service}:{call.operation}" for call in by_functions()} == set(_in_the_code())


def _in_the_code() -> Iterator[str]:
    """Yield the operations whose client's method, or paginator, the adapters' code names."""
    session = botocore.session.get_session()
    services = {"ec2": "ec2", "ssm": "ssm", "dynamodb": "dynamodb", "stepfunctions": "sfn"}
    methods = {
        service: {xform_name(operation): f"{called}:{operation}" for operation in session.get_service_model(service).operation_names}
        for service, called in services.items()
    }
    for path in (ROOT / "layers/responder/spot_responder/adapters").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Attribute(value=ast.Attribute(value=ast.Name(id="self"), attr=service), attr=method) if method in methods.get(service, ()):
                    yield methods[service][method]
                case ast.Call(
                    func=ast.Attribute(value=ast.Attribute(value=ast.Name(id="self"), attr=service), attr="get_paginator"),
                    args=[ast.Constant(value=str(method))],
                ):
                    yield methods[service][method]


def test_every_action_exists() -> None:
    """Each action is an operation of its service: a misspelt one would grant nothing."""
    session = botocore.session.get_session()
    for action in {action for statements in roles().values() for action in actions(statements)} - NO_OPERATION:
        service, operation = action.split(":")
        assert service in NO_MODEL or any(
            operation in session.get_service_model(model).operation_names for model in MODELS.get(service, (service,))
        ), action


def test_commands_go_by_our_document_to_who_opted_in() -> None:
    """SendCommand is allowed by our own document alone, to instances that bear the opt-in tag alone."""
    sending = {
        (role, resource): statement.get("Condition")
        for role, statements in roles().items()
        for statement in statements
        if "ssm:SendCommand" in listed(statement["Action"])
        for resource in listed(statement["Resource"])
    }
    assert sending == {
        ("RespondToNoticesRole", DOCUMENT): None,
        ("RespondToNoticesRole", arn("ec2", "instance/*")): {"StringEquals": {"ssm:resourceTag/spot-responder:checkpoint": "enabled"}},
    }


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_tables_and_the_log_are_our_own(name: str) -> None:
    """The tables, stream, index, state machine, log group and queue are the stack's own, by their ARNs."""
    own = {
        "dynamodb": {NOTICES_TABLE, KNOWN["NoticesTable.StreamArn"], JOBS_TABLE, f"{JOBS_TABLE}/index/by_instance"},
        "states": {MACHINE},
        "logs": {KNOWN["StoryLogGroup.Arn"]},
        "sqs": {KNOWN["DeadLetters.Arn"]},
    }
    for statement in roles()[f"{name}Role"]:
        services = {action.split(":")[0] for action in listed(statement["Action"])}
        for service in services & own.keys():
            assert set(listed(statement["Resource"])) <= own[service]


def _is_own(resource: str) -> bool:
    return resource in OWN or resource.startswith(tuple(f"{own}{mark}" for own in OWN for mark in "/:"))


def _is_ours_by_condition(action: str, resource: str, condition: dict[str, dict[str, object]]) -> bool:
    kinds, key = OF_OTHERS.get(action, (set(), ""))
    keys = [name for operator in condition.values() for name in operator]
    return resource.split(":", 5)[-1] in kinds and any(name.startswith(key) for name in keys)


@pytest.mark.parametrize("role", roles())
def test_a_role_reaches_only_what_is_the_stacks(role: str) -> None:
    """Each right of each role is on the stack's own resources, or on those that a condition makes so; of the rest, a reason is known."""
    for statement in roles()[role]:
        for action in listed(statement["Action"]):
            for resource in listed(statement["Resource"]):
                if resource == "*":
                    assert action in KNOWS_NO_RESOURCE or action.split(":")[0] in NO_MODEL, action
                elif not _is_own(resource) and (action, resource) not in UNCONDITIONAL:
                    assert _is_ours_by_condition(action, resource, statement.get("Condition", {})), (action, resource)


def test_no_exception_is_left_over() -> None:
    """Every right that has an excuse is one that some role has."""
    given = [statement for statements in roles().values() for statement in statements]
    assert KNOWS_NO_RESOURCE | OF_OTHERS.keys() <= actions(given)
    assert [one for one in UNCONDITIONAL if not applying(given, Request(*one))] == []


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_has_a_role_of_its_own(name: str) -> None:
    """No two functions share a role."""
    assert resolved(of_type("AWS::Lambda::Function")[name]["Role"]) == f"{name}Role.Arn"


def test_eventbridge_may_invoke_only_by_our_rules() -> None:
    """EventBridge's permission to invoke a function names the rule."""
    permissions = of_type("AWS::Lambda::Permission")
    assert len(permissions) == 4
    for permission in permissions.values():
        assert permission["Principal"] == "events.amazonaws.com"
        assert resolved(permission["SourceArn"]).endswith(".Arn")


def test_an_unused_event_makes_no_call() -> None:
    """The example of an event that is none of ours needs no permission at all."""
    with pytest.MonkeyPatch.context() as patch:
        aws = AwsOverHttp()
        aws.install(patch)
        start_cold(patch)
        invoke("record_notice", event("Scheduled Event"))
        forget_parts()
    assert aws.calls == []
