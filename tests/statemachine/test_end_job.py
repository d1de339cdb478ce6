"""The state machine that ends what a stopped execution left behind, run as it is: each choice, each catch and each retry is taken."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.statemachine.definitions import END_JOB

if TYPE_CHECKING:
    from tests.statemachine.stage import Ended, Execution, Stage

ARN = "arn:aws:states:us-east-1:000000000000:execution:spot-responder-SpotChaosStateMachine:"


def status_change(execution: str, given: object = None, status: str = "ABORTED") -> dict[str, Any]:
    """Return EventBridge's event of an execution's end ("Step Functions Execution Status Change", Step Functions Developer Guide)."""
    return {
        "version": "0",
        "id": "315c1398-40ff-a850-213b-158f73e60175",
        "detail-type": "Step Functions Execution Status Change",
        "source": "aws.states",
        "account": "000000000000",
        "time": "2026-11-22T10:00:00Z",
        "region": "us-east-1",
        "resources": [execution],
        "detail": {
            "executionArn": execution,
            "stateMachineArn": ARN.replace(":execution:", ":stateMachine:").removesuffix(":"),
            "name": execution.rpartition(":")[2],
            "status": status,
            "startDate": 1795341600000,
            "stopDate": 1795341660000,
            # Step Functions leaves out an input that is too large for an event.
            "input": None if given is None else json.dumps(given),
            "inputDetails": {"included": given is not None},
            "output": None,
            "outputDetails": None,
        },
    }


def end_job(stage: Stage, event: dict[str, Any]) -> tuple[Ended, Execution]:
    """Let the state machine hear of an execution's end; return how it ended itself."""
    execution = stage.start(event, definition_=END_JOB)
    return execution.end(), execution


def left_behind(stage: Stage, job_id: str, status: str = "running", execution: str = ARN + "left") -> str:
    """Return the id of an instance that a job's execution left running, with the job's record as that execution left it."""
    stage.put_job(job_id, job_status=status, execution=execution, token="spent")
    return stage.launch(job_id)


def test_a_job_that_was_stopped_by_hand(stage: Stage) -> None:
    """The instance of a job whose execution was stopped is ended, and the record says that the job is stopped."""
    job = stage.start({"JobId": "by-hand"})
    job.attempt()
    job.stop()
    assert stage.living("by-hand") != []
    ended, execution = end_job(stage, status_change(job.arn, job.given))
    assert (ended.status, execution.entered()[-1]) == ("SUCCEEDED", "EndInstances")
    assert stage.living("by-hand") == []
    assert (stage.item("by-hand")["job_status"], "token" in stage.item("by-hand")) == ("stopped", False)


def test_the_news_may_come_twice(stage: Stage) -> None:
    """When EventBridge delivers the event again, there is nothing left to end, and nothing is changed."""
    left_behind(stage, "twice-told")
    event = status_change(ARN + "left", {"JobId": "twice-told"})
    end_job(stage, event)
    before = stage.item("twice-told")
    ended, execution = end_job(stage, event)
    assert (ended.status, execution.entered()[-1]) == ("SUCCEEDED", "NothingToEnd")
    assert stage.item("twice-told") == before


UNNAMED: dict[str, object] = {"too-large": None, "nothing": {}, "a-list": [1], "a-text": "x", "a-number": {"JobId": 7}, "invalid": {"JobId": "a b"}}


@pytest.mark.parametrize(("name", "given"), UNNAMED.items(), ids=UNNAMED)
def test_the_job_is_found_by_the_execution_s_name(stage: Stage, name: str, given: object) -> None:
    """Where the input names no job, the job has the execution's name, as it had when the execution began."""
    left_behind(stage, name, execution=ARN + name)
    ended, _ = end_job(stage, status_change(ARN + name, given))
    assert (ended.status, stage.living(name), stage.item(name)["job_status"]) == ("SUCCEEDED", [], "stopped")


def test_a_job_that_closed_itself_and_left_an_instance(stage: Stage) -> None:
    """An instance that an execution could not end before it failed is ended now; what it wrote of the job stays."""
    left_behind(stage, "failed-itself", "failed")
    ended, _ = end_job(stage, status_change(ARN + "left", {"JobId": "failed-itself"}, "FAILED"))
    assert (ended.status, stage.living("failed-itself"), stage.item("failed-itself")["job_status"]) == ("SUCCEEDED", [], "failed")


@pytest.mark.parametrize(
    ("status", "execution"),
    [("running", ARN + "another"), ("failed", ARN + "another"), ("finished", ARN + "left")],
    ids=["resumed", "failed", "finished"],
)
def test_another_s_job_is_left_alone(stage: Stage, status: str, execution: str) -> None:
    """A job that another execution took over, or that is finished, is not touched, and its instances work on."""
    job_id = f"taken-over-{status}"
    instance = left_behind(stage, job_id, status, execution)
    before = stage.item(job_id)
    ended, machine = end_job(stage, status_change(ARN + "left", {"JobId": job_id}))
    assert (ended.status, machine.entered()[-1]) == ("SUCCEEDED", "NothingToEnd")
    assert (stage.living(job_id), stage.item(job_id)) == ([instance], before)


def test_a_job_without_a_record(stage: Stage) -> None:
    """Where the record is gone, nobody can say whose the instances are: nothing is ended."""
    ended, execution = end_job(stage, status_change(ARN + "left", {"JobId": "deleted"}))
    assert (ended.status, execution.entered()[-1]) == ("SUCCEEDED", "NothingToEnd")
    assert stage.item("deleted") == {}


@pytest.mark.parametrize(
    ("service", "operation", "state", "code"),
    [
        ("dynamodb", "UpdateItem", "CloseJob", "ThrottlingException"),
        ("dynamodb", "GetItem", "ReadJob", "ServiceUnavailable"),
        ("ec2", "DescribeInstances", "FindInstances", "RequestLimitExceeded"),
        ("ec2", "TerminateInstances", "EndInstances", "InternalError"),
    ],
)
def test_a_busy_service_is_asked_again(stage: Stage, service: str, operation: str, state: str, code: str) -> None:
    """What AWS does not take at once is asked again, and the instance is ended."""
    job_id = f"busy-{operation}"
    left_behind(stage, job_id, "failed" if state == "ReadJob" else "running")
    stage.remote.fail(service, operation, code, count=2)
    ended, execution = end_job(stage, status_change(ARN + "left", {"JobId": job_id}))
    assert (ended.status, stage.living(job_id)) == ("SUCCEEDED", [])
    assert [event["type"] for event in execution.history].count("TaskFailed") == 2 + (state == "ReadJob")
    assert (state, "Retry 0", state) in stage.ways[END_JOB]


@pytest.mark.parametrize(
    ("service", "operation", "error"),
    [
        ("dynamodb", "UpdateItem", "DynamoDB.AmazonDynamoDBException"),
        ("ec2", "DescribeInstances", "Ec2.Ec2Exception"),
        ("ec2", "TerminateInstances", "Ec2.Ec2Exception"),
    ],
)
def test_what_cannot_be_ended_is_told(stage: Stage, service: str, operation: str, error: str) -> None:
    """What AWS refuses for good fails the execution with AWS's own error."""
    job_id = f"refused-{operation}"
    left_behind(stage, job_id)
    stage.remote.fail(service, operation, "AccessDeniedException")
    ended, _ = end_job(stage, status_change(ARN + "left", {"JobId": job_id}))
    assert (ended.status, ended.error, "AccessDeniedException" in ended.cause) == ("FAILED", error, True)
