"""What an attacker would try with a role of the stack's, and is refused."""

from __future__ import annotations

import re

import pytest

from tests.rights.authorization import Call, World, requests
from tests.rights.policies import Request, Statement, is_allowed
from tests.rights.recorded import WORKER, world
from tests.rights.roles import (
    BUCKET,
    DOCUMENT,
    JOBS_TABLE,
    KNOWN,
    LAUNCH_TEMPLATE,
    MACHINE,
    NOTICES_TABLE,
    STACK,
    arn,
    resource_policies,
    role_arn,
    roles,
)
from tests.template.stack import ACCOUNT, ROOT, of_type

OPT_IN, JOB = "ssm:resourceTag/spot-responder:checkpoint", "aws:ResourceTag/spot-responder:job"
OTHER = "i-0fedcba9876543210"


def may(role: str, action: str, resource: str = "*", **keys: str) -> bool:
    """Tell whether a role may do that; keys as ``iam__PassedToService``."""
    context = {name.replace("__", ":"): [value] for name, value in keys.items()}
    return is_allowed(roles()[role], Request(action, resource, context))


def instance(instance_id: str = OTHER) -> str:
    """Return an instance's ARN."""
    return arn("ec2", f"instance/{instance_id}")


# SendCommand


def can_send(document: str = "spot-responder-checkpoint", **tags: dict[str, str]) -> bool:
    """Tell whether respond_to_notices may send a command by a document to instances with these tags."""
    call = Call("RespondToNoticesRole", "ssm", "SendCommand", {"DocumentName": document, "InstanceIds": list(tags)})
    asked = requests(call, World(ACCOUNT, "us-east-1", MACHINE, "", tags))
    return all(is_allowed(roles()[call.role], request) for request in asked)


def test_commands_reach_only_who_opted_in() -> None:
    """An instance without the tag, or with another value of it, gets no command, nor do the others of that command."""
    opted_in = {"spot-responder:checkpoint": "enabled"}
    assert can_send(i_1=opted_in)
    assert not can_send(i_1={})
    assert not can_send(i_1={"spot-responder:checkpoint": "Enabled"})
    assert not can_send(i_1={"spot-responder:checkpoint": "enabled "})
    assert not can_send(i_1=opted_in, i_2={"Name": "somebody else's"})


@pytest.mark.parametrize("document", ["AWS-RunShellScript", f"arn:aws:ssm:us-east-1:{ACCOUNT}:document/mine", "spot-responder-checkpoint2"])
def test_commands_are_of_our_document(document: str) -> None:
    """No other document is sent, AWS's own that run any command least of all."""
    assert not can_send(document, i_1={"spot-responder:checkpoint": "enabled"})
    assert not may("RespondToNoticesRole", "ssm:SendCommand", "arn:aws:ssm:us-east-1::document/AWS-RunShellScript")


def test_nobody_else_sends_commands_or_opens_sessions() -> None:
    """SendCommand is one function's; nobody starts sessions, or changes documents, functions, definitions, roles or policies."""
    for role in roles().keys() - {"RespondToNoticesRole"}:
        assert not may(role, "ssm:SendCommand", DOCUMENT)
    never = (
        "dynamodb:DeleteItem", "dynamodb:DeleteTable", "dynamodb:Scan", "ec2:CreateLaunchTemplateVersion", "ec2:DeleteTags",
        "ec2:ModifyInstanceAttribute", "ec2:RequestSpotInstances", "events:PutEvents", "fis:StartExperiment", "iam:AttachRolePolicy",
        "iam:CreateRole", "iam:PutRolePolicy", "kms:Decrypt", "lambda:InvokeFunction", "lambda:UpdateFunctionCode", "logs:DeleteLogGroup",
        "s3:ListAllMyBuckets", "s3:PutBucketPolicy", "ssm:GetParameter", "ssm:StartSession", "ssm:UpdateDocument", "states:SendTaskFailure",
        "states:UpdateStateMachine", "sts:AssumeRole",
    )  # fmt: skip
    for role in roles():
        assert [action for action in never if may(role, action)] == []


# Launching


def test_no_other_role_is_passed() -> None:
    """The job's role gives instances its own instances' role, and nothing but an instance gets that."""
    ours = role_arn("JobInstanceRole")
    assert may("SpotJobRole", "iam:PassRole", ours, iam__PassedToService="ec2.amazonaws.com")
    assert not may("SpotJobRole", "iam:PassRole", ours, iam__PassedToService="lambda.amazonaws.com")
    assert not may("SpotJobRole", "iam:PassRole", ours)
    for other in (role_arn("SpotJobRole"), f"arn:aws:iam::{ACCOUNT}:role/Admin", ours + "2"):
        assert not may("SpotJobRole", "iam:PassRole", other, iam__PassedToService="ec2.amazonaws.com")
    for role in roles().keys() - {"SpotJobRole"}:
        assert not may(role, "iam:PassRole", ours, iam__PassedToService="ec2.amazonaws.com")


