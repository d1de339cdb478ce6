"""A stage for the definitions: Step Functions runs them as they are, the sandbox answers their calls, the test plays the agent."""

from __future__ import annotations

import itertools
import json
import threading
import time
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from sandbox.remote import Remote
from sandbox.waiting import wait_for
from tests.statemachine.definitions import SPOT_JOB, as_json, definition
from tests.statemachine.taken import Way, calls, taken, visits

if TYPE_CHECKING:
    from collections.abc import Mapping

DEADLINE = 30.0
PAUSE = 0.1
IMAGE = "ami-0123456789abcdef0"
LIVE = ("pending", "running", "stopping", "stopped")
TABLE = "jobs"
_NUMBERS = itertools.count()


@dataclass(frozen=True, slots=True)
class Ended:
    """How an execution ended."""

    status: str
    error: str | None
    cause: str
    output: Any


@dataclass(slots=True)
class Stage:
    """One sandbox with a jobs table.

    ``ways`` are those that executions took so far, by the definition's name; ``visits`` what they did in each state: the definition's
    name, the state's, how often its call was made, and how many events the visit added to the history.
    """

    remote: Remote
    values: dict[str, object]
    ways: dict[str, set[Way]] = field(default_factory=dict)
    visits: set[tuple[str, str, int, int]] = field(default_factory=set)
    machines: dict[str, str] = field(default_factory=dict)
    clients: dict[str, Any] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def client(self, service: str) -> Any:
        """Return the client of a service."""
        if service not in self.clients:
            self.clients[service] = self.remote.client(service)
        return self.clients[service]

    def machine(self, name: str = SPOT_JOB, **changes: object) -> str:
        """Return a state machine of a definition with the usual values but these; it is made once, whoever asks at the same time."""
        text = as_json(definition(name, self.values | changes))
        with self.lock:
            if text not in self.machines:
                made = self.client("stepfunctions").create_state_machine(
                    name=f"{name}-{len(self.machines)}", definition=text, roleArn="arn:aws:iam::000000000000:role/job"
                )
                self.machines[text] = made["stateMachineArn"]
            return self.machines[text]

    def start(self, given: object = None, *, name: str | None = None, definition_: str = SPOT_JOB, **changes: object) -> Execution:
        """Start an execution with an input, under a name of its own."""
        machine = self.machine(definition_, **changes)
        started = self.client("stepfunctions").start_execution(
            stateMachineArn=machine, name=name or f"job-{next(_NUMBERS)}", input=json.dumps({} if given is None else given)
        )
        return Execution(self, started["executionArn"], given if isinstance(given, dict) else {}, definition_)

    def put_job(self, job_id: str, **attributes: str) -> None:
        """Put a job's item into the table; all attributes are texts."""
        self.client("dynamodb").put_item(TableName=TABLE, Item={"job_id": {"S": job_id}} | {name: {"S": text} for name, text in attributes.items()})

    def change_job(self, job_id: str, **attributes: str | int) -> None:
        """Change attributes of a job's item, as an agent or somebody else would."""
        self.client("dynamodb").update_item(
            TableName=TABLE,
            Key={"job_id": {"S": job_id}},
            UpdateExpression="SET " + ", ".join(f"#{name} = :{name}" for name in attributes),
            ExpressionAttributeNames={f"#{name}": name for name in attributes},
            ExpressionAttributeValues={
                f":{name}": {"N": str(value)} if isinstance(value, int) else {"S": value} for name, value in attributes.items()
            },
        )

    def delete_job(self, job_id: str) -> None:
        """Delete a job's item."""
        self.client("dynamodb").delete_item(TableName=TABLE, Key={"job_id": {"S": job_id}})

    def item(self, job_id: str) -> dict[str, Any]:
        """Return a job's item with plain values; empty where there is none."""
        answer = self.client("dynamodb").get_item(TableName=TABLE, Key={"job_id": {"S": job_id}}, ConsistentRead=True)
        return {name: _plain(value) for name, value in answer.get("Item", {}).items()}

    def living(self, job_id: str) -> list[str]:
        """Return the ids of a job's instances that have not begun to end."""
        filters = [{"Name": "tag:spot-responder:job", "Values": [job_id]}, {"Name": "instance-state-name", "Values": list(LIVE)}]
        found = self.client("ec2").describe_instances(Filters=filters)
        return [instance["InstanceId"] for reservation in found["Reservations"] for instance in reservation["Instances"]]

    def instance(self, instance_id: str) -> dict[str, Any]:
        """Return what EC2 says of an instance."""
        (reservation,) = self.client("ec2").describe_instances(InstanceIds=[instance_id])["Reservations"]
        (found,) = reservation["Instances"]
        described: dict[str, Any] = found
        return described

    def launch(self, job_id: str) -> str:
        """Run an instance of a job that no execution looks after; return its id."""
        tags = [{"Key": "spot-responder:job", "Value": job_id}]
        run = self.client("ec2").run_instances(
            LaunchTemplate={"LaunchTemplateId": self.values["LaunchTemplate"]},
            InstanceType="m5.large",
            MinCount=1,
            MaxCount=1,
            TagSpecifications=[{"ResourceType": "instance", "Tags": tags}],
        )
        instance_id: str = run["Instances"][0]["InstanceId"]
        return instance_id

    def capacity(self, market: str = "spot", pools: Mapping[str, int | None] | None = None) -> None:
        """Let pools have so many instances left; none by default."""
        self.remote.control("ec2/capacity", {"market": market, "pools": {"*": 0} if pools is None else dict(pools)})

    def plenty(self) -> None:
        """Let everything work again, and every pool have instances."""
        self.remote.mend()
        for market in ("spot", "on-demand"):
            self.capacity(market, {"*": None})


