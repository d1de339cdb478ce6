"""What a person types, as it stands: AWS's command line and `sam local invoke`, against the sandbox."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from sandbox.control import REPOSITORY
from sandbox.deploy import client_process_environment

if TYPE_CHECKING:
    from tests.e2e.deployment import Deployed

IMAGE = "public.ecr.aws/lambda/python:3.13-x86_64"


def test_experiment_leads_to_the_story(deployed: Deployed) -> None:
    """An experiment as the FIS workshop makes it, started with `aws fis start-experiment`, leads to the story in `aws logs tail`."""
    instance_id, story = deployed.one(), deployed.story()
    deployed.remote.client("ec2").create_tags(Resources=[instance_id], Tags=[{"Key": "Name", "Value": "Fis/Spot"}])
    made = json.loads(_aws(deployed, "fis", "create-experiment-template", "--cli-input-json", json.dumps(_experiment(deployed))))
    _aws(
        deployed,
        "fis",
        "start-experiment",
        "--experiment-template-id",
        made["experimentTemplate"]["id"],
        "--tags",
        "Name=FisWorkshopSpotInterruptTest",
    )
    story.await_line(60, event="instance_gone", instance_id=instance_id)
    tail = _aws(deployed, "logs", "tail", deployed.outputs["LogGroup"], "--since", "5m", "--format", "short")
    lines = [json.loads(line.partition(" ")[2]) for line in tail.splitlines() if instance_id in line]
    interruption = [line["event"] for line in lines if line["kind"] == "interruption"]
    assert interruption == ["notice_received", "checkpoint_asked", "notice_closed", "instance_gone"]
    assert any(line["event"] == "notice_received" and line["kind"] == "rebalance" for line in lines)


def test_describe_instances(deployed: Deployed) -> None:
    """`aws ec2 describe-instances` shows the fleet as Spot Instances."""
    query = "Reservations[].Instances[?InstanceLifecycle=='spot'].InstanceId[]"
    listed = json.loads(_aws(deployed, "ec2", "describe-instances", "--query", query, "--output", "json"))
    assert {one.instance_id for one in deployed.pool} <= set(listed)


@pytest.fixture(scope="module")
def lambda_image() -> None:
    """A Docker daemon with Lambda's public image, or a stand-in that bears its name; without, the test is skipped."""
    try:
        found = subprocess.run(["docker", "image", "inspect", IMAGE], check=False, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("`sam local invoke` needs Docker, and there is no program `docker` here")
    if found.returncode != 0:
        pytest.skip(f"`sam local invoke` needs a Docker daemon and the image {IMAGE}: {found.stderr.strip()}")


@pytest.mark.docker
@pytest.mark.usefixtures("lambda_image")
class TestLocalInvoke:
    """`sam local invoke <Function> -e events/<name>.json --config-env sandbox`."""

    def test_record_notice(self, deployed: Deployed) -> None:
        """RecordNotice answers, and the notice of the sample is in the sandbox's table."""
        sample = _sample("spot_interruption_warning")
        assert _invoke_locally(deployed, "RecordNotice", "spot_interruption_warning") is None
        assert _notices(deployed, sample["account"], sample["region"], sample["detail"]["instance-id"])

    @pytest.mark.parametrize("name", ["RespondToNotices", "RecordCheckpoint", "RecordInstanceState"])
    def test_the_others(self, deployed: Deployed, name: str) -> None:
        """Every sample of the other three functions is answered without an error."""
        for sample in SAMPLES[name]:
            answer = _invoke_locally(deployed, name, sample)
            assert answer is None or answer == {"batchItemFailures": []}


SAMPLES: dict[str, list[str]] = {
    "RespondToNotices": ["respond_to_notices"],
    "RecordCheckpoint": ["record_checkpoint"],
    "RecordInstanceState": ["record_instance_state"],
}


def _invoke_locally(deployed: Deployed, function: str, sample: str) -> Any:
    command = ["sam", "local", "invoke", function, "--event", f"events/{sample}.json", "--config-env", "sandbox"]
    placed = ["--template", str(deployed.sam.template), "--config-file", str(REPOSITORY / "samconfig.toml")]
    done = subprocess.run(
        [*command, *placed], check=False, capture_output=True, text=True, cwd=REPOSITORY, env=client_process_environment(deployed.remote.endpoint)
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.strip().splitlines()[-1])


def _sample(name: str) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(Path(REPOSITORY, "events", f"{name}.json").read_text())
    return read


def _notices(deployed: Deployed, account: str, region: str, instance_id: str) -> list[Any]:
    answer = deployed.remote.client("dynamodb").query(
        TableName=deployed.outputs["NoticesTable"],
        KeyConditionExpression="account_region = :all AND begins_with(notice_id, :instance)",
        ExpressionAttributeValues={":all": {"S": f"{account}#{region}"}, ":instance": {"S": f"{instance_id}#"}},
    )
    found: list[Any] = answer["Items"]
    return found


def _aws(deployed: Deployed, *arguments: str) -> str:
    done = subprocess.run(["aws", *arguments], check=False, capture_output=True, text=True, env=client_process_environment(deployed.remote.endpoint))
    assert done.returncode == 0, done.stderr
    return done.stdout


def _experiment(deployed: Deployed) -> dict[str, Any]:
    """Return the experiment template of the FIS workshop's page "Simulating interrupts", with a wait of one minute."""
    iam = deployed.remote.client("iam")
    trust = {"Statement": [{"Effect": "Allow", "Principal": {"Service": "fis.amazonaws.com"}, "Action": "sts:AssumeRole"}], "Version": "2012-10-17"}
    role = iam.create_role(RoleName="FisWorkshopSpotRole", AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
    allowed = {"Effect": "Allow", "Action": ["ec2:SendSpotInstanceInterruptions", "ec2:DescribeInstances"], "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
    iam.put_role_policy(RoleName="FisWorkshopSpotRole", PolicyName="Interrupt", PolicyDocument=policy)
    return {
        "clientToken": "FisWorkshopSpotInterrupt",
        "description": "Use spot instance interruption on spot instance",
        "roleArn": role,
        "stopConditions": [{"source": "none"}],
        "tags": {"Name": "FisWorkshopSpotInterrupt"},
        "targets": {
            "FisWorkshopSpot-SpotInstance": {
                "resourceType": "aws:ec2:spot-instance",
                "resourceTags": {"Name": "Fis/Spot"},
                "filters": [{"path": "State.Name", "values": ["running"]}],
                "selectionMode": "ALL",
            },
        },
        "actions": {
            "AllowSomeCompletion": {
                "actionId": "aws:fis:wait",
                "description": "Wait for some compute to happen before termination",
                "parameters": {"duration": "PT1M"},
            },
            "FisWorkshopSpot-InterruptInstance": {
                "actionId": "aws:ec2:send-spot-instance-interruptions",
                "description": "Use spot instance interruption on spot instances",
                "parameters": {"durationBeforeInterruption": "PT2M"},
                "targets": {"SpotInstances": "FisWorkshopSpot-SpotInstance"},
                "startAfter": ["AllowSomeCompletion"],
            },
        },
    }
