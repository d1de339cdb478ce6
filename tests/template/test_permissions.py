"""Least privilege: each call that the functions make is granted, and nothing is granted that is never used."""

from __future__ import annotations

import ast
import json
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import botocore.session
import pytest
from botocore import xform_name

from spot_responder.adapters.notices_table import to_item
from spot_responder.domain.notices import Action, Notice, NoticeKind
from tests.examples import ACCOUNT, REGION, event, instance_id, interruption_event, result_event, state_event
from tests.fakes.aws import AwsOverHttp, json_error, ok
from tests.lambdas import forget_parts, invoke, job_item, serve_jobs, start_cold, stream
from tests.template.stack import FUNCTIONS, ROOT, WITH_JOB, of_type, resolved, snake

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.fakes.aws import Call, Reply

GRANTED_AS = {
    "sfn:SendTaskSuccess": "states:SendTaskSuccess",  # Step Functions' prefix in IAM is not that of its API
    "dynamodb:BatchExecuteStatement": "dynamodb:PartiQLUpdate",  # each statement is authorized by what it does ("IAM security policies with PartiQL")
}
SERVICES_OWN = {
    "logs:CreateLogStream": "Lambda writes the function's lines with the function's role",
    "logs:PutLogEvents": "likewise",
    "sqs:SendMessage": "Lambda sends failed events and batches to the dead letters with the function's role",
}
STREAM_READS = {
    "dynamodb:DescribeStream": "the event source mapping reads the stream with the function's role",
    "dynamodb:GetRecords": "likewise",
    "dynamodb:GetShardIterator": "likewise",
    "dynamodb:ListStreams": "likewise",
}
NO_OPERATION = {"dynamodb:PartiQLUpdate"}
"""Actions that are IAM's alone: no operation of the API has their name."""


def statements(name: str) -> list[dict[str, Any]]:
    """Return all that a function's role allows in a stack with the job part, resolved."""
    role = resolved(of_type("AWS::IAM::Role")[f"{name}Role"], WITH_JOB)
    shared = [resolved(of_type("AWS::IAM::ManagedPolicy")[policy])["PolicyDocument"] for policy in role["ManagedPolicyArns"]]
    added = [resolved(policy, WITH_JOB) for policy in of_type("AWS::IAM::Policy").values()]
    attached = [policy["PolicyDocument"] for policy in added if policy["Roles"] == [f"{name}Role"]]
    documents = [*shared, *(policy["PolicyDocument"] for policy in role["Policies"]), *attached]
    parsed = [json.loads(document) if isinstance(document, str) else document for document in documents]
    return [statement for document in parsed for statement in document["Statement"]]


def listed(value: str | list[str]) -> list[str]:
    """Return IAM's one or many as a list."""
    return [value] if isinstance(value, str) else value


def actions(name: str) -> set[str]:
    """Return the actions that a function's role allows."""
    return {action for statement in statements(name) for action in listed(statement["Action"])}


@pytest.fixture(scope="module")
def made() -> dict[str, set[str]]:
    """Return the calls that each function made when it went all its ways."""
    notices = [Notice(NoticeKind.INTERRUPTION, Action.TERMINATE, instance_id(n), ACCOUNT, REGION, datetime.now(UTC), "e") for n in (1, 2)]
    with pytest.MonkeyPatch.context() as patch:
        aws = AwsOverHttp()
        aws.install(patch)
        start_cold(patch)
        patch.setenv("JOBS_TABLE", "jobs")
        serve_jobs(aws, notices)
        aws.once("ssm:SendCommand", json_error("InvalidInstanceId"))
        aws.always("ssm:DescribeInstanceInformation", ok(InstanceInformationList=[{"InstanceId": instance_id(1), "PingStatus": "Online"}]))
        aws.always("ssm:GetCommandInvocation", ok(StatusDetails="Failed", ResponseCode=1))
        aws.always("dynamodb:Query", _found)
        aws.always("dynamodb:PutItem", ok())
        aws.always("dynamodb:UpdateItem", ok())
        events = {
            "RecordNotice": interruption_event(),
            "RespondToNotices": stream(notices),
            "RecordCheckpoint": result_event(status="Failed"),
            "RecordInstanceState": state_event(),
        }
        calls = {name: set(_calls(aws, name, happened)) for name, happened in events.items()}
        forget_parts()
    return calls


