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
from spot_responder.domain.errors import ConfigurationError, Unavailable
from spot_responder.domain.jobs import Attempt

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from datetime import datetime

    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import KeysAndAttributesTypeDef
    from mypy_boto3_stepfunctions import SFNClient

    from spot_responder.domain.events import InstanceEnded

KEYS_PER_READ = 100
USED_TOKEN = ("TaskTimedOut", "TaskDoesNotExist", "InvalidToken")
BY_INSTANCE = "by_instance"


class NoJobs:
    """``Jobs`` where the job part is not deployed."""

    def interrupted(self, attempts: Mapping[Attempt, datetime]) -> dict[Attempt, str | None]:
        """Nobody to tell."""
        return dict.fromkeys(attempts, "the stack has no job part: its parameter SubnetIds is empty")

    def lost(self, _ended: InstanceEnded) -> None:
        """No job runs on any instance."""


@dataclass(frozen=True, slots=True)
class StepFunctionsJobs:
    """``Jobs`` on DynamoDB and Step Functions."""

    dynamodb: DynamoDBClient
    stepfunctions: SFNClient
    table: str

    def interrupted(self, attempts: Mapping[Attempt, datetime]) -> dict[Attempt, str | None]:
        """Send each job's token back, if it is this attempt's."""
        tokens = self._tokens({attempt.job_id for attempt in attempts})
        told: dict[Attempt, str | None] = {}
        for attempt, deadline in attempts.items():
            token = tokens.get(attempt)
            result = {"result": "interrupted", "deadline": int(deadline.timestamp())}
            told[attempt] = self._send(token, result) if token else "another attempt runs already"
        return told

    def lost(self, ended: InstanceEnded) -> Attempt | None:
        """Send the token of the attempt that ran on the instance, unless it was sent before."""
        with self._calling("Query"):
            found = self.dynamodb.query(
                TableName=self.table,
                IndexName=BY_INSTANCE,
                KeyConditionExpression="instance_id = :instance",
                ExpressionAttributeValues={":instance": {"S": ended.instance_id}},
            )
        for item in found["Items"]:
            result = {"result": "gone", "state": ended.state, "cause": f"the instance {ended.instance_id} was {ended.state}"}
            if "token" in item and self._send(item["token"]["S"], result) is None:
                return _attempt(item)
        return None

    def _tokens(self, job_ids: Collection[str]) -> dict[Attempt, str]:
        tokens: dict[Attempt, str] = {}
        for some in batched(sorted(job_ids), KEYS_PER_READ, strict=False):
            wanted: KeysAndAttributesTypeDef = {"Keys": [{"job_id": {"S": job_id}} for job_id in some], "ConsistentRead": True}
            with self._calling("BatchGetItem"):
                answer = self.dynamodb.batch_get_item(RequestItems={self.table: wanted})
            if answer.get("UnprocessedKeys"):
                raise Unavailable("dynamodb:BatchGetItem: some jobs were left unread")
            tokens |= {_attempt(item): item["token"]["S"] for item in answer["Responses"].get(self.table, []) if "token" in item}
        return tokens

    def _send(self, token: str, result: Mapping[str, object]) -> str | None:
        """Send a result; return None, or the word for "somebody did before"."""
        with calling("states:SendTaskSuccess"):
            try:
                self.stepfunctions.send_task_success(taskToken=token, output=json.dumps(result))
            except ClientError as error:
                if error_code(error) not in USED_TOKEN:
                    raise
                return error_code(error)
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


def _attempt(item: Mapping[str, Any]) -> Attempt:
    return Attempt(item["job_id"]["S"], int(item["attempt"]["N"]))
