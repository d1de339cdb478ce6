"""The jobs on DynamoDB and Step Functions: which calls, and what their answers mean."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from spot_responder.adapters.clients import client
from spot_responder.adapters.jobs import NoJobs, StepFunctionsJobs
from spot_responder.domain.errors import ConfigurationError, Refused, Unavailable
from spot_responder.domain.events import InstanceEnded
from spot_responder.domain.jobs import Attempt, Told
from spot_responder.domain.notices import Action, Notice, NoticeKind
from tests.examples import ACCOUNT, NOW, REGION, attempt, instance_id
from tests.fakes.aws import json_error, ok

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.fakes.aws import AwsOverHttp, Call, Reply

TIME = datetime(2026, 11, 22, 10, 0, 0, 900_000, tzinfo=UTC)
WARNING = Notice(NoticeKind.INTERRUPTION, Action.TERMINATE, instance_id(1), ACCOUNT, REGION, TIME, "e")
RECOMMENDATION = replace(WARNING, kind=NoticeKind.REBALANCE, action=Action.NONE)


@pytest.fixture(scope="module")
def jobs(installed: AwsOverHttp) -> StepFunctionsJobs:
    """Return the jobs of a table on that AWS."""
    return StepFunctionsJobs(client("dynamodb"), client("stepfunctions"), "jobs")


def item(of: Attempt, *, status: str = "running", token: str | None = None) -> dict[str, Any]:
    """Return a job's item while this attempt runs."""
    found: dict[str, Any] = {
        "job_id": {"S": of.job_id},
        "job_status": {"S": status},
        "attempt": {"N": str(of.number)},
        "instance_id": {"S": of.instance_id},
        "token": {"S": token or f"token of {of.job_id}"},
    }
    return found


def has(aws: AwsOverHttp, *items: dict[str, Any]) -> None:
    """Let the table have these items, and Step Functions take every token."""

    def read(call: Call) -> Reply:
        keys = [key["job_id"]["S"] for key in call.parameters["RequestItems"]["jobs"]["Keys"]]
        return ok(Responses={"jobs": [one for one in items if one["job_id"]["S"] in keys]})

    aws.always("dynamodb:BatchGetItem", read)
    aws.always("dynamodb:Query", ok(Items=list(items)))
    aws.always("sfn:SendTaskSuccess", ok())


def interrupt(jobs: StepFunctionsJobs, attempts: Iterable[Attempt], notice: Notice = WARNING) -> dict[Attempt, Told]:
    """Tell jobs of their instances' notices."""
    return dict(jobs.interrupted(dict.fromkeys(attempts, notice)))


def ended(number: int = 1) -> InstanceEnded:
    """Return the end of an instance."""
    return InstanceEnded(instance_id(number), "shutting-down", ACCOUNT, REGION, NOW)


def sent(aws: AwsOverHttp) -> list[tuple[str, Any]]:
    """Return the tokens that were sent, each with its result."""
    return [(call.parameters["taskToken"], json.loads(call.parameters["output"])) for call in aws.of("sfn:SendTaskSuccess")]


def test_an_interruption_is_sent(aws: AwsOverHttp, jobs: StepFunctionsJobs) -> None:
    """The attempt's token goes back with the deadline in whole epoch seconds, never later than it is."""
    has(aws, item(attempt()))
    assert interrupt(jobs, [attempt()]) == {attempt(): Told()}
    assert sent(aws) == [("token of job-1", {"result": "interrupted", "kind": "interruption", "deadline": 1795341720})]
    assert int(WARNING.deadline.timestamp()) == 1795341720


def test_a_recommendation_has_no_deadline(aws: AwsOverHttp, jobs: StepFunctionsJobs) -> None:
    """An instance that may go on for ever is not said to end."""
    has(aws, item(attempt()))
    assert interrupt(jobs, [attempt()], RECOMMENDATION) == {attempt(): Told()}
    assert sent(aws) == [("token of job-1", {"result": "interrupted", "kind": "rebalance"})]


def test_a_hundred_jobs_are_one_read(aws: AwsOverHttp, jobs: StepFunctionsJobs) -> None:
    """A hundred jobs cost one strongly consistent read; one more, a second."""
    attempts = [attempt(of_job=f"job-{number}", on=number) for number in range(101)]
    has(aws, *map(item, attempts))
    interrupt(jobs, attempts[:100])
    assert aws.counts("dynamodb", "sfn") == {"dynamodb:BatchGetItem": 1, "sfn:SendTaskSuccess": 100}
    assert aws.calls[0].parameters["RequestItems"]["jobs"]["ConsistentRead"] is True
    aws.calls.clear()
    assert set(interrupt(jobs, attempts).values()) == {Told()}
    assert aws.counts("dynamodb", "sfn") == {"dynamodb:BatchGetItem": 2, "sfn:SendTaskSuccess": 101}


NOT_WAITING = {
    "no such job": ([], "this stack has no such job"),
    "another attempt": ([item(attempt(2, on=2))], f"attempt 2 on {instance_id(2)} is the one that runs"),
    "another instance": ([item(attempt(on=2))], f"attempt 1 on {instance_id(2)} is the one that runs"),
    "finished": ([item(attempt(), status="finished")], "the job waits for no attempt"),
    "between attempts": ([{"job_id": {"S": "job-1"}, "job_status": {"S": "running"}}], "the job waits for no attempt"),
}


