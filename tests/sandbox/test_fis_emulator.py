"""FIS of a running sandbox, with the workshop's own templates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from sandbox.remote import Remote
from sandbox.waiting import wait_for
from tests.sandbox.test_fis_templates import template

if TYPE_CHECKING:
    from collections.abc import Iterator

DEADLINE = 90.0
ROLE = "arn:aws:iam::000000000000:role/emulator-fis"


@pytest.fixture(scope="module")
def remote(sandbox: Any) -> Remote:
    """The sandbox, with a role for FIS."""
    remote = Remote(sandbox.endpoint)
    remote.client("iam").create_role(RoleName="emulator-fis", AssumeRolePolicyDocument="{}")
    return remote


@pytest.fixture
def spot_instance(remote: Remote) -> Iterator[str]:
    """A running Spot Instance that bears the workshop's tag."""
    ec2 = remote.client("ec2")
    tags = [{"ResourceType": "instance", "Tags": [{"Key": "Name", "Value": "Fis/Emulator"}]}]
    market = {"MarketType": "spot"}
    answer = ec2.run_instances(ImageId="ami-0123456789abcdef0", MinCount=1, MaxCount=1, InstanceMarketOptions=market, TagSpecifications=tags)
    instance_id = answer["Instances"][0]["InstanceId"]
    wait_for(lambda: _state(remote, instance_id) == "running", DEADLINE, "the instance's start")
    yield instance_id
    ec2.terminate_instances(InstanceIds=[instance_id])


def _state(remote: Remote, instance_id: str) -> str:
    shown = remote.client("ec2").describe_instances(InstanceIds=[instance_id])
    return str(shown["Reservations"][0]["Instances"][0]["State"]["Name"])


def _content(**changes: Any) -> dict[str, Any]:
    """Return the workshop's template without its wait, for our role and tag."""
    content = template()
    del content["actions"]["Wait"], content["actions"]["Interrupt"]["startAfter"]
    content["targets"]["Spot"]["resourceTags"] = {"Name": "Fis/Emulator"}
    return content | {"roleArn": ROLE} | changes


def _ended(remote: Remote, experiment_id: str) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        experiment: dict[str, Any] = remote.client("fis").get_experiment(id=experiment_id)["experiment"]
        return experiment if experiment["state"]["status"] in {"completed", "failed", "stopped"} else None

    return wait_for(look, DEADLINE, "the experiment's end") or {}


def test_interruption_by_experiment(remote: Remote, spot_instance: str) -> None:
    """An experiment interrupts the instance, ends completed, and the Spot request says by whom it was ended."""
    fis = remote.client("fis")
    made = fis.create_experiment_template(**_content(), tags={"Name": "EmulatorInterrupt"})["experimentTemplate"]
    listed = fis.list_experiment_templates()["experimentTemplates"]
    assert [entry["id"] for entry in listed if entry["tags"].get("Name") == "EmulatorInterrupt"] == [made["id"]]
    started = fis.start_experiment(experimentTemplateId=made["id"], tags={"Name": "Test"})["experiment"]
    assert started["state"]["status"] in {"pending", "initiating"}
    ended = _ended(remote, started["id"])
    assert (ended["state"]["status"], ended["tags"]) == ("completed", {"Name": "Test"})
    assert ended["targets"]["Spot"]["resourceArns"] == [f"arn:aws:ec2:us-east-1:000000000000:instance/{spot_instance}"]
    wait_for(lambda: _state(remote, spot_instance) == "terminated", DEADLINE, "the instance's end")
    requests = remote.client("ec2").describe_spot_instance_requests(Filters=[{"Name": "instance-id", "Values": [spot_instance]}])
    assert requests["SpotInstanceRequests"][0]["Status"]["Code"] == "instance-terminated-by-experiment"


