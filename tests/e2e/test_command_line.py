"""What a person types, as it stands: AWS's command line and `sam local invoke`, against the sandbox."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from sandbox.control import REPOSITORY
from sandbox.deploy import client_process_environment

if TYPE_CHECKING:
    from sandbox.story import Story
    from tests.e2e.deployment import Act, Deployed


@dataclass(frozen=True)
class Experiment:
    """An experiment that runs: its one instance, and the story since its start."""

    instance_id: str
    story: Story


SAMPLES: list[tuple[str, str, dict[str, Any] | None]] = [
    ("RespondToNotices", "new_notices", {"batchItemFailures": []}),
    ("RecordCheckpoint", "checkpoint_succeeded", None),
    ("RecordInstanceState", "instance_terminated", None),
]
IMAGE = "public.ecr.aws/lambda/python:3.13-x86_64"


# Of the session, like `act`: fixtures of a narrower scope would be made after it.
@pytest.fixture(scope="session")
def experiment(deployed: Deployed) -> Experiment:
    """An experiment as the FIS workshop makes it, started with `aws fis start-experiment`."""
    running = Experiment(deployed.one(), deployed.story())
    deployed.remote.client("ec2").create_tags(Resources=[running.instance_id], Tags=[{"Key": "Name", "Value": "Fis/Spot"}])
    made = json.loads(_aws(deployed, "fis", "create-experiment-template", "--cli-input-json", json.dumps(_experiment(deployed))))
    template = made["experimentTemplate"]["id"]
    _aws(deployed, "fis", "start-experiment", "--experiment-template-id", template, "--tags", "Name=FisWorkshopSpotInterruptTest")
    return running


@pytest.mark.usefixtures("experiment", "act")
def test_experiment_leads_to_the_story(experiment: Experiment) -> None:
    """The experiment leads to notice, asked, saved and gone, after a rebalance recommendation; meanwhile `act` is played."""
    story, instance_id = experiment.story, experiment.instance_id
    story.await_line(60, event="instance_gone", instance_id=instance_id)
    told = story.find(instance_id=instance_id, kind="interruption")
    assert [line.fields["event"] for line in told] == ["notice_received", "checkpoint_asked", "notice_closed", "instance_gone"]
    assert story.find(event="notice_received", kind="rebalance", instance_id=instance_id)


def test_tail(act: Act, deployed: Deployed) -> None:
    """`aws logs tail` shows the story of an instance: one line of JSON for each thing that happened."""
    exports = _run(deployed, sys.executable, "-m", "sandbox", "env", "--directory", str(deployed.sam.directory))
    script = f'{exports}aws logs tail "$0" --since 30m --format short'
    tail = _run(deployed, "bash", "-c", script, deployed.outputs["LogGroup"])
    lines = [json.loads(line.partition(" ")[2]) for line in tail.splitlines() if act.instance_ids["plain"] in line]
    assert [line["event"] for line in lines] == ["notice_received", "checkpoint_asked", "notice_closed", "instance_gone"]


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


@pytest.fixture(scope="module")
def container_settings(deployed: Deployed, tmp_path_factory: pytest.TempPathFactory, lambda_image: None) -> Path:
    """``events/sandbox-env.json`` for this sandbox's port, the sandbox opened to containers."""
    directory = str(deployed.sam.directory)
    subprocess.run([sys.executable, "-m", "sandbox", "containers", "--directory", directory], check=True, capture_output=True, cwd=REPOSITORY)
    settings = tmp_path_factory.mktemp("local") / "sandbox-env.json"
    port = deployed.remote.endpoint.rpartition(":")[2]
    settings.write_text(Path(REPOSITORY, "events", "sandbox-env.json").read_text().replace(":4566", f":{port}"))
    return settings


@pytest.mark.docker
class TestLocalInvoke:
    """`sam local invoke <Function> -e events/<name>.json --config-env sandbox`."""

    def test_record_notice(self, deployed: Deployed, container_settings: Path) -> None:
        """RecordNotice answers, and the notice of the sample is in the sandbox's table."""
        sample = _sample("spot_interruption_warning")
        assert _invoke_locally(deployed, "RecordNotice", "spot_interruption_warning", container_settings) is None
        assert _notices(deployed, sample["account"], sample["region"], sample["detail"]["instance-id"])

    @pytest.mark.parametrize(("function", "sample", "answer"), SAMPLES)
    def test_the_others(self, deployed: Deployed, container_settings: Path, function: str, sample: str, answer: Any) -> None:
        """The other three functions answer their samples."""
        assert _invoke_locally(deployed, function, sample, container_settings) == answer


def _invoke_locally(deployed: Deployed, function: str, sample: str, settings: Path) -> Any:
    command = ["local", "invoke", function, "--event", f"events/{sample}.json", "--config-env", "sandbox", "--env-vars", str(settings)]
    placed = ["--template", str(deployed.sam.template), "--config-file", str(REPOSITORY / "samconfig.toml")]
    # SAM answers nothing, with exit status 0, where the first container of a new image starts so slowly that the function's time is over.
    answers = (_run(deployed, "sam", *command, *placed).strip().splitlines() for _ in range(3))
    return json.loads(next(lines for lines in answers if lines)[-1])


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
    return _run(deployed, "aws", *arguments)


def _run(deployed: Deployed, *command: str) -> str:
    environment = client_process_environment(deployed.remote.endpoint)
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=REPOSITORY, env=environment)
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
