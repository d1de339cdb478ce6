"""The job's item in DynamoDB.

Fencing: whatever the owner writes is conditional on it still being the owner, with both its attempt's number and its own id, so
that neither an earlier attempt nor a second agent of the same attempt can change anything.
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Expressions.ConditionExpressions.html
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Union

from spot_agent.clients import calling
from spot_agent.errors import Overtaken, Refused, Unavailable
from spot_agent.job import FINISHED, RUNNING, Job

if TYPE_CHECKING:
    from collections.abc import Mapping

    from spot_agent.knowledge import Me
    from spot_agent.ports import Mark

Value = Union[str, int, float]

OWNED = "#owner = :mine AND #owner_id = :me"


class DynamoJobsTable:
    """`spot_agent.ports.JobsTable` on a DynamoDB table whose partition key is ``job_id``."""

    def __init__(self, client: Any, table: str, me: Me) -> None:  # noqa: ANN401  # a botocore client
        self._client = client
        self._table = table
        self._me = me
        self._expires_at: int | None = None
        self._item: Mapping[str, Any] = {}

    def read(self) -> Job | None:
        """Return the item, strongly consistent."""
        with calling("dynamodb:GetItem"):
            answer = self._client.get_item(TableName=self._table, Key=_key(self._me.job_id), ConsistentRead=True)
        return self._job(answer["Item"]) if "Item" in answer else None

    def announce_ready(self) -> Job:
        """Set ``ready`` to this attempt, unless a later one is ready or the job is over."""
        condition = "#attempt >= :mine AND #job_status = :running AND (attribute_not_exists(#ready) OR #ready < :mine)"
        return self._update({"ready": self._me.attempt}, condition, {":mine": self._me.attempt, ":running": RUNNING})

    def claim(self, seen_owner: int) -> Job:
        """Become the owner; the deadline of the one before is of no interest any more.

        Raises as well when the item cannot be read afterwards: what is restored has to be what the owner before saved last, and a claim
        is repeated without harm.
        """
        me = self._me
        sets: dict[str, Value] = {"owner": me.attempt, "owner_id": me.agent_id}
        free = "#owner = :seen" if seen_owner else "(attribute_not_exists(#owner) OR #owner = :seen)"
        condition = f"{free} AND #attempt >= :mine AND #job_status = :running"
        values: dict[str, Value] = {":seen": seen_owner, ":mine": me.attempt, ":running": RUNNING}
        self._write(me.job_id, sets, condition, values, removes=["handover_until"])
        return self._read_again()

    def record_deadline(self, until: float) -> Job:
        """Write ``handover_until``; the earlier of two deadlines wins."""
        condition = f"{OWNED} AND (attribute_not_exists(#handover_until) OR #handover_until > :until)"
        return self._update({"handover_until": until}, condition, {**self._mine(), ":until": until})

    def write_progress(self, percent: float, now: float) -> Job:
        """Write ``percent`` and ``percent_at``."""
        return self._update({"percent": percent, "percent_at": now}, OWNED, self._mine())

    def mark(self, mark: Mark) -> Job:
        """Record a save: the new checkpoint beside the one before it, and how far the hand-over is."""
        sets: dict[str, Value] = {}
        if mark.checkpoint is not None:
            sets["checkpoint"] = mark.checkpoint.to_json()
            sets["saved_percent"] = mark.checkpoint.percent
            if mark.before is not None:
                sets["checkpoint_before"] = mark.before.to_json()
        optional = {"checkpoint_seconds": mark.seconds, "percent": mark.percent, "stopped_at": mark.stopped_at}
        sets.update({name: value for name, value in optional.items() if value is not None})
        if mark.is_final:
            sets["final"] = self._me.attempt
        if mark.is_finished:
            sets["job_status"] = FINISHED
        return self._update(sets, OWNED, self._mine())

    def record_attempt(self, facts: Mapping[str, float | str]) -> None:
        """Add facts to the item ``<job id>#<attempt>``, which tells how this attempt went and expires with the job."""
        me = self._me
        sets: dict[str, Value] = {"attempt": me.attempt, "instance_id": me.instance_id, **facts}
        if self._expires_at is not None:
            sets["expires_at"] = self._expires_at
        self._write(f"{me.job_id}#{me.attempt}", sets, None, {}, [])

    def _mine(self) -> dict[str, Value]:
        return {":mine": self._me.attempt, ":me": self._me.agent_id}

    def _update(self, sets: Mapping[str, Value], condition: str, values: Mapping[str, Value]) -> Job:
        self._write(self._me.job_id, sets, condition, values, [])
        try:
            return self._read_again()
        except (Unavailable, Refused):
            # The write is done, and must not count as failed. That reading fails, the next read tells, which this answer does not put off.
            if not self._item:
                raise
            return replace(self._job({**self._item, **_typed_all(sets)}), is_assumed=True)

    def _read_again(self) -> Job:
        # The instance's role names the attributes that a write may touch; that it may return others, too, nobody promises (DynamoDB
        # Developer Guide, "Using IAM policy conditions for fine-grained access control", dynamodb:Attributes). So the item is read.
        job = self.read()
        if job is None:
            raise Overtaken("the job's item was deleted right after it was written")
        return job

    def _write(self, job_id: str, sets: Mapping[str, Value], condition: str | None, values: Mapping[str, Value], removes: list[str]) -> None:
        """Update an item. Every name is a placeholder: ``owner`` and ``percent`` are reserved words."""
        expression = "SET " + ", ".join(f"#{name} = :set_{name}" for name in sets)
        if removes:
            expression += " REMOVE " + ", ".join(f"#{name}" for name in removes)
        conditional = {"ConditionExpression": condition} if condition else {}
        given = {**{f":set_{name}": value for name, value in sets.items()}, **values}
        with calling("dynamodb:UpdateItem"):
            self._client.update_item(
                TableName=self._table,
                Key=_key(job_id),
                UpdateExpression=expression,
                ExpressionAttributeNames=_names(f"{expression} {condition or ''}"),
                ExpressionAttributeValues=_typed_all(given),
                **conditional,
            )

    def _job(self, item: Mapping[str, Any]) -> Job:
        job = Job.from_item(item)
        self._expires_at, self._item = job.expires_at, item
        return job


def _key(job_id: str) -> Mapping[str, Any]:
    return {"job_id": {"S": job_id}}


def _typed(value: Value) -> Mapping[str, str]:
    return {"S": value} if isinstance(value, str) else {"N": repr(value)}


def _typed_all(values: Mapping[str, Value]) -> Mapping[str, Mapping[str, str]]:
    return {name: _typed(value) for name, value in values.items()}


def _names(expression: str) -> Mapping[str, str]:
    """Return the placeholders ``#name`` that an expression uses."""
    words = expression.replace("(", " ").replace(")", " ").replace(",", " ").split()
    return {word: word[1:] for word in words if word.startswith("#")}
