"""The calls that the parts make when they go all their ways: the functions, the state machines and the agent, without a sandbox.

Each part is driven as its own tests drive it, and what would have gone to AWS is kept with its parameters.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from hashlib import sha256
from io import BytesIO
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from unittest.mock import Mock

import pytest
from botocore import xform_name
from botocore.awsrequest import AWSResponse
from botocore.session import get_session

from spot_agent.checkpoint_store import SINGLE_PUT_BYTES, Place, S3CheckpointStore
from spot_agent.errors import Refused
from spot_agent.job import Checkpoint
from spot_agent.jobs_table import DynamoJobsTable
from spot_agent.knowledge import Me
from spot_agent.measures import CloudWatchMeasures
from spot_agent.ports import Mark
from spot_agent.tasks import StepFunctionsTasks
from spot_responder.adapters.notices_table import to_item
from spot_responder.domain.notices import Action, Notice, NoticeKind
from tests.examples import ACCOUNT, OPT_IN, REGION, instance_id, interruption_event, result_event, state_event
from tests.fakes.aws import AwsOverHttp, json_error, ok
from tests.lambdas import forget_parts, invoke, job_item, serve_jobs, start_cold, stream
from tests.rights.authorization import Call, World
from tests.rights.roles import BUCKET, LAUNCH_TEMPLATE, MACHINE, STACK, WHOLE, role_arn
from tests.statemachine.definitions import definition, states
from tests.template.stack import FUNCTIONS, snake
from tests.unit.agent.test_user_data import written

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.fakes.aws import Reply

JOBS, NOTICES, DOCUMENT = f"{STACK}-jobs", f"{STACK}-notices", f"{STACK}-checkpoint"
WORKER = instance_id(1)
"""An instance that runs a job's attempt; `instance_id(2)` runs another."""
LAYER = f"arn:aws:lambda:{REGION}:{ACCOUNT}:layer:{STACK}-AgentLayer:1"
NUMBERS = "notice_at", "notice_percent", "previous_percent", "previous_stopped_at", "resumed_percent", "started_at", "stopped_at", "stopped_percent"
FACTS: dict[str, float | str] = {**dict.fromkeys(NUMBERS, 1.0), "troubles": "it rained"}
"""All that an attempt's record can have (`Known.unrecorded`)."""


@cache
def world() -> World:
    """Return the stack's account, in which both instances are of jobs and opted in."""
    tags = {OPT_IN.key: OPT_IN.value, "Name": "Fis/Spot", "spot-responder:job": "job", "spot-responder:attempt": "1"}
    return World(ACCOUNT, REGION, MACHINE, role_arn("JobInstanceRole"), {instance_id(number): tags for number in (1, 2)})


@cache
def by_functions() -> tuple[Call, ...]:
    """Return the calls of the four functions."""
    notices = [Notice(NoticeKind.INTERRUPTION, Action.TERMINATE, instance_id(n), ACCOUNT, REGION, datetime.now(UTC), "e") for n in (1, 2)]
    events = {
        "RecordNotice": interruption_event(),
        "RespondToNotices": stream(notices),
        "RecordCheckpoint": result_event(status="Failed"),
        "RecordInstanceState": state_event(),
    }
    assert set(events) == set(FUNCTIONS)
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
        calls = [call for name, happened in events.items() for call in _of_function(aws, name, happened)]
        forget_parts()
    return tuple(calls)


def _found(call: Any) -> Reply:
    """Return what there is of an instance: in the jobs table an attempt that runs on it, else an old notice."""
    old = Notice(NoticeKind.REBALANCE, Action.NONE, instance_id(), ACCOUNT, REGION, datetime(2026, 1, 1, tzinfo=UTC), "e")
    return ok(Items=[job_item(f"job-{instance_id()}") if call.parameters["TableName"] == "jobs" else to_item(old)])


def _of_function(aws: AwsOverHttp, name: str, happened: object) -> Iterator[Call]:
    aws.calls.clear()
    invoke(snake(name), happened)
    for call in aws.calls:
        service, operation = call.operation.split(":")
        yield Call(f"{name}Role", service, operation, _in_the_stack(call.parameters))


