"""DynamoDB in memory, at the API: what a call changed stays, whatever became of its answer.

Conditions are judged by moto's own parser, PartiQL is read by the sandbox's. `test_fault_tables.py` holds this to the same contract as the real
table. Only what the product asks for is here; anything else is a failure of the test.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from moto.dynamodb.comparisons import get_filter_expression
from moto.dynamodb.models.dynamo_type import DynamoType, Item

from spot_sandbox.partiql import translate

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

type Json = dict[str, Any]

KEYS = {"notices": ["account_region", "notice_id"], "jobs": ["job_id"]}
STATEMENTS_PER_CALL = 25
KEYS_PER_READ = 100
ASSIGNMENT = re.compile(r"(#?\w+) = (:\w+)")


class Refusal(Exception):
    """DynamoDB's error: its code, and what comes with it."""

    def __init__(self, code: str, **members: object) -> None:
        super().__init__(code)
        self.code = code
        self.members: dict[str, Any] = members


@dataclass
class Tables:
    """The tables' items by key, which are replaced and never changed; ``on_insert`` hears of every new one, as the stream does.

    What is read eventually consistent may be older than the last write, so here it always is: ``before`` are the items as they were then.
    """

    items: dict[str, dict[tuple[str, ...], Json]] = field(default_factory=lambda: {name: {} for name in KEYS})
    before: dict[str, dict[tuple[str, ...], Json | None]] = field(default_factory=lambda: {name: {} for name in KEYS})
    on_insert: Callable[[str, Json], None] = lambda _table, _item: None

    def operation(self, name: str) -> Callable[[Json], Json]:
        """Return the operation of this name: from parameters to answer."""
        operations = {
            "PutItem": self.put_item,
            "UpdateItem": self.update_item,
            "GetItem": self.get_item,
            "Query": self.query,
            "BatchGetItem": self.batch_get_item,
            "BatchExecuteStatement": self.batch_execute_statement,
            "half_BatchGetItem": self.half_batch_get_item,
            "half_BatchExecuteStatement": self.half_batch_execute_statement,
        }
        return operations[name]

    def of(self, table: str) -> list[Json]:
        """Return a table's items."""
        return list(self.items[table].values())

    def put_item(self, asked: Json) -> Json:
        """Put an item, on its condition."""
        name, item = asked["TableName"], asked["Item"]
        key = _key(name, item)
        before = self.items[name].get(key)
        _judge(asked, before)
        self._write(name, key, item)
        return {}

    def update_item(self, asked: Json) -> Json:
        """Update an item, on its condition; as in DynamoDB, one that is not there is made."""
        name, key = asked["TableName"], _key(asked["TableName"], asked["Key"])
        before = self.items[name].get(key)
        _judge(asked, before)
        after = {**asked["Key"], **(before or {})}
        _change(after, asked)
        self._write(name, key, after)
        return {"Attributes": after} if asked.get("ReturnValues") == "ALL_NEW" else {}

    def _write(self, table: str, key: tuple[str, ...], item: Json) -> None:
        before = self.before[table][key] = self.items[table].get(key)
        self.items[table][key] = item
        if before is None:
            self.on_insert(table, item)

    def _seen(self, table: str, how: Json) -> dict[tuple[str, ...], Json]:
        """Return the items as a read finds them."""
        if how.get("ConsistentRead"):
            return self.items[table]
        return {key: item for key, item in {**self.items[table], **self.before[table]}.items() if item}

    def get_item(self, asked: Json) -> Json:
        """Return an item."""
        item = self._seen(asked["TableName"], asked).get(_key(asked["TableName"], asked["Key"]))
        return {"Item": item} if item else {}

    def query(self, asked: Json) -> Json:
        """Return the items that the key condition holds for."""
        condition = asked["KeyConditionExpression"]
        holds = get_filter_expression(condition, asked.get("ExpressionAttributeNames"), asked["ExpressionAttributeValues"])
        names = set(re.findall(r"\w+", condition))
        items = sorted(self._seen(asked["TableName"], asked).items())
        found = [item for _, item in items if holds.expr(_judged({name: item[name] for name in item.keys() & names}))]
        return {"Items": found, "Count": len(found)}

    def batch_get_item(self, asked: Json) -> Json:
        """Return those of the items named that are there."""
        responses = {}
        for name, wanted in asked["RequestItems"].items():
            assert len(wanted["Keys"]) <= KEYS_PER_READ
            seen = self._seen(name, wanted)
            found = (seen.get(_key(name, key)) for key in wanted["Keys"])
            responses[name] = [item for item in found if item]
        return {"Responses": responses, "UnprocessedKeys": {}}

    def batch_execute_statement(self, asked: Json) -> Json:
        """Carry out up to 25 statements, each with its own error in its own response."""
        assert 1 <= len(asked["Statements"]) <= STATEMENTS_PER_CALL
        return {"Responses": [self._statement(statement) for statement in asked["Statements"]]}

    def half_batch_get_item(self, asked: Json) -> Json:
        """Return half of what was asked for, and the rest as unprocessed (DynamoDB API, "BatchGetItem")."""
        ((name, wanted),) = asked["RequestItems"].items()
        half = len(wanted["Keys"]) // 2
        answer = self.batch_get_item({"RequestItems": {name: wanted | {"Keys": wanted["Keys"][:half]}}})
        return answer | {"UnprocessedKeys": {name: wanted | {"Keys": wanted["Keys"][half:]}}}

    def half_batch_execute_statement(self, asked: Json) -> Json:
        """Carry out every other statement; the partition is too busy for the rest."""
        busy = {"Error": {"Code": "ThrottlingError", "Message": "Throughput exceeds the current capacity of your table or index"}}
        return {"Responses": [self._statement(one) if number % 2 else busy for number, one in enumerate(asked["Statements"])]}

    def _statement(self, statement: Json) -> Json:
        (name,) = re.findall(r'^UPDATE "(\w+)"', statement["Statement"])
        request = translate(statement["Statement"], statement["Parameters"], KEYS[name])
        on_failure = {"ReturnValuesOnConditionCheckFailure": statement.get("ReturnValuesOnConditionCheckFailure")}
        try:
            self.update_item(request.arguments | on_failure)
        except Refusal as refusal:
            return {"Error": {"Code": refusal.code.removesuffix("Exception"), "Message": "The conditional request failed", **refusal.members}}
        return {"TableName": name}


