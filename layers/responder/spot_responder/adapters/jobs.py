"""The jobs table and the task tokens in it (DynamoDB API; Step Functions API, "SendTaskSuccess").

The state machine puts the token of the attempt that runs on the job's item. Whoever sends it back first decides how the
attempt ended; that a token was used already is no error. No job part deployed, no job: ``NoJobs``.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import batched
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from spot_responder.adapters.clients import calling, error_code
from spot_responder.domain.errors import CallFailed, ConfigurationError, Unavailable
from spot_responder.domain.jobs import Attempt, Told
from spot_responder.domain.notices import NoticeKind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import KeysAndAttributesTypeDef
    from mypy_boto3_stepfunctions import SFNClient

    from spot_responder.domain.events import InstanceEnded
    from spot_responder.domain.notices import Notice

KEYS_PER_READ = 100
USED_TOKEN = ("TaskTimedOut", "TaskDoesNotExist", "InvalidToken")
BY_INSTANCE = "by_instance"
RUNNING = "running"

type Item = Mapping[str, Any]


class NoJobs:
    """``Jobs`` where the job part is not deployed."""

    def interrupted(self, attempts: Mapping[Attempt, Notice]) -> Iterator[tuple[Attempt, Told]]:
        """Nobody to tell."""
        yield from ((attempt, Told("this stack has no job part, its parameter SubnetIds is empty")) for attempt in attempts)

    def lost(self, _ended: InstanceEnded) -> None:
        """No job runs on any instance."""


@dataclass(frozen=True, slots=True)
class StepFunctionsJobs:
    """``Jobs`` on DynamoDB and Step Functions."""

    dynamodb: DynamoDBClient
    stepfunctions: SFNClient
    table: str

    def interrupted(self, attempts: Mapping[Attempt, Notice]) -> Iterator[tuple[Attempt, Told]]:
        """Send each job's token back, if it is this attempt's."""
        for some in batched(sorted(attempts, key=lambda attempt: attempt.job_id), KEYS_PER_READ, strict=False):
            try:
                items = self._read(sorted({attempt.job_id for attempt in some}))
            except CallFailed as error:
                yield from ((attempt, _failed(error)) for attempt in some)
            else:
                yield from ((attempt, self._interrupt(attempt, items.get(attempt.job_id), attempts[attempt])) for attempt in some)

    def lost(self, ended: InstanceEnded) -> Attempt | None:
        """Send the token of the attempt that ran on the instance, unless it was sent before."""
        with self._calling("Query"):
            found = self.dynamodb.query(
                TableName=self.table,
                IndexName=BY_INSTANCE,
                KeyConditionExpression="instance_id = :instance",
                ExpressionAttributeValues={":instance": {"S": ended.instance_id}},
            )
        result = {"result": "gone", "state": ended.state, "cause": f"the instance {ended.instance_id} is {ended.state}"}
        waiting = [item for item in found["Items"] if _is_waiting(item) and self._send(item["token"]["S"], result) is None]
        return _attempt(waiting[0]) if waiting else None

    def _read(self, job_ids: Sequence[str]) -> dict[str, Item]:
        wanted: KeysAndAttributesTypeDef = {
            "Keys": [{"job_id": {"S": job_id}} for job_id in job_ids],
            "ConsistentRead": True,
            "ProjectionExpression": "job_id, job_status, attempt, instance_id, #token",
            "ExpressionAttributeNames": {"#token": "token"},
        }
        with self._calling("BatchGetItem"):
            answer = self.dynamodb.batch_get_item(RequestItems={self.table: wanted})
        if answer.get("UnprocessedKeys"):
            raise Unavailable("dynamodb:BatchGetItem: some jobs were left unread")
        return {item["job_id"]["S"]: item for item in answer["Responses"].get(self.table, [])}

    def _interrupt(self, attempt: Attempt, job: Item | None, notice: Notice) -> Told:
        if job is None:
            return Told("this stack has no such job")
        if not _is_waiting(job):
            return Told("the job waits for no attempt")
        if _attempt(job) != attempt:
            return Told(f"attempt {job['attempt']['N']} on {job['instance_id']['S']} is the one that runs")
        try:
            return Told(self._send(job["token"]["S"], _result(notice)))
        except CallFailed as error:
            return _failed(error)

    def _send(self, token: str, result: Mapping[str, object]) -> str | None:
        """Send a result; return None, or the words for "somebody did before"."""
        with calling("states:SendTaskSuccess"):
            try:
                self.stepfunctions.send_task_success(taskToken=token, output=json.dumps(result))
            except ClientError as error:
                if error_code(error) not in USED_TOKEN:
                    raise
                return f"somebody told it before ({error_code(error)})"
        return None

    @contextmanager
    def _calling(self, operation: str) -> Iterator[None]:
        with calling(f"dynamodb:{operation}"):
            try:
                yield
            except ClientError as error:
                if error_code(error) != "ResourceNotFoundException":
                    raise
                sentence = f"JOBS_TABLE is {self.table}: there is no such table in this account and Region, deploy the stack again"
                raise ConfigurationError(sentence) from error


def _is_waiting(item: Item) -> bool:
    """Whether a job waits for its attempt's end; when it is finished its instance ends, too, and that is no loss."""
    return "token" in item and item["job_status"]["S"] == RUNNING


def _attempt(item: Item) -> Attempt:
    return Attempt(item["job_id"]["S"], int(item["attempt"]["N"]), item["instance_id"]["S"])


def _result(notice: Notice) -> dict[str, object]:
    """Return what the state machine hears. The instance of a recommendation has no deadline: it may go on for ever."""
    told: dict[str, object] = {"result": "interrupted", "kind": notice.kind}
    return told if notice.kind is NoticeKind.REBALANCE else {**told, "deadline": int(notice.deadline.timestamp())}


def _failed(error: CallFailed) -> Told:
    return Told(str(error), is_trouble=True, is_worth_another_try=isinstance(error, Unavailable))
