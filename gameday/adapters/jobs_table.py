"""DynamoDB: the job's record and those of its attempts."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import batched
from typing import TYPE_CHECKING

from gameday.adapters.connection import calling
from gameday.evidence import Attempt, Job
from gameday.failures import Overdue, Refused, Unmet

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef

    type Item = Mapping[str, AttributeValueTypeDef]

KEY = "job_id"
BATCH = 100
"""Items in one BatchGetItem, at most."""
ROUNDS = 10
"""How often what BatchGetItem left out is asked for again."""


@dataclass(frozen=True, slots=True)
class DynamoDbJobs:
    """``Jobs`` by strongly consistent reads. An attempt's record has the key ``<job id>#<attempt>``."""

    client: DynamoDBClient

    def check(self, table: str) -> None:
        """Unmet: the table is not there."""
        try:
            self._read(table, [{KEY: {"S": "gameday"}}])
        except Refused as refused:
            raise Unmet(f"The jobs table {table} of the stack cannot be read ({refused.code}): deploy the stack again.") from refused

    def job(self, table: str, job_id: str) -> Job | None:
        """Return the job's record; None: deleted."""
        for item in self._read(table, [{KEY: {"S": job_id}}]):
            return Job(_text(item, "job_status") or "unknown", _number(item, "percent") or 0.0, int(_number(item, "attempt") or 0))
        return None

    def attempts(self, table: str, job_id: str, count: int) -> list[Attempt]:
        """Return what the agents of attempts 1 to ``count`` wrote down, in order; an attempt that wrote nothing is left out."""
        keys = [f"{job_id}#{number}" for number in range(1, count + 1)]
        items = [item for some in batched(keys, BATCH, strict=False) for item in self._read(table, [{KEY: {"S": key}} for key in some])]
        return sorted((_attempt(item) for item in items), key=lambda attempt: attempt.number)

    def _read(self, table: str, keys: list[dict[str, AttributeValueTypeDef]]) -> list[Item]:
        items: list[Item] = []
        left = keys
        for _ in range(ROUNDS):
            with calling("dynamodb:BatchGetItem"):
                answer = self.client.batch_get_item(RequestItems={table: {"Keys": left, "ConsistentRead": True}})
            items += answer["Responses"].get(table, [])
            if table not in answer["UnprocessedKeys"]:
                return items
            left = [dict(key) for key in answer["UnprocessedKeys"][table]["Keys"]]
        raise Overdue(f"The table {table} did not give {len(left)} items in {ROUNDS} tries.")


def _attempt(item: Item) -> Attempt:
    return Attempt(
        number=int((_text(item, KEY) or "#0").rpartition("#")[2]),
        instance_id=_text(item, "instance_id"),
        previous_percent=_number(item, "previous_percent"),
        previous_stopped_at=_number(item, "previous_stopped_at"),
        resumed_percent=_number(item, "resumed_percent"),
        started_at=_number(item, "started_at"),
        notice_at=_number(item, "notice_at"),
        notice_percent=_number(item, "notice_percent"),
        stopped_at=_number(item, "stopped_at"),
        stopped_percent=_number(item, "stopped_percent"),
    )


def _number(item: Item, name: str) -> float | None:
    number = item.get(name, {}).get("N")
    return None if number is None else float(number)


def _text(item: Item, name: str) -> str | None:
    text = item.get(name, {}).get("S")
    return text if isinstance(text, str) else None
