"""One sandbox for all end-to-end tests: started once, deployed into once, with a fleet to take instances from.

Time runs ten times as fast: an instance ends 12 s after its warning. (The responder's own deadlines are in the events
and stay two minutes.) `fleet` launches all instances that the tests will ask for while the stack is being deployed.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from sandbox import control
from sandbox.deploy import STACK, Sam, outputs
from sandbox.environment import REGION
from sandbox.fleet import Fleet, Launched, Wanted
from sandbox.remote import Call, Remote
from sandbox.story import Story

TIME_SCALE = 0.1
ACCOUNT = "000000000000"
WARNING = "EC2 Spot Instance Interruption Warning"
REBALANCE = "EC2 Instance Rebalance Recommendation"

COMPLAINT = "cannot write the checkpoint: no space left on the volume"
PLAIN = Wanted("plain")
FAILING = Wanted("failing", exit_status=28, complaint=COMPLAINT)
ENDLESS = Wanted("endless", checkpoint_seconds=600)
NOT_OPTED_IN = Wanted("not-opted-in", opted_in=False)
NOT_MANAGED = Wanted("not-managed", managed=False)
POOL = {PLAIN: 34, FAILING: 1, ENDLESS: 2, NOT_OPTED_IN: 1, NOT_MANAGED: 1}
"""How many instances of each sort the tests take in all."""


@dataclass
class Deployed:
    """The sandbox with the stack in it."""

    remote: Remote
    sam: Sam
    outputs: dict[str, str]
    functions: dict[str, str]
    fleet: Fleet
    pool: list[Launched] = field(default_factory=list)

    def take(self, wanted: Wanted, count: int = 1) -> list[Launched]:
        """Return instances of a sort that no other test has."""
        names = [one for one in self.pool if one.name.startswith(f"{wanted.name}-")]
        taken = [one for one in names if one.name.removeprefix(f"{wanted.name}-").isdigit()][:count]
        assert len(taken) == count, f"POOL has too few instances {wanted.name}"
        self.pool = [one for one in self.pool if one not in taken]
        return taken

    def one(self, wanted: Wanted = PLAIN) -> str:
        """Return the id of an instance of a sort."""
        return self.take(wanted)[0].instance_id

    def story(self) -> Story:
        """Return the story from now on."""
        return Story(self.remote, datetime.now(UTC))

    def put(self, *events: dict[str, Any]) -> None:
        """Put events on the default bus."""
        answer = self.remote.client("events").put_events(Entries=list(events))
        assert answer["FailedEntryCount"] == 0, answer

    def invoke(self, function: str, event: Any) -> dict[str, Any]:
        """Invoke a function by its name in the template; return Lambda's answer with the payload read."""
        answer = self.remote.client("lambda").invoke(FunctionName=self.functions[function], Payload=to_json(event))
        return {**answer, "Payload": from_json(answer["Payload"].read())}

    def items(self, instance_id: str) -> list[dict[str, Any]]:
        """Return the items of one instance's notices, in DynamoDB's JSON."""
        answer = self.remote.client("dynamodb").query(
            TableName=self.outputs["NoticesTable"],
            KeyConditionExpression="account_region = :all AND begins_with(notice_id, :instance)",
            ExpressionAttributeValues={":all": {"S": f"{ACCOUNT}#{REGION}"}, ":instance": {"S": f"{instance_id}#"}},
            ConsistentRead=True,
        )
        found: list[dict[str, Any]] = answer["Items"]
        return found

    def calls(self, since: float, *names: str) -> list[Call]:
        """Return the calls that the stack's functions made since then, of these names (``ssm:SendCommand``)."""
        return [call for call in self.remote.calls(since) if call.function and call.name in names]

    def dead_letters(self) -> int:
        """Return how many messages the dead-letter queue holds."""
        queue = self.outputs["DeadLetterQueue"]
        answer = self.remote.client("sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=["All"])
        return sum(int(number) for name, number in answer["Attributes"].items() if name.startswith("ApproximateNumberOfMessages"))


def to_json(value: Any) -> bytes:
    """Return JSON."""
    import json

    return json.dumps(value).encode()


def from_json(text: bytes) -> Any:
    """Read JSON."""
    import json

    return json.loads(text)


def event(detail_type: str = WARNING, *, age: float = 0, **detail: Any) -> dict[str, Any]:
    """Return an event of EC2 as an entry of PutEvents, so many seconds old; ``instance_id`` becomes ``instance-id``."""
    return {
        "Source": "aws.ec2",
        "DetailType": detail_type,
        "Time": datetime.now(UTC).replace(microsecond=0) - timedelta(seconds=age),
        "Resources": [f"arn:aws:ec2:us-east-1b:instance/{detail.get('instance_id')}"],
        "Detail": to_json({name.replace("_", "-"): value for name, value in detail.items()}).decode(),
    }


def warning(instance_id: str, action: str = "terminate", *, age: float = 0) -> dict[str, Any]:
    """Return an interruption warning as an entry of PutEvents."""
    return event(WARNING, age=age, instance_id=instance_id, instance_action=action)


def unknown_id() -> str:
    """Return an id that no instance has."""
    return f"i-{uuid.uuid4().hex[:17]}"


@pytest.fixture(scope="session")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    """A sandbox with the stack deployed by the real `sam build` and `sam deploy`, its fleet booted."""
    directory = tmp_path_factory.mktemp("sandbox")
    state = control.start(directory, port=0, time_scale=TIME_SCALE, boot_seconds=40)
    try:
        remote = Remote(state.endpoint)
        fleet = Fleet(remote, directory / "saved-work")
        with ThreadPoolExecutor(1) as pool:
            launching = pool.submit(fleet.launch, wanted_of_pool())
            sam = _deploy(state.endpoint, directory)
            launched = launching.result()
        fleet.await_ready(launched)
        yield Deployed(remote, sam, outputs(remote.client("cloudformation")), functions_of(remote), fleet, launched)
    finally:
        control.stop(directory)


def _deploy(endpoint: str, directory: Path) -> Sam:
    sam = Sam(endpoint, directory)
    sam.build()
    sam.deploy()
    return sam


def wanted_of_pool() -> list[Wanted]:
    """Return all instances to launch, each with a name of its own."""
    from dataclasses import replace

    return [replace(wanted, name=f"{wanted.name}-{number}") for wanted, count in POOL.items() for number in range(count)]


def functions_of(remote: Remote) -> dict[str, str]:
    """Return the functions' names by their names in the template."""
    resources = remote.client("cloudformation").describe_stack_resources(StackName=STACK)["StackResources"]
    return {
        resource["LogicalResourceId"]: resource["PhysicalResourceId"] for resource in resources if resource["ResourceType"] == "AWS::Lambda::Function"
    }


@dataclass(frozen=True)
class Act:
    """What came of interrupting one instance of each sort at once."""

    instance_ids: dict[str, str]
    story: Story
    began: float

    def lines(self, sort: str, **wanted: Any) -> list[dict[str, Any]]:
        """Return the fields of the lines about the instance of a sort."""
        return [line.fields for line in self.story.find(instance_id=self.instance_ids[sort], **wanted)]


@pytest.fixture(scope="session")
def act(deployed: Deployed) -> Act:
    """One instance of each sort, warned at the same moment and watched until its end."""
    sorts = {"plain": PLAIN, "twice": PLAIN, "failing": FAILING, "endless": ENDLESS, "not opted in": NOT_OPTED_IN, "not managed": NOT_MANAGED}
    instance_ids = {sort: deployed.one(wanted) for sort, wanted in sorts.items()}
    story, began = deployed.story(), time.time()
    twice = instance_ids.pop("twice")
    deployed.remote.interrupt([twice], copies=2)
    deployed.remote.interrupt(instance_ids.values())
    instance_ids |= {"twice": twice, "unknown": unknown_id()}
    deployed.remote.interrupt([instance_ids["unknown"]])
    gone = len(instance_ids) - 1
    story.wait(lambda told: len(told.find(event="instance_gone")) >= gone, 60, "the end of every instance")
    story.wait(lambda told: len(told.find(event="notice_closed")) >= len(instance_ids), 20, "an outcome for every notice")
    return Act(instance_ids, story, began)
