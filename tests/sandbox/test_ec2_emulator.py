"""EC2 of a running sandbox, through boto3 and the controls, as its users see it."""

from __future__ import annotations

import base64
import json
import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from sandbox.control import SandboxError
from sandbox.remote import Remote
from sandbox.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

IMAGE = "ami-0123456789abcdef0"
DEADLINE = 60.0
SPOT: dict[str, Any] = {"InstanceMarketOptions": {"MarketType": "spot"}}


@pytest.fixture
def remote(sandbox: Any) -> Iterator[Remote]:
    """The sandbox, whose instances are ended and whose faults and shortages are over after each test."""
    remote = Remote(sandbox.endpoint)
    yield remote
    remote.mend()
    for market in ("spot", "on-demand"):
        remote.control("ec2/capacity", {"pools": {"*": None}, "market": market})
    if ids := [instance["InstanceId"] for instance in _instances(remote) if instance["State"]["Name"] != "terminated"]:
        remote.client("ec2").terminate_instances(InstanceIds=ids)


@pytest.fixture
def profile(remote: Remote) -> str:
    """The name of an instance profile with a role."""
    iam = remote.client("iam")
    with _unless("EntityAlreadyExists"):
        iam.create_role(RoleName="emulator", AssumeRolePolicyDocument="{}")
    with _unless("EntityAlreadyExists"):
        iam.create_instance_profile(InstanceProfileName="emulator")
        iam.add_role_to_instance_profile(InstanceProfileName="emulator", RoleName="emulator")
    return "emulator"


@pytest.fixture
def bus(remote: Remote) -> Iterator[list[dict[str, Any]]]:
    """The events of EC2 from now on; iterate `_heard` to read them."""
    sqs, events = remote.client("sqs"), remote.client("events")
    url = sqs.create_queue(QueueName="emulator-events")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    events.put_rule(Name="emulator-events", EventPattern='{"source": ["aws.ec2"]}')
    events.put_targets(Rule="emulator-events", Targets=[{"Id": "queue", "Arn": arn}])
    seen: list[dict[str, Any]] = []
    yield seen
    events.remove_targets(Rule="emulator-events", Ids=["queue"])
    events.delete_rule(Name="emulator-events")
    sqs.delete_queue(QueueUrl=url)


@contextmanager
def _unless(code: str) -> Iterator[None]:
    """Let an error of that code pass: what is to be made is there already."""
    try:
        yield
    except ClientError as error:
        if error.response["Error"]["Code"] != code:
            raise


def _run(remote: Remote, count: int = 1, **options: Any) -> list[str]:
    answer = remote.client("ec2").run_instances(ImageId=IMAGE, MinCount=count, MaxCount=count, InstanceType="m5.large", **options)
    return [instance["InstanceId"] for instance in answer["Instances"]]


def _instances(remote: Remote, **request: Any) -> list[dict[str, Any]]:
    answer = remote.client("ec2").describe_instances(**request)
    return [instance for reservation in answer["Reservations"] for instance in reservation["Instances"]]


def _state(remote: Remote, instance_id: str) -> str:
    return str(_instances(remote, InstanceIds=[instance_id])[0]["State"]["Name"])


def _console(remote: Remote, instance_id: str) -> str:
    return str(remote.client("ec2").get_console_output(InstanceId=instance_id).get("Output", ""))


