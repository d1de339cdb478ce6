"""Checkpoints through SSM Run Command."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import botocore.session
import pytest
from botocore.exceptions import ConnectTimeoutError
from botocore.validate import ParamValidator

from spot_responder.adapters.clients import client
from spot_responder.adapters.ssm_commands import INSTANCES_PER_COMMAND, SsmCommands, entry, last_lines
from spot_responder.domain.errors import InstancesRefused, Refused, Unavailable
from spot_responder.domain.notices import Action
from spot_responder.use_cases.ports import Invocation
from tests.checkpoint_document import PATTERN
from tests.examples import COMMAND_ID, NOW, instance_id, notice, rebalance
from tests.fakes.aws import json_error, ok

if TYPE_CHECKING:
    from tests.fakes.aws import AwsOverHttp

SEND = "ssm:SendCommand"
INFORMATION = "ssm:DescribeInstanceInformation"
INVOCATION = "ssm:GetCommandInvocation"


@pytest.fixture(scope="module")
def commands(installed: AwsOverHttp) -> SsmCommands:
    """Return the commands of that AWS."""
    assert installed is not None
    return SsmCommands(client("ssm"), "spot-responder-checkpoint")


@pytest.mark.parametrize("count", [1, 2, INSTANCES_PER_COMMAND])
def test_one_command_for_many(commands: SsmCommands, aws: AwsOverHttp, count: int) -> None:
    """A command names its instances, our document and each instance's notice, in a form that the document accepts; its id comes back."""
    aws.always(SEND, ok(Command={"CommandId": COMMAND_ID}))
    notices = [notice(number) if number % 2 else rebalance(number) for number in range(count)]
    assert commands.ask_checkpoint(notices, NOW) == COMMAND_ID
    (call,) = aws.calls
    assert call.parameters["InstanceIds"] == [instance_id(number) for number in range(count)]
    assert call.parameters["DocumentName"] == "spot-responder-checkpoint"
    assert (call.parameters["MaxConcurrency"], call.parameters["MaxErrors"]) == ("100%", "100%")
    (words,) = call.parameters["Parameters"]["Notices"]
    assert re.fullmatch(PATTERN, words)
    assert words.split() == [entry(one) for one in notices]


def test_the_request_is_valid(commands: SsmCommands, aws: AwsOverHttp) -> None:
    """The request at its largest keeps to SSM's model: lists, lengths, ranges and patterns."""
    aws.always(SEND, ok(Command={"CommandId": COMMAND_ID}))
    commands.ask_checkpoint([notice(number, action=Action.TERMINATE) for number in range(50)], NOW)
    shape = botocore.session.get_session().get_service_model("ssm").operation_model("SendCommand").input_shape
    assert shape is not None
    report = ParamValidator().validate(aws.calls[0].parameters, shape)
    assert not report.has_errors(), report.generate_report()
    limits = shape.members["InstanceIds"].metadata
    assert limits["max"] == INSTANCES_PER_COMMAND


@pytest.mark.parametrize("action", [Action.TERMINATE, Action.STOP, Action.NONE])
def test_a_notice_as_the_document_reads_it(action: Action) -> None:
    """Each instance's word says who, what kind, what happens and until when, in epoch seconds, and passes the document's pattern."""
    word = entry(notice(action=action))
    kind, deadline = ("rebalance", 1795342200) if action is Action.NONE else ("interruption", 1795341720)
    assert word == f"{instance_id()}:{kind}:{action}:{deadline}"
    assert re.fullmatch(PATTERN, word)


@pytest.mark.parametrize(("age", "seconds"), [(3, 117), (100, 30), (119, 30)])
def test_delivery_ends_with_the_deadline(commands: SsmCommands, aws: AwsOverHttp, age: float, seconds: int) -> None:
    """SSM tries to deliver until the deadline, but no less than its own 30 seconds."""
    aws.always(SEND, ok(Command={"CommandId": COMMAND_ID}))
    commands.ask_checkpoint([notice(age=age)], NOW)
    assert aws.calls[0].parameters["TimeoutSeconds"] == seconds


@pytest.mark.parametrize(
    ("message", "named"),
    [
        ("", set()),
        ("Instances not in a valid state for account 123456789012", set()),
        (f"Instances [[{instance_id(2)}]] not in a valid state for account 123456789012", {instance_id(2)}),
        (f"Instances [[{instance_id(9)}]] not in a valid state", set()),
    ],
)
def test_instances_that_ssm_refuses(commands: SsmCommands, aws: AwsOverHttp, message: str, named: set[str]) -> None:
    """InvalidInstanceId is about some of the instances: those that the message names, or nobody knows which."""
    aws.always(SEND, json_error("InvalidInstanceId", message))
    with pytest.raises(InstancesRefused, match=r"^ssm:SendCommand: InvalidInstanceId: ") as caught:
        commands.ask_checkpoint([notice(1), notice(2)], NOW)
    assert caught.value.instance_ids == named