@pytest.mark.parametrize("action", ["ec2:CreateFleet", "ec2:RunInstances"])
def test_no_other_launch_template_is_used(action: str) -> None:
    """A template of somebody else's is refused, as such and for every part of the instance."""
    ours, theirs = (arn("ec2", f"launch-template/{name}") for name in (LAUNCH_TEMPLATE, "lt-0fedcba9876543210"))
    assert may("SpotJobRole", action, ours, ec2__LaunchTemplate=ours)
    assert not may("SpotJobRole", action, theirs, ec2__LaunchTemplate=theirs)
    for part in (instance("new"), arn("ec2", "image/ami-1", account=""), arn("ec2", "subnet/subnet-1"), arn("ec2", "volume/new")):
        assert may("SpotJobRole", action, part, ec2__LaunchTemplate=ours)
        assert not may("SpotJobRole", action, part, ec2__LaunchTemplate=theirs)


def test_nothing_is_launched_without_a_template() -> None:
    """An instance whose parts somebody puts together, without any template, is refused part by part."""
    for part in (instance("new"), arn("ec2", "image/ami-1", account=""), arn("ec2", "subnet/subnet-1"), arn("ec2", "volume/new")):
        assert not may("SpotJobRole", "ec2:RunInstances", part)


def test_tags_are_given_at_launch_alone() -> None:
    """No instance that is there is tagged: it could be opted in, or made a job's and ended."""
    assert may("SpotJobRole", "ec2:CreateTags", instance("new"), ec2__CreateAction="CreateFleet")
    assert not may("SpotJobRole", "ec2:CreateTags", instance())
    assert not may("SpotJobRole", "ec2:CreateTags", instance(), ec2__CreateAction="CreateVolume")


@pytest.mark.parametrize("role", ["SpotJobRole", "EndJobRole"])
def test_only_instances_of_jobs_are_ended(role: str) -> None:
    """An instance that bears no job's tag is ended by nobody."""
    assert is_allowed(roles()[role], Request("ec2:TerminateInstances", instance(), {JOB: ["a"]}))
    assert not may(role, "ec2:TerminateInstances", instance())
    assert not may(role, "ec2:TerminateInstances", instance(), **{"aws__ResourceTag/Name": "Fis/Spot"})


@pytest.mark.parametrize(
    ("role", "action", "tag"),
    [
        ("InterruptExperimentRole", "ec2:SendSpotInstanceInterruptions", ("Name", "Fis/Spot")),
        ("TerminateExperimentRole", "ec2:TerminateInstances", ("Name", "Fis/Spot")),
        ("BatchExperimentRole", "ec2:SendSpotInstanceInterruptions", ("type", "Spot")),
    ],
)
def test_experiments_hit_only_what_is_tagged_for_them(role: str, action: str, tag: tuple[str, str]) -> None:
    """An experiment's role reaches no instance without the tag at which the experiment aims, whatever its template is changed into."""
    key, value = tag
    assert may(role, action, instance(), **{f"aws__ResourceTag/{key}": value})
    assert not may(role, action, instance())
    assert not may(role, action, instance(), **{f"aws__ResourceTag/{key}": "other"})


# From an instance that was taken over


def updates(*attributes: str, table: str = JOBS_TABLE) -> bool:
    """Tell whether an instance may update an item with these attributes."""
    return is_allowed(roles()["JobInstanceRole"], Request("dynamodb:UpdateItem", table, {"dynamodb:Attributes": ["job_id", *attributes]}))


def test_an_instance_changes_nothing_of_what_a_job_is() -> None:
    """Whoever holds an instance's credentials can write progress, and can neither change what jobs run nor who runs them."""
    assert updates("percent", "owner", "owner_id")
    for attribute in ("command", "environment", "checkpoint_uri", "execution", "token", "job_minutes", "checkpoint_minutes", "previous_dead", "new"):
        assert not updates("percent", attribute), attribute
    assert not updates("percent", table=NOTICES_TABLE)