def _key(table: str, attributes: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(attributes[name]["S"] for name in KEYS[table])


def _judged(item: Json | None) -> Item:
    """Return an item as moto's conditions look at it; moto's own would weigh it as well, which takes long."""
    judged = Item.__new__(Item)
    judged.attrs = {name: DynamoType(value) for name, value in (item or {}).items()}  # a dictionary is all that they need
    return judged


def _judge(asked: Json, before: Json | None) -> None:
    """Raise ConditionalCheckFailedException unless the condition holds."""
    expression = asked.get("ConditionExpression")
    if not expression:
        return
    holds = get_filter_expression(expression, asked.get("ExpressionAttributeNames"), asked.get("ExpressionAttributeValues"))
    if not holds.expr(_judged(before)):
        wanted = asked.get("ReturnValuesOnConditionCheckFailure") == "ALL_OLD" and before
        raise Refusal("ConditionalCheckFailedException", **({"Item": before} if wanted else {}))


def _change(item: Json, asked: Json) -> None:
    """Carry out ``SET a = :a, b = :b REMOVE c``."""
    names, values = asked.get("ExpressionAttributeNames", {}), asked.get("ExpressionAttributeValues", {})
    sets, _, removes = asked["UpdateExpression"].removeprefix("SET ").partition(" REMOVE ")
    for assignment in sets.split(", "):
        match = ASSIGNMENT.fullmatch(assignment)
        assert match, f"an assignment that this table does not know: {assignment}"
        item[names.get(match[1], match[1])] = values[match[2]]
    for name in filter(None, removes.split(", ")):
        item.pop(names.get(name, name), None)
