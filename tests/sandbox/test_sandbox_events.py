"""EventBridge and Step Functions of a running sandbox, as far as the project leans on them."""

from __future__ import annotations

import json
import time
import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from sandbox.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

DEADLINE = 30.0
ROLE = "arn:aws:iam::000000000000:role/test"
type Clients = Callable[[str], Any]


@pytest.mark.parametrize(
    ("detail", "expected"),
    [
        ({"instance-id": [{"prefix": "i-"}]}, ["i-1", "i-2"]),
        ({"status": [{"anything-but": ["Pending"]}]}, ["i-2", "x-3"]),
        ({"status": [{"exists": False}]}, []),
        ({"seconds": [{"numeric": [">", 1, "<=", 3]}]}, ["i-2", "x-3"]),
        ({"$or": [{"status": ["Failed"]}, {"seconds": [1]}]}, ["i-1", "x-3"]),
    ],
)
def test_a_rule_lets_through_what_its_pattern_matches(aws: Clients, detail: dict[str, Any], expected: list[str]) -> None:
    """Prefix, anything-but, exists, numeric and $or are understood as EventBridge does."""
    events, sqs = aws("events"), aws("sqs")
    source = f"test.{uuid.uuid4().hex[:8]}"
    queue = sqs.create_queue(QueueName=source.replace(".", "-"))["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    events.put_rule(Name=source, EventPattern=json.dumps({"source": [source], "detail": detail}))
    events.put_rule(Name=f"{source}-end", EventPattern=json.dumps({"source": [f"{source}.end"]}))
    for rule in (source, f"{source}-end"):
        events.put_targets(Rule=rule, Targets=[{"Id": "q", "Arn": arn, "InputPath": "$.detail"}])
    samples = [("i-1", "Pending", 1), ("i-2", "Success", 2), ("x-3", "Failed", 3)]
    entries = [
        {"Source": source, "DetailType": "t", "Detail": json.dumps({"instance-id": name, "status": status, "seconds": seconds})}
        for name, status, seconds in samples
    ]
    found: list[str] = []

    def arrived(*names: str) -> bool:
        messages = sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=1, MaxNumberOfMessages=10).get("Messages", [])
        found.extend(json.loads(message["Body"])["instance-id"] for message in messages)
        return set(names) <= set(found)

    events.put_events(Entries=entries)
    wait_for(lambda: arrived(*expected), DEADLINE, "The arrival of the expected events")
    events.put_events(Entries=[{"Source": f"{source}.end", "DetailType": "t", "Detail": '{"instance-id": "end"}'}])
    wait_for(lambda: arrived("end"), DEADLINE, "The arrival of the last event")
    assert sorted(set(found) - {"end"}) == expected


def test_an_archive_is_replayed(aws: Clients) -> None:
    """The archived events come again, with their own time and the replay's name, and are not archived twice."""
    events, sqs = aws("events"), aws("sqs")
    source = f"test.{uuid.uuid4().hex[:8]}"
    name = source.replace(".", "-")
    queue = sqs.create_queue(QueueName=name)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    bus = events.describe_event_bus(Name="default")["Arn"]
    archive = events.create_archive(ArchiveName=name, EventSourceArn=bus, EventPattern=json.dumps({"source": [source]}))["ArchiveArn"]
    events.put_rule(Name=name, EventPattern=json.dumps({"source": [source]}))
    events.put_targets(Rule=name, Targets=[{"Id": "q", "Arn": arn}])
    then = datetime.now(UTC) - timedelta(seconds=90)
    events.put_events(Entries=[{"Source": source, "DetailType": "t", "Detail": '{"n": 1}', "Time": then}])
    first = next_message(sqs, queue)
    events.start_replay(
        ReplayName=name,
        EventSourceArn=archive,
        EventStartTime=then - timedelta(minutes=2),
        EventEndTime=datetime.now(UTC) + timedelta(minutes=1),
        Destination={"Arn": bus},
    )
    again = next_message(sqs, queue)
    assert (again["detail"], again["time"], again["replay-name"]) == (first["detail"], first["time"], name)
    assert events.describe_archive(ArchiveName=name)["EventCount"] == 1


def next_message(sqs: Any, queue: str) -> dict[str, Any]:
    """The next message of a queue, taken from it."""
    found = wait_for(lambda: sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=1).get("Messages"), DEADLINE, "A message")
    sqs.delete_message(QueueUrl=queue, ReceiptHandle=found[0]["ReceiptHandle"])
    body: dict[str, Any] = json.loads(found[0]["Body"])
    return body