def _in_the_stack(parameters: Mapping[str, Any]) -> Any:
    """Return a call's parameters with the stack's names in place of the functions' tests' own."""
    names = {"jobs": JOBS, "notices": NOTICES, "checkpoint": DOCUMENT}
    return json.loads(re.sub(rf'(?<=")({"|".join(names)})(?=\\?")', lambda found: names[found[1]], json.dumps(parameters)))


# The state machines


@cache
def by_machines() -> tuple[Call, ...]:
    """Return a call for each task of the two state machines, as their definitions have it once the template's names are in it."""
    values: dict[str, object] = {
        "JobsTable": JOBS,
        "LaunchTemplate": LAUNCH_TEMPLATE,
        "SubnetIds": WHOLE["SubnetIds"],
        "CheckpointBucket": BUCKET,
        "InstanceTypes": "m5.large",
        "OptInTagKey": OPT_IN.key,
        "OptInTagValue": OPT_IN.value,
        "OnDemandFallback": "true",
    }
    numbers = (
        "LaunchAttempts",
        "BarrenAttempts",
        "RetentionDays",
        "HeartbeatSeconds",
        "TimeoutMinutes",
        "RoundsPerExecution",
    )
    values |= dict.fromkeys(numbers, 1)
    machines = {"SpotJobRole": "spot_job", "EndJobRole": "end_job"}
    return tuple(
        _of_task(role, task) for role, name in machines.items() for task in states(definition(name, values)).values() if task["Type"] == "Task"
    )


def _of_task(role: str, task: Mapping[str, Any]) -> Call:
    """Return the call of a task: ``arn:aws:states:::aws-sdk:ec2:createFleet`` or ``arn:aws:states:::dynamodb:putItem``, with a suffix or none."""
    words = task["Resource"].split(":::")[1].removeprefix("aws-sdk:").split(":")
    operation, _, pattern = words[1].partition(".")
    arguments = dict(task["Arguments"])
    execution = MACHINE.replace(":stateMachine:", ":execution:") + ":job"
    known: dict[str, Any] = {"InstanceIds": [WORKER], "StateMachineArn": MACHINE, "ExecutionArn": execution}
    arguments |= {name: value for name, value in known.items() if name in arguments}
    if "LaunchTemplateConfigs" in arguments:
        subnets = str(WHOLE["SubnetIds"]).split(",")
        arguments["LaunchTemplateConfigs"] = [
            config | {"Overrides": [{"SubnetId": subnet} for subnet in subnets]} for config in arguments["LaunchTemplateConfigs"]
        ]
    return Call(role, words[0], operation[0].upper() + operation[1:], arguments | {"sync": pattern == "sync"})


# The agent


class Client:
    """A client of botocore's that keeps the calls and knows some answers."""

    def __init__(self, service: str, answers: Mapping[str, Any]) -> None:
        """``answers`` by operation; every other is answered with nothing."""
        self.calls: list[Call] = []
        self._service = service
        self._answers = answers
        self._operations = {xform_name(operation): operation for operation in get_session().get_service_model(service).operation_names}

    def __getattr__(self, method: str) -> Any:
        """Return a method, as botocore builds them when they are asked for."""
        if method not in self._operations:
            raise AttributeError(method)
        operation = self._operations[method]

        def called(**parameters: Any) -> Any:
            self.calls.append(Call("JobInstanceRole", self._service, operation, parameters))
            return self._answers.get(operation, {})

        return called


def by_agent(folder: Path) -> list[Call]:
    """Return the calls that the agent and the user data that brings it can make; ``folder`` is for files."""
    me = Me("job", 1, WORKER, "agent1")
    dynamodb = Client("dynamodb", {"GetItem": {"Item": job_item("job")}, "UpdateItem": {"Attributes": job_item("job")}})
    table = DynamoJobsTable(dynamodb, JOBS, me)
    checkpoint = Checkpoint("job/1", "sha", 50.0, 10, 1.0)
    table.read()
    table.announce_ready()
    table.claim(0)
    table.claim(3)
    table.record_deadline(1.0)
    table.write_progress(1.0, 1.0)
    table.mark(Mark(checkpoint=checkpoint, before=checkpoint, seconds=1.0, percent=50.0, is_final=True, is_finished=True, stopped_at=1.0))
    table._expires_at = 1
    table.record_attempt(FACTS)
    tasks = Client("stepfunctions", {})
    StepFunctionsTasks(tasks).heartbeat("token")
    StepFunctionsTasks(tasks).succeed("token", {"result": "finished"})
    cloudwatch = Client("cloudwatch", {})
    CloudWatchMeasures(lambda: cloudwatch).sample(1.0, 1.0, 1.0)
    return [*dynamodb.calls, *tasks.calls, *cloudwatch.calls, *_of_store(folder), *_of_user_data()]