def test_an_instance_reaches_nothing_else() -> None:
    """It reaches no other table, index, bucket, state machine, layer and namespace, and cannot make or list any job."""
    for action, resource in {
        "dynamodb:PutItem": JOBS_TABLE,
        "dynamodb:Query": f"{JOBS_TABLE}/index/by_instance",
        "dynamodb:GetItem": NOTICES_TABLE,
        "s3:GetObject": "arn:aws:s3:::somebody-elses/key",
        "s3:PutObject": f"arn:aws:s3:::{BUCKET}2/key",
        "states:StartExecution": MACHINE,
        "states:SendTaskSuccess": KNOWN["EndJob"],
        "states:SendTaskHeartbeat": arn("states", "stateMachine:other"),
        "lambda:GetLayerVersion": arn("lambda", "layer:other-AgentLayer:1"),
        "ec2:TerminateInstances": instance(WORKER),
        "ssm:UpdateInstanceInformation": arn("ssm", "managed-instance/mi-1"),
    }.items():
        assert not may("JobInstanceRole", action, resource), action


def test_an_instance_gets_the_agent_of_its_template() -> None:
    """While the stack is updated, an instance launched with the template before fetches the version that this one names."""
    for version in (1, 7):
        assert may("JobInstanceRole", "lambda:GetLayerVersion", arn("lambda", f"layer:{STACK}-AgentLayer:{version}"))


def test_a_task_token_of_another_state_machine() -> None:
    """Tokens are sent to the stack's own state machine alone. Between its jobs IAM cannot tell: see docs/threat-model.md."""
    for role in ("JobInstanceRole", "RespondToNoticesRole", "RecordInstanceStateRole"):
        call = Call(role, "stepfunctions", "SendTaskSuccess", {"taskToken": "token"})
        ours, theirs = world(), World(ACCOUNT, "us-east-1", arn("states", "stateMachine:other"), "")
        assert [is_allowed(roles()[role], *requests(call, where)) for where in (ours, theirs)] == [True, False]


# What others may send


def lets_in(policy: str, service: str, action: str, **keys: str) -> bool:
    """Tell whether a resource's policy lets an AWS service in."""
    context = {name.replace("__", ":"): [value] for name, value in keys.items()}
    statements: list[Statement] = [
        {name: value for name, value in statement.items() if name != "Principal"}
        for statement in resource_policies()[policy]
        if statement["Principal"] in ("*", {"Service": service})
    ]
    (resource, *_) = {str(statement["Resource"]) for statement in statements if statement["Effect"] == "Allow"} or {"*"}
    return is_allowed(statements, Request(action, resource, context))


def test_dead_letters_come_from_our_rules() -> None:
    """A rule of somebody else's cannot fill the queue; nor does anybody speak to it without TLS."""
    ours, theirs = KNOWN_RULE, arn("events", "rule/other")
    assert lets_in("DeadLettersPolicy", "events.amazonaws.com", "sqs:SendMessage", aws__SourceArn=ours, aws__SecureTransport="true")
    assert not lets_in("DeadLettersPolicy", "events.amazonaws.com", "sqs:SendMessage", aws__SourceArn=theirs, aws__SecureTransport="true")
    assert not lets_in("DeadLettersPolicy", "events.amazonaws.com", "sqs:SendMessage", aws__SourceArn=ours, aws__SecureTransport="false")
    assert not lets_in("DeadLettersPolicy", "sns.amazonaws.com", "sqs:SendMessage", aws__SourceArn=ours)


KNOWN_RULE = arn("events", "rule/spot-responder-RecordNoticeInterruptionWarning")


def test_notifications_come_from_this_account_and_by_tls() -> None:
    """An alarm of another account tells nobody anything, and nothing comes without TLS."""
    for account, secure, expected in ((ACCOUNT, "true", True), ("999999999999", "true", False), (ACCOUNT, "false", False)):
        keys = {"aws__SourceAccount": account, "aws__SecureTransport": secure}
        assert lets_in("NotificationsPolicy", "cloudwatch.amazonaws.com", "sns:Publish", **keys) is expected


def test_every_rule_listens_to_aws_alone() -> None:
    """Each rule names sources that begin with ``aws.``: PutEvents takes such from nobody but AWS, so that no one else's event gets in."""
    for rule in of_type("AWS::Events::Rule").values():
        assert all(re.fullmatch(r"aws\.\w+", source) for source in rule["EventPattern"]["source"])
        assert "EventBusName" not in rule


def test_the_page_names_tests_that_exist() -> None:
    """What docs/threat-model.md says is shown by a test, a test shows."""
    page = (ROOT / "docs/threat-model.md").read_text()
    tests = "".join(path.read_text() for path in (ROOT / "tests").rglob("*.py"))
    named = set(re.findall(r"`(test_\w+)`", page))
    assert named
    assert [name for name in sorted(named) if f"def {name}(" not in tests] == []