def _found(call: Call) -> Reply:
    """Return what there is of an instance: in the jobs table an attempt that runs on it, else an old notice."""
    old = Notice(NoticeKind.REBALANCE, Action.NONE, instance_id(), ACCOUNT, REGION, datetime(2026, 1, 1, tzinfo=UTC), "e")
    return ok(Items=[job_item(f"job-{instance_id()}") if call.parameters["TableName"] == "jobs" else to_item(old)])


def _calls(aws: AwsOverHttp, name: str, happened: object) -> Iterator[str]:
    aws.calls.clear()
    invoke(snake(name), happened)
    yield from (call.operation for call in aws.calls)


def test_the_functions_went_all_their_ways(made: dict[str, set[str]]) -> None:
    """Every operation that stands in the adapters' code was among the calls: none was overlooked."""
    assert set().union(*made.values()) == set(_in_the_code())


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


@pytest.mark.parametrize("name", FUNCTIONS)
def test_what_is_called_is_granted_and_nothing_else(made: dict[str, set[str]], name: str) -> None:
    """A function's role allows the calls that it makes, what Lambda does in its name, and nothing else."""
    own = STREAM_READS if name == "RespondToNotices" else {}
    needed = {GRANTED_AS.get(call, call) for call in made[name]}
    assert actions(name) == needed | SERVICES_OWN.keys() | own.keys()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_action_exists(name: str) -> None:
    """Each action is an operation of its service: a misspelt one would grant nothing."""
    session = botocore.session.get_session()
    known = {"dynamodb": ("dynamodb", "dynamodbstreams"), "states": ("stepfunctions",)}
    for action in actions(name) - NO_OPERATION:
        service, operation = action.split(":")
        assert any(operation in session.get_service_model(model).operation_names for model in known.get(service, (service,))), action


@pytest.mark.parametrize("name", FUNCTIONS)
def test_nothing_is_changed_everywhere(name: str) -> None:
    """What is allowed on all resources only reads, and no action is a pattern."""
    for statement in statements(name):
        assert statement["Effect"] == "Allow"
        for action in listed(statement["Action"]):
            assert "*" not in action
            assert "*" not in listed(statement["Resource"]) or re.match(r"\w+:(Describe|Get|List)", action), action


def test_commands_go_by_our_document_to_who_opted_in() -> None:
    """SendCommand is allowed by our own document alone, to instances that bear the opt-in tag alone."""
    sending = [statement for statement in statements("RespondToNotices") if "ssm:SendCommand" in listed(statement["Action"])]
    by_resource = {statement["Resource"]: statement.get("Condition") for statement in sending}
    assert by_resource == {
        "arn:aws:ssm:us-east-1:123456789012:document/spot-responder-checkpoint": None,
        "arn:aws:ec2:us-east-1:123456789012:instance/*": {"StringEquals": {"ssm:resourceTag/spot-responder:checkpoint": "enabled"}},
    }
    assert all("ssm:SendCommand" not in actions(name) for name in FUNCTIONS if name != "RespondToNotices")


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_tables_and_the_log_are_our_own(name: str) -> None:
    """The tables, stream, index, state machine, log group and queue are the stack's own, by their ARNs."""
    own = {
        "dynamodb": {"NoticesTable.Arn", "NoticesTable.StreamArn", "JobsTable.Arn", "JobsTable.Arn/index/by_instance"},
        "states": {"SpotChaosStateMachine"},
        "logs": {"StoryLogGroup.Arn"},
        "sqs": {"DeadLetters.Arn"},
    }
    for statement in statements(name):
        services = {action.split(":")[0] for action in listed(statement["Action"])}
        for service in services & own.keys():
            assert set(listed(statement["Resource"])) <= own[service]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_only_lambda_takes_the_role(name: str) -> None:
    """A function's role is taken by Lambda and by nobody else, and is that function's alone."""
    (statement,) = of_type("AWS::IAM::Role")[f"{name}Role"]["AssumeRolePolicyDocument"]["Statement"]
    assert statement == {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
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