def test_nobody_there(remote: Remote) -> None:
    """Without a target the experiment fails with the reason that the workshop describes."""
    fis = remote.client("fis")
    content = _content()
    content["targets"]["Spot"]["resourceTags"] = {"Name": "Nobody"}
    made = fis.create_experiment_template(**content)["experimentTemplate"]
    ended = _ended(remote, fis.start_experiment(experimentTemplateId=made["id"])["experiment"]["id"])
    assert ended["state"] == {"status": "failed", "reason": "Target resolution returned empty set"}


@pytest.mark.parametrize(
    "change",
    [
        {"roleArn": "arn:aws:iam::000000000000:role/nobody"},
        {"stopConditions": [{"source": "aws:cloudwatch:alarm", "value": "arn:aws:cloudwatch:us-east-1:000000000000:alarm:none"}]},
        {"actions": {"Melt": {"actionId": "aws:ec2:melt-instances"}}},
    ],
)
def test_templates_that_are_refused(remote: Remote, change: dict[str, Any]) -> None:
    """A role or an alarm that does not exist and an unknown action are validation errors."""
    with pytest.raises(ClientError) as refused:
        remote.client("fis").create_experiment_template(**_content(**change))
    assert refused.value.response["Error"]["Code"] == "ValidationException"


def test_template_can_be_changed_tagged_and_deleted(remote: Remote) -> None:
    """Update, TagResource, UntagResource and Delete do what they say."""
    fis = remote.client("fis")
    made = fis.create_experiment_template(**_content())["experimentTemplate"]
    assert fis.update_experiment_template(id=made["id"], description="new")["experimentTemplate"]["description"] == "new"
    fis.tag_resource(resourceArn=made["arn"], tags={"a": "1", "b": "2"})
    fis.untag_resource(resourceArn=made["arn"], tagKeys=["a"])
    assert fis.get_experiment_template(id=made["id"])["experimentTemplate"]["tags"] == {"b": "2"}
    fis.delete_experiment_template(id=made["id"])
    with pytest.raises(ClientError) as refused:
        fis.get_experiment_template(id=made["id"])
    assert refused.value.response["Error"]["Code"] == "ResourceNotFoundException"


def test_stop_condition_ends_the_experiment(remote: Remote, spot_instance: str) -> None:
    """An alarm that goes off stops the experiment before the warning, and the instance lives on."""
    fis, cloudwatch = remote.client("fis"), remote.client("cloudwatch")
    alarm = {"AlarmName": "emulator-stop", "MetricName": "m", "Namespace": "n", "Statistic": "Sum", "Period": 60}
    cloudwatch.put_metric_alarm(**alarm, EvaluationPeriods=1, Threshold=1, ComparisonOperator="GreaterThanThreshold")
    arn = cloudwatch.describe_alarms(AlarmNames=["emulator-stop"])["MetricAlarms"][0]["AlarmArn"]
    content = _content(stopConditions=[{"source": "aws:cloudwatch:alarm", "value": arn}])
    content["actions"]["Interrupt"]["parameters"]["durationBeforeInterruption"] = "PT15M"
    made = fis.create_experiment_template(**content)["experimentTemplate"]
    experiment_id = fis.start_experiment(experimentTemplateId=made["id"])["experiment"]["id"]
    wait_for(lambda: fis.get_experiment(id=experiment_id)["experiment"]["state"]["status"] == "running", DEADLINE, "the experiment's start")
    cloudwatch.set_alarm_state(AlarmName="emulator-stop", StateValue="ALARM", StateReason="test")
    assert _ended(remote, experiment_id)["state"] == {"status": "stopped", "reason": "Experiment halted by stop condition."}
    assert _state(remote, spot_instance) == "running"


def test_unknown_ids(remote: Remote) -> None:
    """Templates and experiments that do not exist are not found."""
    fis = remote.client("fis")
    for call, request in ((fis.get_experiment, {"id": "EXPnothing"}), (fis.start_experiment, {"experimentTemplateId": "EXTnothing"})):
        with pytest.raises(ClientError) as refused:
            call(**request)
        assert refused.value.response["Error"]["Code"] == "ResourceNotFoundException"
