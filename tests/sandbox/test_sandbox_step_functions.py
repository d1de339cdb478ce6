"""Step Functions of a running sandbox: executions that are stopped by hand are aborted at once; errors have the names that AWS gives them."""

from __future__ import annotations

import contextlib
import json
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from sandbox.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DEADLINE = 30.0
ROLE = "arn:aws:iam::000000000000:role/test"
UNKNOWN = {"TableName": "unknown", "Key": {"id": {"S": "1"}}}
type Clients = Callable[[str], Any]

AT_WORK: dict[str, dict[str, Any]] = {
    "waiting": {"Type": "Wait", "Seconds": 6000, "Next": "Done"},
    "for a token": {
        "Type": "Task",
        "Resource": "arn:aws:states:::aws-sdk:sqs:sendMessage.waitForTaskToken",
        "Arguments": {"QueueUrl": "{% $states.input.queue %}", "MessageBody": "{% $states.context.Task.Token %}"},
        "HeartbeatSeconds": 120,
        "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "Done"}],
        "Next": "Done",
    },
    "between retries": {
        "Type": "Task",
        "Resource": "arn:aws:states:::dynamodb:getItem",
        "Arguments": UNKNOWN,
        "Retry": [{"ErrorEquals": ["States.ALL"], "IntervalSeconds": 40, "BackoffRate": 1, "MaxAttempts": 500}],
        "Next": "Done",
    },
}


@pytest.fixture(params=AT_WORK)
def stopped(request: pytest.FixtureRequest, aws: Clients) -> Iterator[tuple[str, list[str]]]:
    """An execution that was stopped while its state was at work, and the queue that hears of its end."""
    name = f"stopped-{uuid.uuid4().hex[:8]}"
    sfn, events, sqs = aws("stepfunctions"), aws("events"), aws("sqs")
    definition = {"QueryLanguage": "JSONata", "StartAt": "Work", "States": {"Work": AT_WORK[request.param], "Done": {"Type": "Succeed"}}}
    machine = sfn.create_state_machine(name=name, definition=json.dumps(definition), roleArn=ROLE)["stateMachineArn"]
    queue = sqs.create_queue(QueueName=name)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    ends = {"source": ["aws.states"], "detail": {"stateMachineArn": [machine], "status": ["ABORTED", "FAILED", "SUCCEEDED", "TIMED_OUT"]}}
    events.put_rule(Name=name, EventPattern=json.dumps(ends))
    events.put_targets(Rule=name, Targets=[{"Id": "q", "Arn": arn, "InputPath": "$.detail"}])
    execution = sfn.start_execution(stateMachineArn=machine, input=json.dumps({"queue": queue}))["executionArn"]
    wait_for(lambda: _has_begun(sfn, execution), DEADLINE, "The first state's work")
    sfn.stop_execution(executionArn=execution, error="ByHand", cause="enough")
    yield execution, [queue]
    events.remove_targets(Rule=name, Ids=["q"])
    events.delete_rule(Name=name)


def _has_begun(sfn: Any, execution: str) -> bool:
    """Tell whether the first state waits, or its call was made."""
    types = _types(sfn, execution)
    return "WaitStateEntered" in types or "TaskSubmitted" in types or "TaskFailed" in types


def _types(sfn: Any, execution: str) -> list[str]:
    return [event["type"] for event in sfn.get_execution_history(executionArn=execution)["events"]]


def test_a_stopped_execution_is_aborted(stopped: tuple[str, list[str]], aws: Clients) -> None:
    """It is ABORTED, with the error and cause that were given, its last event says so, and EventBridge hears of that one end only."""
    execution, (queue,) = stopped
    sfn, sqs = aws("stepfunctions"), aws("sqs")
    heard: list[str] = []

    def hear() -> bool:
        for message in sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10, WaitTimeSeconds=1).get("Messages", []):
            body = json.loads(message["Body"]) if message["Body"].startswith("{") else {}
            heard.extend([body["status"]] if "status" in body else [])
        return bool(heard)

    wait_for(lambda: _types(sfn, execution)[-1] == "ExecutionAborted", DEADLINE, "The end of the execution")
    wait_for(hear, DEADLINE, "EventBridge's event")
    (end,) = sfn.get_execution_history(executionArn=execution)["events"][-1:]
    assert end["executionAbortedEventDetails"] == {"error": "ByHand", "cause": "enough"}
    assert sfn.describe_execution(executionArn=execution)["status"] == "ABORTED"
    assert heard == ["ABORTED"]
    assert "TaskStateExited" not in _types(sfn, execution)


@pytest.mark.parametrize(
    ("resource", "arguments", "error"),
    [
        ("dynamodb:getItem", UNKNOWN, "DynamoDB.ResourceNotFoundException"),
        ("dynamodb:getItem", UNKNOWN | {"TableName": "of-other-keys"}, "DynamoDB.AmazonDynamoDBException"),
        ("aws-sdk:dynamodb:getItem", UNKNOWN, "DynamoDb.ResourceNotFoundException"),
        (
            "states:startExecution",
            {"StateMachineArn": "arn:aws:states:us-east-1:000000000000:stateMachine:none"},
            "StepFunctions.StateMachineDoesNotExistException",
        ),
    ],
)
def test_an_error_has_the_name_that_aws_gives_it(aws: Clients, resource: str, arguments: dict[str, Any], error: str) -> None:
    """What the service's model names is called so, with the integration's prefix; the rest has the optimized integration's general name."""
    sfn = aws("stepfunctions")
    key = {"AttributeName": "name", "AttributeType": "S"}
    with contextlib.suppress(aws("dynamodb").exceptions.ResourceInUseException):
        aws("dynamodb").create_table(
            TableName="of-other-keys",
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[key],
            KeySchema=[{"AttributeName": "name", "KeyType": "HASH"}],
        )
    call = {"Type": "Task", "Resource": f"arn:aws:states:::{resource}", "Arguments": arguments, "End": True}
    definition = json.dumps({"QueryLanguage": "JSONata", "StartAt": "Call", "States": {"Call": call}})
    machine = sfn.create_state_machine(name=f"named-{uuid.uuid4().hex[:8]}", definition=definition, roleArn=ROLE)["stateMachineArn"]
    execution = sfn.start_execution(stateMachineArn=machine)["executionArn"]
    wait_for(lambda: sfn.describe_execution(executionArn=execution)["status"] == "FAILED", DEADLINE, "The failure")
    assert sfn.describe_execution(executionArn=execution)["error"] == error
