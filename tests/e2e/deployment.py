"""The deployed stack as the end-to-end tests speak to it, the fleet they take instances from, and events to put on the bus."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sandbox.environment import REGION
from sandbox.fleet import Wanted
from sandbox.story import Story

if TYPE_CHECKING:
    from sandbox.deploy import Sam
    from sandbox.fleet import Fleet, Launched
    from sandbox.remote import Call, Remote

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
        answer = self.remote.client("lambda").invoke(FunctionName=self.functions[function], Payload=json.dumps(event).encode())
        return {**answer, "Payload": json.load(answer["Payload"])}

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

    def metric(self, name: str) -> float:
        """Return the sum of one of our metrics over the last half hour."""
        now = datetime.now(UTC)
        answer = self.remote.client("cloudwatch").get_metric_statistics(
            Namespace="SpotResponder",
            MetricName=name,
            StartTime=now - timedelta(minutes=30),
            EndTime=now + timedelta(minutes=1),
            Period=60,
            Statistics=["Sum"],
        )
        return float(sum(point["Sum"] for point in answer["Datapoints"]))

    def dead_letters(self) -> int:
        """Return how many messages the dead-letter queue holds."""
        queue = self.outputs["DeadLetterQueue"]
        answer = self.remote.client("sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=["All"])
        return sum(int(number) for name, number in answer["Attributes"].items() if name.startswith("ApproximateNumberOfMessages"))


def event(detail_type: str = WARNING, *, age: float = 0, **detail: Any) -> dict[str, Any]:
    """Return an event of EC2 as an entry of PutEvents, so many seconds old; ``instance_id`` becomes ``instance-id``."""
    return {
        "Source": "aws.ec2",
        "DetailType": detail_type,
        "Time": datetime.now(UTC).replace(microsecond=0) - timedelta(seconds=age),
        "Resources": [f"arn:aws:ec2:us-east-1b:instance/{detail.get('instance_id')}"],
        "Detail": json.dumps({name.replace("_", "-"): value for name, value in detail.items()}),
    }


def delivered(entry: dict[str, Any]) -> dict[str, Any]:
    """Return an entry of PutEvents as EventBridge delivers it."""
    return {
        "version": "0",
        "id": str(uuid.uuid4()),
        "detail-type": entry["DetailType"],
        "source": entry["Source"],
        "account": ACCOUNT,
        "time": entry["Time"].strftime("%Y-%m-%dT%H:%M:%SZ"),
        "region": REGION,
        "resources": entry["Resources"],
        "detail": json.loads(entry["Detail"]),
    }


def warning(instance_id: str, action: str = "terminate", *, age: float = 0) -> dict[str, Any]:
    """Return an interruption warning as an entry of PutEvents."""
    return event(WARNING, age=age, instance_id=instance_id, instance_action=action)


def unknown_id() -> str:
    """Return an id that no instance has."""
    return f"i-{uuid.uuid4().hex[:17]}"


def wanted_of_pool() -> list[Wanted]:
    """Return all instances to launch, each with a name of its own."""
    return [replace(wanted, name=f"{wanted.name}-{number}") for wanted, count in POOL.items() for number in range(count)]


@dataclass(frozen=True)
class Act:
    """What came of interrupting one instance of each sort at once."""

    instance_ids: dict[str, str]
    story: Story

    def lines(self, sort: str, **wanted: Any) -> list[dict[str, Any]]:
        """Return the fields of the lines about the instance of a sort."""
        return [line.fields for line in self.story.find(instance_id=self.instance_ids[sort], **wanted)]
