"""Run Command of a running sandbox: documents that run on instances, with SSM's answers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from sandbox.remote import Remote
from sandbox.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

DEADLINE = 60.0
DOCUMENT = {
    "schemaVersion": "2.2",
    "parameters": {"Kind": {"type": "String", "allowedPattern": "^[a-z-]+$", "interpolationType": "ENV_VAR"}},
    "mainSteps": [
        {
            "action": "aws:runShellScript",
            "name": "say",
            "precondition": {"StringEquals": ["platformType", "Linux"]},
            "inputs": {"timeoutSeconds": "60", "runCommand": ['echo "$SSM_Kind on $AWS_SSM_INSTANCE_ID"', "echo oops >&2", "exit 7"]},
        }
    ],
}


@pytest.fixture(scope="module")
def remote(sandbox: Any) -> Remote:
    """The sandbox."""
    return Remote(sandbox.endpoint)


@pytest.fixture(scope="module")
def instances(remote: Remote) -> Iterator[list[str]]:
    """Three managed instances."""
    iam, ec2 = remote.client("iam"), remote.client("ec2")
    iam.create_role(RoleName="emulator-ssm", AssumeRolePolicyDocument="{}")
    iam.create_instance_profile(InstanceProfileName="emulator-ssm")
    iam.add_role_to_instance_profile(InstanceProfileName="emulator-ssm", RoleName="emulator-ssm")
    answer = ec2.run_instances(ImageId="ami-0123456789abcdef0", MinCount=3, MaxCount=3, IamInstanceProfile={"Name": "emulator-ssm"})
    ids = [instance["InstanceId"] for instance in answer["Instances"]]
    wait_for(lambda: set(ids) <= set(_online(remote)), DEADLINE, "the agents' registration")
    yield ids
    ec2.terminate_instances(InstanceIds=ids)


@pytest.fixture(scope="module")
def document(remote: Remote) -> Iterator[str]:
    """The name of a document that ends with status 7."""
    ssm = remote.client("ssm")
    ssm.create_document(Name="Emulator-Say", DocumentType="Command", DocumentFormat="JSON", Content=json.dumps(DOCUMENT))
    yield "Emulator-Say"
    ssm.delete_document(Name="Emulator-Say")


def _online(remote: Remote) -> list[str]:
    shown = remote.client("ssm").describe_instance_information(Filters=[{"Key": "PingStatus", "Values": ["Online"]}])
    return [info["InstanceId"] for info in shown["InstanceInformationList"]]


def _ended(remote: Remote, command_id: str) -> dict[str, Any]:
    """Wait for the end of a command and return it."""

    def look() -> dict[str, Any] | None:
        command: dict[str, Any] = remote.client("ssm").list_commands(CommandId=command_id)["Commands"][0]
        return command if command["Status"] not in {"Pending", "InProgress", "Cancelling"} else None

    return wait_for(look, DEADLINE, "the command's end") or {}


def _refusal(call: Any, **request: Any) -> str:
    with pytest.raises(ClientError) as refused:
        call(**request)
    return str(refused.value.response["Error"]["Code"])


def test_document_runs_on_the_instance(remote: Remote, instances: list[str], document: str) -> None:
    """The document's script runs with its parameter in the environment; status, exit code and both outputs come back."""
    ssm = remote.client("ssm")
    sent = ssm.send_command(InstanceIds=instances[:1], DocumentName=document, Parameters={"Kind": ["interruption"]})["Command"]
    assert sent["Status"] == "Pending"
    _ended(remote, sent["CommandId"])
    result = ssm.get_command_invocation(CommandId=sent["CommandId"], InstanceId=instances[0])
    assert (result["Status"], result["StatusDetails"], result["ResponseCode"]) == ("Failed", "Failed", 7)
    assert result["StandardOutputContent"] == f"interruption on {instances[0]}\n"
    assert result["StandardErrorContent"] == "oops\n"


def test_default_of_max_errors_stops_the_rest(remote: Remote, instances: list[str], document: str) -> None:
    """With MaxErrors at its default the first failure terminates what was not sent yet."""
    ssm = remote.client("ssm")
    request = {"InstanceIds": instances, "DocumentName": document, "Parameters": {"Kind": ["x"]}, "MaxConcurrency": "1"}
    command_id = ssm.send_command(**request)["Command"]["CommandId"]
    assert _ended(remote, command_id)["Status"] == "Failed"
    shown = ssm.list_command_invocations(CommandId=command_id)["CommandInvocations"]
    assert [invocation["StatusDetails"] for invocation in shown] == ["Failed", "Terminated", "Terminated"]