class Machine:
    """A state machine in the sandbox."""

    def __init__(self, aws: Clients, states: dict[str, Any]) -> None:
        self._api = aws("stepfunctions")
        definition = {"QueryLanguage": "JSONata", "StartAt": next(iter(states)), "States": states}
        made = self._api.create_state_machine(name=f"m-{uuid.uuid4().hex[:8]}", definition=json.dumps(definition), roleArn=ROLE)
        self._arn = made["stateMachineArn"]

    def start(self, **given: Any) -> str:
        """Start an execution; return its ARN."""
        arn: str = self._api.start_execution(stateMachineArn=self._arn, input=json.dumps(given))["executionArn"]
        return arn

    def end_of(self, execution: str) -> dict[str, Any]:
        """The execution once it has ended."""

        def look() -> dict[str, Any] | None:
            found: dict[str, Any] = self._api.describe_execution(executionArn=execution)
            return found if found["status"] != "RUNNING" else None

        return wait_for(look, DEADLINE, "The end of the execution") or {}

    def run(self, **given: Any) -> Any:
        """The output of a whole execution."""
        ended = self.end_of(self.start(**given))
        assert ended["status"] == "SUCCEEDED", ended
        return json.loads(ended["output"])


def test_jsonata_is_evaluated(aws: Clients) -> None:
    """Expressions, variables, conditions; whole numbers are integers, and text is text whatever is in it."""
    awkward = 'a "quoted" \\ text\nwith $states.input and {% %}'
    machine = Machine(
        aws,
        {
            "Take": {"Type": "Pass", "Assign": {"text": "{% $states.input.text %}", "half": "{% $states.input.number / 2 %}"}, "Next": "Choose"},
            "Choose": {"Type": "Choice", "Choices": [{"Condition": "{% $half > 1 %}", "Next": "Done"}], "Default": "Never"},
            "Never": {"Type": "Fail"},
            "Done": {"Type": "Succeed", "Output": {"text": "{% $text %}", "half": "{% $half %}", "all": "{% [1..3].($ * 2) %}"}},
        },
    )
    assert machine.run(text=awkward, number=4) == {"text": awkward, "half": 2, "all": [2, 4, 6]}


def test_a_wait_takes_the_sandboxs_time(aws: Clients) -> None:
    """20 s take one at a twentieth."""
    machine = Machine(aws, {"Wait": {"Type": "Wait", "Seconds": 20, "Next": "Done"}, "Done": {"Type": "Succeed"}})
    began = time.monotonic()
    machine.run()
    assert 1.0 <= time.monotonic() - began < 10.0


def test_an_error_of_the_sdk_has_the_name_that_aws_gives_it(aws: Clients) -> None:
    """An instance that EC2 does not know is caught as Ec2.Ec2Exception."""
    call = "arn:aws:states:::aws-sdk:ec2:terminateInstances"
    caught = {"ErrorEquals": ["Ec2.Ec2Exception"], "Output": "{% $states.errorOutput.Error %}", "Next": "Done"}
    machine = Machine(
        aws,
        {
            "End": {"Type": "Task", "Resource": call, "Arguments": {"InstanceIds": ["i-0123456789abcdef0"]}, "Catch": [caught], "Next": "Wrong"},
            "Wrong": {"Type": "Fail"},
            "Done": {"Type": "Succeed"},
        },
    )
    assert machine.run() == "Ec2.Ec2Exception"


def test_a_token_is_waited_for(aws: Clients) -> None:
    """updateItem.waitForTaskToken puts the token on the item; success goes on, a failure is caught by its name."""
    dynamodb = aws("dynamodb")
    table = f"t-{uuid.uuid4().hex[:8]}"
    key = {"AttributeName": "id", "AttributeType": "S"}
    dynamodb.create_table(
        TableName=table, BillingMode="PAY_PER_REQUEST", AttributeDefinitions=[key], KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}]
    )
    arguments = {
        "TableName": table,
        "Key": {"id": {"S": "{% $states.input.id %}"}},
        "UpdateExpression": "SET #t = :t",
        "ExpressionAttributeNames": {"#t": "token"},
        "ExpressionAttributeValues": {":t": {"S": "{% $states.context.Task.Token %}"}},
    }
    caught = {"ErrorEquals": ["Interrupted"], "Output": "{% $states.errorOutput.Cause %}", "Next": "Done"}
    resource = "arn:aws:states:::aws-sdk:dynamodb:updateItem.waitForTaskToken"
    machine = Machine(
        aws,
        {
            "Run": {"Type": "Task", "Resource": resource, "Arguments": arguments, "HeartbeatSeconds": 60, "Catch": [caught], "Next": "Done"},
            "Done": {"Type": "Succeed"},
        },
    )

    def token(identifier: str) -> str:
        def look() -> str | None:
            item = dynamodb.get_item(TableName=table, Key={"id": {"S": identifier}}).get("Item")
            return str(item["token"]["S"]) if item else None

        return wait_for(look, DEADLINE, "The token") or ""

    api = aws("stepfunctions")
    finished, interrupted = machine.start(id="finished"), machine.start(id="interrupted")
    api.send_task_heartbeat(taskToken=token("finished"))
    api.send_task_success(taskToken=token("finished"), output='{"percent": 100}')
    api.send_task_failure(taskToken=token("interrupted"), error="Interrupted", cause="two minutes")
    assert json.loads(machine.end_of(finished)["output"]) == {"percent": 100}
    assert json.loads(machine.end_of(interrupted)["output"]) == "two minutes"