class _Fetched(BaseException):
    """The user data got the address of the agent's archive."""


def _of_user_data() -> list[Call]:
    """Run the part of the user data that fetches the agent, until it has been told where it is."""
    clients: list[Client] = []

    def create_client(service: str, **_: object) -> Client:
        clients.append(Client(service, {"GetLayerVersionByArn": {"Content": {"Location": "https://aws.example"}}}))
        return clients[-1]

    program = written().partition("<<'END'\n")[2].partition("\nEND")[0].replace("${AgentLayer}", LAYER)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("botocore.session.get_session", lambda: SimpleNamespace(create_client=create_client))
        patch.setattr("urllib.request.urlopen", Mock(side_effect=_Fetched))
        patch.setattr("time.sleep", Mock())
        for name in ("SPOT_RESPONDER_HOME", "SPOT_RESPONDER_CONFIG_DIR"):
            patch.setenv(name, "nowhere")
        with pytest.raises(_Fetched):
            exec(compile(program, "user data", "exec"), {})  # noqa: S102  # it is ours
    return [call for client in clients for call in client.calls]


class _Body(BytesIO):
    """The body of an answer, as botocore reads it: at once or bit by bit."""

    def stream(self) -> Iterator[bytes]:
        """Yield all of it."""
        yield self.read()


@dataclass
class Bucket:
    """S3 behind a client of botocore's, for what s3transfer needs is no mere method; ``failing`` operations are refused."""

    failing: str = ""
    calls: list[Call] = field(default_factory=list)

    def client(self) -> Any:
        """Return a client that talks to this bucket."""
        session = get_session()
        session.set_credentials("test", "test")
        client = session.create_client("s3", region_name=REGION)
        client.meta.events.register("before-parameter-build.s3", self._called)
        client.meta.events.register("before-send.s3", self._answer)  # type: ignore[arg-type]  # the stubs know only handlers that return nothing
        return client

    def _called(self, params: dict[str, Any], model: Any, **_: object) -> None:
        self.calls.append(Call("JobInstanceRole", "s3", model.name, dict(params)))

    def _answer(self, request: Any, event_name: str, **_: object) -> AWSResponse:
        operation = event_name.rpartition(".")[2]
        if operation == self.failing:
            return AWSResponse(request.url, 400, {}, _Body(b"<Error><Code>AccessDenied</Code></Error>"))  # type: ignore[arg-type]  # as above
        said = {"CreateMultipartUpload": b"<R><UploadId>1</UploadId></R>", "CompleteMultipartUpload": b"<R><ETag>1</ETag></R>"}
        return AWSResponse(request.url, 200, {"ETag": "1"}, _Body(said.get(operation, b"")))  # type: ignore[arg-type]


def _of_store(folder: Path) -> list[Call]:
    """Return what becomes of checkpoints: one that is put, fetched and deleted, and a large one that is put, and another that breaks."""
    place, small, large = Place(BUCKET, "jobs"), folder / "small", folder / "large"
    small.touch()
    with large.open("wb") as file:
        file.truncate(SINGLE_PUT_BYTES + 1)
    sound, broken = Bucket(), Bucket(failing="UploadPart")
    store = S3CheckpointStore(sound.client())
    store.put(small, place, "jobs/1")
    store.fetch(Checkpoint("jobs/1", sha256().hexdigest(), 0.0, 0, 1.0), place, folder / "fetched", lambda: False)
    store.delete(place, "jobs/1")
    store.put(large, place, "jobs/2")
    with suppress(Refused):
        S3CheckpointStore(broken.client()).put(large, place, "jobs/3")
    return [*sound.calls, *broken.calls]