@dataclass
class Execution:
    """A running execution."""

    stage: Stage
    arn: str
    given: Mapping[str, Any]
    definition: str

    @property
    def name(self) -> str:
        """The execution's name."""
        return self.arn.rpartition(":")[2]

    @property
    def job_id(self) -> str:
        """The job's id."""
        return str(self.given.get("JobId", self.name))

    def item(self) -> dict[str, Any]:
        """Return the job's item."""
        return self.stage.item(self.job_id)

    def attempt(self, number: int = 1) -> dict[str, Any]:
        """Wait until the attempt of this number runs; return the job's item."""
        looks = itertools.count(1)

        def look() -> dict[str, Any]:
            item = self.item()
            if item.get("attempt") == number and "token" in item:
                return item
            assert next(looks) % 10 or not (ended := self._ended()), f"ended before attempt {number}: {ended}"
            return {}

        return wait_for(look, DEADLINE, f"attempt {number} of {self.job_id}", pause=PAUSE)

    def send(self, number: int = 1, **result: object) -> dict[str, Any]:
        """Send the result of an attempt as soon as it runs; return the job's item as it was then."""
        item = self.attempt(number)
        self.stage.client("stepfunctions").send_task_success(taskToken=item["token"], output=json.dumps(result))
        return item

    def beat(self, number: int = 1) -> None:
        """Send a heartbeat of an attempt."""
        self.stage.client("stepfunctions").send_task_heartbeat(taskToken=self.attempt(number)["token"])

    def stop(self) -> Ended:
        """Stop it by hand."""
        self.stage.client("stepfunctions").stop_execution(executionArn=self.arn)
        return self.end()

    def end(self) -> Ended:
        """Wait until it ends, remember which ways it took, and return how it ended."""
        found = wait_for(self._ended, DEADLINE, f"the end of {self.name}", pause=PAUSE)
        self.stage.ways.setdefault(self.definition, set()).update(taken(definition(self.definition, self.stage.values), self.history))
        for state, events in visits(self.history):
            within = [event for event in events if not event["type"].startswith(("Execution", "Evaluation"))]
            self.stage.visits.add((self.definition, state, len(calls(events)), len(within)))
        return Ended(found["status"], found.get("error"), found.get("cause", ""), json.loads(found.get("output", "null")))

    def entered(self) -> list[str]:
        """Return the states that were entered so far, in order."""
        events = self._events()
        return [event["stateEnteredEventDetails"]["name"] for event in events if "stateEnteredEventDetails" in event]

    def reaches(self, state: str) -> None:
        """Wait until a state is entered."""
        wait_for(lambda: state in self.entered(), DEADLINE, f"{state} in {self.name}", pause=PAUSE)

    @cached_property
    def history(self) -> list[dict[str, Any]]:
        """The history of an execution that has ended."""
        return self._events()

    def _events(self) -> list[dict[str, Any]]:
        events: list[dict[str, Any]] = self.stage.client("stepfunctions").get_execution_history(executionArn=self.arn, maxResults=1000)["events"]
        return events

    def _ended(self) -> dict[str, Any]:
        """Return how it ended; nothing as long as it runs."""
        found: dict[str, Any] = self.stage.client("stepfunctions").describe_execution(executionArn=self.arn)
        return found if found["status"] != "RUNNING" else {}


def create_table(dynamodb: Any) -> None:
    """Create the jobs table."""
    dynamodb.create_table(
        TableName=TABLE,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": "job_id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "job_id", "KeyType": "HASH"}],
    )


def set_stage(endpoint: str) -> Stage:
    """Return a stage on a new sandbox."""
    remote = Remote(endpoint)
    create_table(remote.client("dynamodb"))
    ec2 = remote.client("ec2")
    template = ec2.create_launch_template(LaunchTemplateName="job", LaunchTemplateData={"ImageId": IMAGE})["LaunchTemplate"]
    subnets = sorted(ec2.describe_subnets()["Subnets"], key=lambda subnet: subnet["AvailabilityZone"])[:2]
    return Stage(remote, usual_values(template["LaunchTemplateId"], ",".join(subnet["SubnetId"] for subnet in subnets)))


def usual_values(template: str = "lt-0123456789abcdef0", subnets: str = "subnet-0123456789abcdef0") -> dict[str, object]:
    """Return what the tests put into the definitions, unless they say otherwise."""
    return {
        "JobsTable": TABLE,
        "CheckpointBucket": "bucket",
        "LaunchTemplate": template,
        "SubnetIds": subnets,
        "InstanceTypes": "m5.large,m5a.large",
        "OptInTagKey": "spot-responder:checkpoint",
        "OptInTagValue": "enabled",
        "OnDemandFallback": "false",
        "LaunchAttempts": 3,
        "BarrenAttempts": 5,
        "RetentionDays": 30,
        "HeartbeatSeconds": 60,
        "TimeoutMinutes": 10080,
        "RoundsPerExecution": 350,
    }


def seconds_from_now(seconds: float) -> int:
    """Return a time in epoch seconds."""
    return int(time.time() + seconds)


def _plain(value: Mapping[str, Any]) -> Any:
    ((kind, plain),) = value.items()
    return float(plain) if kind == "N" and "." in plain else int(plain) if kind == "N" else plain
