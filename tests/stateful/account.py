"""An AWS account in memory, at the level of botocore's clients: two tables, commands, fleets and task tokens, with what goes wrong there.

Every client knows whose it is (``function:...``, ``agent:...``, ``execution:...``), so that each write to the tables can be judged by
who made it. A call can be throttled, its answer can be lost after it was carried out, and a function can be stopped at it.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError, ConnectionClosedError

from tests.stateful import expressions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from tests.stateful.expressions import Item

KEYS = {"notices": ("account_region", "notice_id"), "jobs": ("job_id",)}
THROTTLED = {
    "dynamodb": "ProvisionedThroughputExceededException",
    "ec2": "RequestLimitExceeded",
    "ssm": "ThrottlingException",
    "stepfunctions": "ThrottlingException",
}
SERVICES = tuple(sorted(THROTTLED))
UPDATE = re.compile(
    r'UPDATE "(\w+)" ((?:SET "\w+"=\? ?)+) WHERE "account_region"=\? AND "notice_id"=\?(?: AND ("outcome" IS MISSING AND "command_id" IS MISSING))?',
)
"""The one form of PartiQL that the product writes."""

type Key = tuple[str, ...]
type Watcher = Callable[[str, Item, Item, str], None]
"""Hears of each write: table, item before and after (empty: none), who made it."""


class Stopped(BaseException):
    """A function was stopped by Lambda, in the middle of what it did."""


def refusal(code: str, message: str = "", **more: Any) -> ClientError:
    """Return an error of AWS as botocore raises it."""
    response: Any = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": 400}, **more}
    return ClientError(response, "AnyOperation")


@dataclass
class Trouble:
    """What goes wrong with the next calls: by service, how many are throttled and how many answers are lost."""

    throttled: Counter[str] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)
    stop_after: int | None = None
    met: Callable[[], None] = lambda: None
    """Hears of each call that goes wrong."""

    def meet(self, service: str, who: str) -> None:
        """Let a call go wrong before it is carried out."""
        if who.startswith("function:") and self.stop_after is not None:
            self.stop_after -= 1
            if self.stop_after < 0:
                self.stop_after = None
                raise Stopped
        if self.throttled[service] > 0:
            self.throttled[service] -= 1
            self.met()
            raise refusal(THROTTLED[service], "Rate exceeded")

    def lose(self, service: str) -> None:
        """Let a call go wrong after it was carried out."""
        if self.lost[service] > 0:
            self.lost[service] -= 1
            self.met()
            raise ConnectionClosedError(endpoint_url=f"https://{service}.us-east-1.amazonaws.com")


@dataclass
class Client:
    """A client of one service in somebody's hands. ``before``: what happens between the decision to call and the call."""

    trouble: Trouble
    who: str
    service: str
    operations: Mapping[str, Callable[..., Any]]
    before: Callable[[], None] = lambda: None

    def __getattr__(self, operation: str) -> Callable[..., Any]:
        """Return an operation as botocore's clients have it."""
        work = self.operations[operation]

        def call(**arguments: Any) -> Any:
            self.before()
            self.trouble.meet(self.service, self.who)
            answer = work(self.who, **arguments)
            self.trouble.lose(self.service)
            return answer

        return call

    def get_paginator(self, operation: str) -> Any:
        """Return a paginator that has one page."""
        return Pages(getattr(self, operation))


@dataclass(frozen=True, slots=True)
class Pages:
    """One page."""

    call: Callable[..., Any]

    def paginate(self, **arguments: Any) -> Iterator[Any]:
        """Yield it."""
        yield self.call(**arguments)