def test_an_instance_that_iam_denies(commands: SsmCommands, aws: AwsOverHttp) -> None:
    """An AccessDenied that names one of the instances (it lost its tag) is about that instance."""
    resource = f"arn:aws:ec2:us-east-1:123456789012:instance/{instance_id(2)}"
    aws.always(SEND, json_error("AccessDeniedException", f"User: x is not authorized to perform: ssm:SendCommand on resource: {resource}"))
    with pytest.raises(InstancesRefused) as caught:
        commands.ask_checkpoint([notice(1), notice(2)], NOW)
    assert caught.value.instance_ids == {instance_id(2)}


@pytest.mark.parametrize("code", ["InvalidDocument", "AccessDeniedException", "DuplicateInstanceId", "InvalidParameters"])
def test_a_command_that_is_refused(commands: SsmCommands, aws: AwsOverHttp, code: str) -> None:
    """An error that is about no instance refuses the whole command."""
    aws.always(SEND, json_error(code, "User: x is not authorized to perform: ssm:SendCommand on resource: document/spot-responder-checkpoint"))
    with pytest.raises(Refused, match=f"^ssm:SendCommand: {code}: ") as caught:
        commands.ask_checkpoint([notice()], NOW)
    assert not isinstance(caught.value, InstancesRefused)


def test_a_command_that_is_throttled(commands: SsmCommands, aws: AwsOverHttp) -> None:
    """ThrottlingException and no connection are worth another try."""
    for trouble in (json_error("ThrottlingException", "Rate exceeded"), ConnectTimeoutError(endpoint_url="https://ssm")):
        aws.always(SEND, trouble)
        with pytest.raises(Unavailable, match=r"^ssm:SendCommand: "):
            commands.ask_checkpoint([notice()], NOW)


def information(**status: str) -> object:
    """Return one entry for each instance of this number."""
    return [{"InstanceId": instance_id(int(number.removeprefix("n"))), "PingStatus": word} for number, word in status.items()]


def test_why_an_instance_cannot_be_reached(commands: SsmCommands, aws: AwsOverHttp) -> None:
    """Online instances have no reason; offline ones SSM's status; ones that SSM does not know are not managed."""
    aws.once(
        INFORMATION,
        ok(InstanceInformationList=information(n1="Online", n2="ConnectionLost"), NextToken="more"),
        ok(InstanceInformationList=information(n3="Inactive")),
    )
    reasons = commands.unreachable([instance_id(number) for number in (1, 2, 3, 4)])
    assert reasons == {
        instance_id(2): "the SSM agent is offline (ConnectionLost)",
        instance_id(3): "the SSM agent is offline (Inactive)",
        instance_id(4): "SSM does not manage this instance (InvalidInstanceId): no agent, or no instance profile that lets it register",
    }


def test_fifty_to_a_question(commands: SsmCommands, aws: AwsOverHttp) -> None:
    """DescribeInstanceInformation is asked about fifty instances at a time."""
    aws.always(INFORMATION, ok(InstanceInformationList=[]))
    commands.unreachable([instance_id(number) for number in range(60)])
    assert [len(call.parameters["Filters"][0]["Values"]) for call in aws.calls] == [50, 10]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"StatusDetails": "Failed", "ResponseCode": 3, "StandardErrorContent": "a\nb\nc\nd\n"}, Invocation("Failed", 3, "b / c / d")),
        ({"StatusDetails": "Failed", "ResponseCode": 1, "StandardErrorContent": "", "StandardOutputContent": "out"}, Invocation("Failed", 1, "out")),
        ({"StatusDetails": "DeliveryTimedOut", "ResponseCode": -1}, Invocation("DeliveryTimedOut", None, "")),
        ({}, Invocation("", None, "")),
    ],
)
def test_how_a_command_went(commands: SsmCommands, aws: AwsOverHttp, answer: dict[str, object], expected: Invocation) -> None:
    """The exit status (-1 means that nothing ran), SSM's detail, and the last lines of the errors, or of the output if there were none."""
    aws.always(INVOCATION, ok(**answer))
    assert commands.invocation(COMMAND_ID, instance_id()) == expected
    assert aws.calls[0].parameters == {"CommandId": COMMAND_ID, "InstanceId": instance_id()}


def test_a_command_that_ssm_does_not_know(commands: SsmCommands, aws: AwsOverHttp) -> None:
    """An unknown invocation is refused, not a crash."""
    aws.always(INVOCATION, json_error("InvocationDoesNotExist"))
    with pytest.raises(Refused):
        commands.invocation(COMMAND_ID, instance_id())


def test_last_lines_are_short_and_printable() -> None:
    """Of any output there remain three lines, no control characters, and no more than 400 characters."""
    assert last_lines("one\n\n two \n\x1b[31mthree\x07\nfour\n") == "two /  [31mthree  / four"
    assert len(last_lines("x" * 5000)) == 400
    assert last_lines("\n \n") == ""