def _heard(remote: Remote, seen: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return all events so far."""
    sqs = remote.client("sqs")
    url = sqs.get_queue_url(QueueName="emulator-events")["QueueUrl"]
    while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
        seen += [json.loads(message["Body"]) for message in messages]
        for message in messages:
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return seen


def _refusal(call: Any, **request: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as refused:
        call(**request)
    error = refused.value.response["Error"]
    return error["Code"], error["Message"]


def _template(remote: Remote, **data: Any) -> str:
    """Make a launch template and return its id."""
    name = f"emulator-{uuid.uuid4()}"
    answer = remote.client("ec2").create_launch_template(LaunchTemplateName=name, LaunchTemplateData={"ImageId": IMAGE, **data})
    return str(answer["LaunchTemplate"]["LaunchTemplateId"])


def _fleet(remote: Remote, template: str, count: int, *types: str, **options: Any) -> dict[str, Any]:
    overrides = [{"InstanceType": kind, "AvailabilityZone": "us-east-1a"} for kind in types]
    specification = {"LaunchTemplateId": template, "Version": "$Latest"}
    answer: dict[str, Any] = remote.client("ec2").create_fleet(
        Type="instant",
        LaunchTemplateConfigs=[{"LaunchTemplateSpecification": specification, "Overrides": overrides}],
        TargetCapacitySpecification={"TotalTargetCapacity": count, "DefaultTargetCapacityType": "spot"},
        SpotOptions={"AllocationStrategy": "price-capacity-optimized"},
        **options,
    )
    return answer


def test_user_data_finds_its_instance_and_its_role(remote: Remote, profile: str) -> None:
    """User data reads its id through IMDSv2, and AWS's own client on it speaks in the name of the instance's role."""
    script = """#!/bin/sh
imds=${AWS_EC2_METADATA_SERVICE_ENDPOINT%/}/latest
token=$(curl -s -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' $imds/api/token)
echo "I am $(curl -s -H "X-aws-ec2-metadata-token: $token" $imds/meta-data/instance-id)"
echo "My tag is $(curl -s -H "X-aws-ec2-metadata-token: $token" $imds/meta-data/tags/instance/spot-responder:checkpoint)"
echo "Without a token: $(curl -s -o /dev/null -w '%{http_code}' $imds/meta-data/instance-id)"
aws sts get-caller-identity --region us-east-1 --query Arn --output text
"""
    tags = [{"ResourceType": "instance", "Tags": [{"Key": "spot-responder:checkpoint", "Value": "enabled"}]}]
    instance_id = _run(
        remote,
        UserData=script,
        IamInstanceProfile={"Name": profile},
        MetadataOptions={"HttpTokens": "required", "InstanceMetadataTags": "enabled"},
        TagSpecifications=tags,
        **SPOT,
    )[0]
    text = wait_for(lambda: "assumed-role" in (said := _console(remote, instance_id)) and said, DEADLINE, "the end of the user data")
    assert text
    assert text.splitlines() == [
        f"I am {instance_id}",
        "My tag is enabled",
        "Without a token: 401",
        f"arn:aws:sts::000000000000:assumed-role/emulator/{instance_id}",
    ]


def test_describe_shows_what_was_launched(remote: Remote, profile: str) -> None:
    """Life cycle, profile, metadata options and tags are in DescribeInstances, a reservation for each launch."""
    tags = [{"ResourceType": "instance", "Tags": [{"Key": "Name", "Value": "Fis/Spot"}]}]
    first = _run(remote, 2, IamInstanceProfile={"Name": profile}, MetadataOptions={"HttpTokens": "required"}, TagSpecifications=tags, **SPOT)
    second = _run(remote)
    answer = remote.client("ec2").describe_instances(InstanceIds=first + second)
    assert sorted(len(reservation["Instances"]) for reservation in answer["Reservations"]) == [1, 2]
    shown = {instance["InstanceId"]: instance for reservation in answer["Reservations"] for instance in reservation["Instances"]}
    spot, on_demand = shown[first[0]], shown[second[0]]
    assert (spot["InstanceLifecycle"], "InstanceLifecycle" in on_demand) == ("spot", False)
    assert spot["IamInstanceProfile"]["Arn"].endswith(":instance-profile/emulator")
    assert spot["MetadataOptions"]["HttpTokens"] == "required"
    assert spot["Tags"] == [{"Key": "Name", "Value": "Fis/Spot"}]
    assert spot["SpotInstanceRequestId"].startswith("sir-")


def test_unknown_ids_fail_the_call_and_are_all_named(remote: Remote) -> None:
    """EC2's refusals reach the caller with their codes and sentences; the filter instance-id tolerates unknown ids."""
    known = _run(remote)[0]
    ec2 = remote.client("ec2")
    ghosts = ["i-0aaaaaaaaaaaaaaaa", "i-0bbbbbbbbbbbbbbbb"]
    assert _refusal(ec2.describe_instances, InstanceIds=[known, *ghosts]) == (
        "InvalidInstanceID.NotFound",
        "The instance IDs 'i-0aaaaaaaaaaaaaaaa, i-0bbbbbbbbbbbbbbbb' do not exist",
    )
    assert _refusal(ec2.describe_instances, InstanceIds=["i-x"])[0] == "InvalidInstanceID.Malformed"
    assert _refusal(ec2.describe_instances, InstanceIds=[known], MaxResults=5)[0] == "InvalidParameterCombination"
    found = _instances(remote, Filters=[{"Name": "instance-id", "Values": [known, *ghosts]}])
    assert [instance["InstanceId"] for instance in found] == [known]


def test_client_token_launches_once(remote: Remote) -> None:
    """The same token is the same launch, with other parameters a mismatch."""
    first = _run(remote, ClientToken="emulator-1")
    assert _run(remote, ClientToken="emulator-1") == first
    ec2 = remote.client("ec2")
    other = {"ImageId": IMAGE, "MinCount": 2, "MaxCount": 2, "ClientToken": "emulator-1"}
    assert _refusal(ec2.run_instances, **other)[0] == "IdempotentParameterMismatch"


def test_interruption_reaches_events_and_requests(remote: Remote, bus: list[dict[str, Any]]) -> None:
    """Two copies of a warning have one id and time; the end has EC2's reasons; a ghost is warned without a zone."""
    instance_id = _run(remote, **SPOT)[0]
    wait_for(lambda: _state(remote, instance_id) == "running", DEADLINE, "the instance's start")
    remote.interrupt([instance_id, "i-0aaaaaaaaaaaaaaaa"], copies=2)
    wait_for(lambda: _state(remote, instance_id) == "terminated", DEADLINE, "the interruption")
    assert _instances(remote, InstanceIds=[instance_id])[0]["StateReason"]["Code"] == "Server.SpotInstanceTermination"
    requests = remote.client("ec2").describe_spot_instance_requests(Filters=[{"Name": "instance-id", "Values": [instance_id]}])
    assert requests["SpotInstanceRequests"][0]["Status"]["Code"] == "instance-terminated-no-capacity"

    def warnings() -> list[dict[str, Any]]:
        return [event for event in _heard(remote, bus) if event["detail-type"] == "EC2 Spot Instance Interruption Warning"]

    wait_for(lambda: len(warnings()) == 4, DEADLINE, "both copies of both warnings")
    mine = [event for event in warnings() if event["detail"]["instance-id"] == instance_id]
    assert len({(event["id"], event["time"]) for event in mine}) == 1
    assert mine[0]["resources"] == [f"arn:aws:ec2:us-east-1a:instance/{instance_id}"]
    assert mine[0]["detail"] == {"instance-id": instance_id, "instance-action": "terminate"}

    def states() -> list[str]:
        return [event["detail"]["state"] for event in _heard(remote, bus) if event["detail"].get("state")]

    wait_for(lambda: set(states()) == {"pending", "running", "shutting-down", "terminated"}, DEADLINE, "an event for every state")


def test_forgotten_instance_is_unknown(remote: Remote) -> None:
    """After `forget` EC2 does not know the id."""
    instance_id = _run(remote, **SPOT)[0]
    remote.forget([instance_id])
    assert _refusal(remote.client("ec2").describe_instances, InstanceIds=[instance_id])[0] == "InvalidInstanceID.NotFound"


def test_fleet_over_scarce_pools(remote: Remote, profile: str) -> None:
    """A fleet takes what each pool has, tags at launch, and says which pools were short."""
    template = _template(remote, IamInstanceProfile={"Name": profile}, MetadataOptions={"HttpTokens": "required"})
    remote.control("ec2/capacity", {"pools": {"m5.large:us-east-1a": 0, "c5.large:us-east-1a": 1}})
    tags = [{"ResourceType": "instance", "Tags": [{"Key": "job", "Value": "7"}]}]
    answer = _fleet(remote, template, 3, "m5.large", "c5.large", "r5.large", TagSpecifications=tags)
    assert [(entry["InstanceType"], len(entry["InstanceIds"])) for entry in answer["Instances"]] == [("c5.large", 1), ("r5.large", 2)]
    assert {error["ErrorCode"] for error in answer["Errors"]} == {"InsufficientInstanceCapacity"}
    shown = _instances(remote, Filters=[{"Name": "tag:job", "Values": ["7"]}, {"Name": "instance-lifecycle", "Values": ["spot"]}])
    assert len(shown) == 3
    assert all(instance["MetadataOptions"]["HttpTokens"] == "required" for instance in shown)
    assert all({"Key": "aws:ec2:fleet-id", "Value": answer["FleetId"]} in instance["Tags"] for instance in shown)


def test_fleet_without_any_capacity(remote: Remote) -> None:
    """With no pool left the call succeeds, launches nothing and carries EC2's reasons."""
    template = _template(remote)
    remote.control("ec2/capacity", {"pools": {"*": 0}})
    answer = _fleet(remote, template, 1, "m5.large", "c5.large")
    assert answer["Instances"] == []
    assert [error["ErrorCode"] for error in answer["Errors"]] == [
        "InsufficientInstanceCapacity",
        "InsufficientInstanceCapacity",
        "UnfulfillableCapacity",
    ]


def test_spot_request_waits_for_capacity(remote: Remote) -> None:
    """RequestSpotInstances stays open while there is no capacity, and is fulfilled when there is."""
    ec2 = remote.client("ec2")
    remote.control("ec2/capacity", {"pools": {"*": 0}})
    specification = {"ImageId": IMAGE, "InstanceType": "m5.large", "UserData": base64.b64encode(b"#!/bin/sh\n").decode()}
    request_id = ec2.request_spot_instances(LaunchSpecification=specification)["SpotInstanceRequests"][0]["SpotInstanceRequestId"]

    def status() -> str:
        return str(ec2.describe_spot_instance_requests(SpotInstanceRequestIds=[request_id])["SpotInstanceRequests"][0]["Status"]["Code"])

    wait_for(lambda: status() == "capacity-not-available", DEADLINE, "the look for capacity")
    remote.control("ec2/capacity", {"pools": {"*": None}})
    wait_for(lambda: status() == "fulfilled", DEADLINE, "the fulfilment")


def test_shutdown_on_the_instance_ends_it(remote: Remote) -> None:
    """An instance whose shutdown behaviour is terminate is gone after `shutdown -h now` on it."""
    instance_id = _run(remote, UserData="#!/bin/sh\nshutdown -h now\n", InstanceInitiatedShutdownBehavior="terminate")[0]
    wait_for(lambda: _state(remote, instance_id) == "terminated", DEADLINE, "the instance's own end")
    assert _instances(remote, InstanceIds=[instance_id])[0]["StateReason"]["Code"] == "Client.InstanceInitiatedShutdown"


def test_persistent_spot_instance_stops_and_starts(remote: Remote) -> None:
    """A persistent Spot Instance with behaviour stop is stopped by its interruption and can be started again."""
    options = {"SpotInstanceType": "persistent", "InstanceInterruptionBehavior": "stop"}
    instance_id = _run(remote, InstanceMarketOptions={"MarketType": "spot", "SpotOptions": options})[0]
    wait_for(lambda: _state(remote, instance_id) == "running", DEADLINE, "the instance's start")
    remote.interrupt([instance_id], action="stop")
    wait_for(lambda: _state(remote, instance_id) == "stopped", DEADLINE, "the interruption")
    remote.client("ec2").start_instances(InstanceIds=[instance_id])
    wait_for(lambda: _state(remote, instance_id) == "running", DEADLINE, "the instance's second start")


def test_tags_of_instances_and_of_others(remote: Remote) -> None:
    """CreateTags takes our instances and LocalStack's resources in one call; DescribeTags shows both."""
    ec2 = remote.client("ec2")
    instance_id = _run(remote)[0]
    vpc_id = ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
    ec2.create_tags(Resources=[instance_id, vpc_id], Tags=[{"Key": "emulator", "Value": "both"}])
    shown = ec2.describe_tags(Filters=[{"Name": "key", "Values": ["emulator"]}])["Tags"]
    assert {instance_id, vpc_id} <= {tag["ResourceId"] for tag in shown}
    ec2.delete_tags(Resources=[instance_id, vpc_id], Tags=[{"Key": "emulator"}])
    assert ec2.describe_tags(Filters=[{"Name": "key", "Values": ["emulator"]}])["Tags"] == []


def test_throttling_on_demand(remote: Remote) -> None:
    """A fault strikes the calls of its operation, as often as it was told, with EC2's status."""
    import boto3  # noqa: PLC0415
    from botocore.config import Config  # noqa: PLC0415  only this test wants no retries

    ec2 = boto3.client(
        "ec2",
        endpoint_url=remote.endpoint,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(retries={"total_max_attempts": 1}),
    )
    remote.fail("ec2", "DescribeInstances", "RequestLimitExceeded", count=1)
    with pytest.raises(ClientError) as refused:
        ec2.describe_instances()
    assert refused.value.response["Error"]["Code"] == "RequestLimitExceeded"
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 503
    assert "Reservations" in ec2.describe_instances()


@pytest.mark.parametrize(
    ("path", "body", "says"),
    [
        ("ec2/interrupt", {}, "instanceIds"),
        ("ec2/interrupt", {"instanceIds": [], "action": "melt"}, "action must be one of"),
        ("ec2/capacity", {"pools": {"*": -1}}, "number of 0 or more"),
        ("ec2/capacity", {"pools": {"*": 1}, "market": "black"}, "market must be one of"),
        ("ec2/boot", {"seconds": -1}, "0 or more"),
        ("faults", {"service": "ec2"}, "code"),
    ],
)
def test_controls_say_what_is_wrong(remote: Remote, path: str, body: dict[str, Any], says: str) -> None:
    """A control that is used wrongly answers with a sentence."""
    with pytest.raises(SandboxError, match=says):
        remote.control(path, body)


def test_on_demand_instances_are_not_interrupted(remote: Remote) -> None:
    """The interruption of an On-Demand Instance is refused: EC2 does not do that."""
    instance_id = _run(remote)[0]
    with pytest.raises(SandboxError, match="only Spot Instances are interrupted"):
        remote.interrupt([instance_id])