@dataclass
class Tables:
    """DynamoDB. Whoever watches hears of every change.

    What is read eventually consistent, as a global index always is, knows nothing of the last ``lag`` seconds.
    """

    clock: Callable[[], float]
    lag: float = 0.0
    watchers: list[Watcher] = field(default_factory=list)
    items: dict[str, dict[Key, Item]] = field(default_factory=lambda: {name: {} for name in KEYS})
    looked_at: set[Key] = field(default_factory=set)
    """The notices that the function at work has read."""
    versions: dict[str, dict[Key, list[tuple[float, Item]]]] = field(default_factory=lambda: {name: {} for name in KEYS})

    def operations(self) -> Mapping[str, Callable[..., Any]]:
        """Return what a client does."""
        return {
            "put_item": self.put_item,
            "get_item": self.get_item,
            "update_item": self.update_item,
            "query": self.query,
            "batch_get_item": self.batch_get_item,
            "batch_execute_statement": self.batch_execute_statement,
        }

    def put_item(self, who: str, *, TableName: str, Item: Item, ConditionExpression: str = "", **more: Any) -> Any:  # noqa: N803  # AWS's names
        """Put an item."""
        self._write(who, TableName, Item, ConditionExpression, lambda _: Item, more)
        return {}

    def get_item(self, _who: str, *, TableName: str, Key: Item, ConsistentRead: bool = False, **_: Any) -> Any:  # noqa: N803  # AWS's names
        """Get an item."""
        item = self._seen(TableName, is_consistent=ConsistentRead).get(_key(TableName, Key))
        return {"Item": item} if item else {}

    def update_item(
        self,
        who: str,
        *,
        TableName: str,  # noqa: N803  # AWS's names
        Key: Item,  # noqa: N803
        UpdateExpression: str,  # noqa: N803
        ConditionExpression: str = "",  # noqa: N803
        **more: Any,
    ) -> Any:
        """Update an item, or create it."""
        apply = expressions.update(UpdateExpression.strip())
        return {"Attributes": self._write(who, TableName, Key, ConditionExpression, lambda given: {**Key, **apply(given)}, more)}

    def query(self, _who: str, *, TableName: str, KeyConditionExpression: str, **more: Any) -> Any:  # noqa: N803  # AWS's names
        """Return the items of a key, in its order."""
        holds = expressions.condition(KeyConditionExpression)
        values = more["ExpressionAttributeValues"]
        seen = self._seen(TableName, is_consistent=more.get("ConsistentRead", False))
        return {"Items": [item for _, item in sorted(seen.items()) if holds((item, {}, values))]}

    def batch_get_item(self, _who: str, *, RequestItems: Mapping[str, Any]) -> Any:  # noqa: N803  # AWS's names
        """Return the items that exist."""
        found = {}
        for table, wanted in RequestItems.items():
            seen = self._seen(table, is_consistent=wanted.get("ConsistentRead", False))
            found[table] = [seen.get(_key(table, key)) for key in wanted["Keys"]]
            self.looked_at |= {_key(table, key) for key in wanted["Keys"]} if table == "notices" else set()
        return {"Responses": {table: [item for item in items if item] for table, items in found.items()}, "UnprocessedKeys": {}}

    def batch_execute_statement(self, who: str, *, Statements: list[Mapping[str, Any]]) -> Any:  # noqa: N803  # AWS's names
        """Carry out PartiQL's updates, each for itself."""
        return {"Responses": [self._execute(who, **statement) for statement in Statements]}

    def _seen(self, table: str, *, is_consistent: bool) -> Mapping[Key, Item]:
        """Return a table as a read finds it."""
        if is_consistent or not self.lag:
            return self.items[table]
        known_at = self.clock() - self.lag
        old = {key: [item for at, item in versions if at <= known_at] for key, versions in self.versions[table].items()}
        return {key: items[-1] for key, items in old.items() if items}

    def _execute(self, who: str, *, Statement: str, Parameters: list[Mapping[str, Any]], **_: Any) -> Any:  # noqa: N803  # AWS's names
        read = UPDATE.fullmatch(Statement)
        assert read, Statement
        table, names = read[1], re.findall(r'SET "(\w+)"', read[2])
        key = dict(zip(KEYS[table], Parameters[len(names) :], strict=True))
        condition = "attribute_exists(notice_id)" + (" AND attribute_not_exists(outcome) AND attribute_not_exists(command_id)" if read[3] else "")
        values = dict(zip(names, Parameters, strict=False))
        try:
            self._write(who, table, key, condition, lambda given: {**given[0], **values}, {})
        except ClientError as error:
            there: Any = error.response
            return {"Error": {"Code": "ConditionalCheckFailed", "Message": "The conditional request failed", "Item": there["Item"]}}
        return {"TableName": table}

    def _write(
        self, who: str, table: str, item: Item, condition: str, change: Callable[[expressions.Given], Item], placeholders: Mapping[str, Any]
    ) -> Item:
        key = _key(table, item)
        before = self.items[table].get(key, {})
        given = (before, placeholders.get("ExpressionAttributeNames", {}), placeholders.get("ExpressionAttributeValues", {}))
        if condition and not expressions.condition(condition)(given):
            raise refusal("ConditionalCheckFailedException", "The conditional request failed", Item=before)
        after = self.items[table][key] = change(given)
        self.versions[table].setdefault(key, []).append((self.clock(), after))
        for watch in self.watchers:
            watch(table, before, after, who)
        return after


def _key(table: str, item: Item) -> Key:
    return tuple(item[name]["S"] for name in KEYS[table])


def output_of(text: str) -> Any:
    """Return a task's output."""
    return json.loads(text)