@pytest.mark.parametrize(("items", "refusal"), NOT_WAITING.values(), ids=NOT_WAITING)
def test_a_job_that_does_not_wait_for_this_attempt(aws: AwsOverHttp, jobs: StepFunctionsJobs, items: list[dict[str, Any]], refusal: str) -> None:
    """A job that does not wait for this very attempt on this very instance is told nothing, and that is no trouble."""
    has(aws, *items)
    assert interrupt(jobs, [attempt()]) == {attempt(): Told(refusal)}
    assert sent(aws) == []


@pytest.mark.parametrize("code", ["TaskTimedOut", "TaskDoesNotExist", "InvalidToken"])
def test_a_used_token_is_no_trouble(aws: AwsOverHttp, jobs: StepFunctionsJobs, code: str) -> None:
    """A token that somebody sent before is an expected answer, for both words."""
    has(aws, item(attempt()))
    aws.always("sfn:SendTaskSuccess", json_error(code))
    assert interrupt(jobs, [attempt()]) == {attempt(): Told(f"somebody told it before ({code})")}
    assert jobs.lost(ended()) is None


def test_one_throttled_job_stops_no_other(aws: AwsOverHttp, jobs: StepFunctionsJobs) -> None:
    """A job that cannot be told for now is to be tried again; one that IAM refuses is not; the third is told."""
    attempts = [attempt(of_job=f"job-{number}") for number in (1, 2, 3)]
    has(aws, *map(item, attempts))
    throttled = json_error("ThrottlingException", "Rate exceeded")
    aws.once("sfn:SendTaskSuccess", throttled, throttled, json_error("AccessDeniedException", "not authorized"))
    told = interrupt(jobs, attempts)
    assert [(one.is_trouble, one.is_worth_another_try) for one in told.values()] == [(True, True), (True, False), (False, False)]
    assert "Rate exceeded" in str(told[attempts[0]].refusal)


@pytest.mark.parametrize(
    ("answer", "again"),
    [
        (json_error("ProvisionedThroughputExceededException"), True),
        (ok(Responses={}, UnprocessedKeys={"jobs": {"Keys": [{"job_id": {"S": "job-1"}}]}}), True),
        (json_error("AccessDeniedException"), False),
    ],
    ids=["throttled", "unprocessed", "denied"],
)
def test_jobs_that_cannot_be_read(aws: AwsOverHttp, jobs: StepFunctionsJobs, answer: Reply, *, again: bool) -> None:
    """Jobs that cannot be read are not told; that is trouble, and tried again where that may help."""
    aws.always("dynamodb:BatchGetItem", answer)
    (told,) = interrupt(jobs, [attempt()]).values()
    assert (told.is_trouble, told.is_worth_another_try) == (True, again)


def test_a_lost_attempt_is_sent(aws: AwsOverHttp, jobs: StepFunctionsJobs) -> None:
    """The job that waits for an attempt on the instance that ended gets its token back, with the state as EC2 calls it."""
    has(aws, item(attempt(2)))
    assert jobs.lost(ended()) == attempt(2)
    result = {"result": "gone", "state": "shutting-down", "cause": f"the instance {instance_id()} is shutting-down"}
    assert sent(aws) == [("token of job-1", result)]
    assert aws.of("dynamodb:Query")[0].parameters["IndexName"] == "by_instance"


@pytest.mark.parametrize(
    "items",
    [
        [],
        [item(attempt(), status="finished")],
        [item(attempt(), status="failed")],
        # What the agent writes down of an attempt is in the index, too.
        [{"job_id": {"S": "job-1#1"}, "attempt": {"N": "1"}, "instance_id": {"S": instance_id()}}],
    ],
    ids=["no job", "finished", "failed", "an attempt's own record"],
)
def test_an_end_that_is_no_loss(aws: AwsOverHttp, jobs: StepFunctionsJobs, items: list[dict[str, Any]]) -> None:
    """The end of an instance whose job is over, or that had none, is sent to nobody."""
    has(aws, *items)
    assert jobs.lost(ended()) is None
    assert aws.counts("dynamodb", "sfn") == {"dynamodb:Query": 1}


@pytest.mark.parametrize(
    ("operation", "error", "expected"),
    [
        ("dynamodb:Query", json_error("ThrottlingException"), Unavailable),
        ("dynamodb:Query", json_error("AccessDeniedException"), Refused),
        ("dynamodb:Query", json_error("ResourceNotFoundException"), ConfigurationError),
        ("sfn:SendTaskSuccess", json_error("ThrottlingException"), Unavailable),
        ("sfn:SendTaskSuccess", json_error("AccessDeniedException"), Refused),
    ],
)
def test_a_loss_that_cannot_be_told_fails(aws: AwsOverHttp, jobs: StepFunctionsJobs, operation: str, error: Reply, expected: type[Exception]) -> None:
    """What goes wrong fails the invocation, which Lambda tries again."""
    has(aws, item(attempt()))
    aws.always(operation, error)
    with pytest.raises(expected):
        jobs.lost(ended())


def test_a_missing_table_is_named(aws: AwsOverHttp, jobs: StepFunctionsJobs) -> None:
    """A table that does not exist is named with its variable."""
    aws.always("dynamodb:BatchGetItem", json_error("ResourceNotFoundException"))
    with pytest.raises(ConfigurationError, match="JOBS_TABLE is jobs: there is no such table"):
        interrupt(jobs, [attempt()])


def test_without_a_job_part() -> None:
    """Where the job part is not deployed nobody is told, and the reason names the parameter."""
    ((_, told),) = NoJobs().interrupted({attempt(): WARNING})
    assert "SubnetIds" in str(told.refusal)
    assert not told.is_trouble
    NoJobs().lost(ended())