def test_calls_that_are_refused(remote: Remote, instances: list[str], document: str) -> None:
    """SSM's refusals reach the caller with their codes, and nothing runs."""
    send = remote.client("ssm").send_command
    good = {"InstanceIds": instances, "DocumentName": document, "Parameters": {"Kind": ["x"]}}
    assert _refusal(send, **good | {"InstanceIds": [*instances, "i-0aaaaaaaaaaaaaaaa"]}) == "InvalidInstanceId"
    assert _refusal(send, **good | {"InstanceIds": instances * 2}) == "DuplicateInstanceId"
    assert _refusal(send, **good | {"DocumentName": "Nothing"}) == "InvalidDocument"
    assert _refusal(send, **good | {"Parameters": {"Kind": ["$(reboot)"]}}) == "InvalidParameters"
    assert _refusal(send, **good | {"Parameters": {}}) == "InvalidParameters"
    assert _refusal(send, **good | {"DocumentVersion": "9"}) == "InvalidDocumentVersion"


def test_bad_document_is_refused(remote: Remote) -> None:
    """CreateDocument checks what it is given."""
    create = remote.client("ssm").create_document
    broken = json.dumps(DOCUMENT | {"mainSteps": []})
    assert _refusal(create, Name="Emulator-Bad", DocumentType="Command", Content=broken) == "InvalidDocumentContent"


def test_offline_agent_fails_alone(remote: Remote, instances: list[str]) -> None:
    """An agent that is cut off shows as ConnectionLost and times out; the others get their command."""
    ssm = remote.client("ssm")
    remote.control("ssm/offline", {"instanceIds": instances[:1]})
    try:
        shown = ssm.describe_instance_information(Filters=[{"Key": "InstanceIds", "Values": instances[:1]}])
        assert shown["InstanceInformationList"][0]["PingStatus"] == "ConnectionLost"
        parameters = {"commands": ["echo saved"], "executionTimeout": ["30"]}
        sent = ssm.send_command(InstanceIds=instances, DocumentName="AWS-RunShellScript", Parameters=parameters, TimeoutSeconds=30, MaxErrors="100%")
        _ended(remote, sent["Command"]["CommandId"])
        details = ssm.list_command_invocations(CommandId=sent["Command"]["CommandId"])["CommandInvocations"]
        assert [entry["StatusDetails"] for entry in details] == ["DeliveryTimedOut", "Success", "Success"]
    finally:
        remote.control("ssm/online", {"instanceIds": instances[:1]})


def test_cancel(remote: Remote, instances: list[str]) -> None:
    """A command that is cancelled ends on the instance."""
    ssm = remote.client("ssm")
    parameters = {"commands": ["sleep 600"]}
    command_id = ssm.send_command(InstanceIds=instances[:1], DocumentName="AWS-RunShellScript", Parameters=parameters)["Command"]["CommandId"]
    wait_for(lambda: ssm.list_commands(CommandId=command_id)["Commands"][0]["Status"] == "InProgress", DEADLINE, "the command's start")
    ssm.cancel_command(CommandId=command_id)
    assert _ended(remote, command_id)["Status"] == "Cancelled"


def test_invocation_of_another_command_does_not_exist(remote: Remote, instances: list[str]) -> None:
    """GetCommandInvocation knows only what was sent."""
    get = remote.client("ssm").get_command_invocation
    assert _refusal(get, CommandId="00000000-0000-0000-0000-000000000000", InstanceId=instances[0]) == "InvocationDoesNotExist"


def test_parameters_stay_with_localstack(remote: Remote) -> None:
    """The public parameters of Amazon Linux and one's own parameters work as before."""
    ssm = remote.client("ssm")
    name = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64"
    assert ssm.get_parameter(Name=name)["Parameter"]["Value"].startswith("ami-")
    ssm.put_parameter(Name="/emulator", Value="1", Type="String", Overwrite=True)
    assert ssm.get_parameter(Name="/emulator")["Parameter"]["Value"] == "1"
