"""DynamoDB of a running sandbox: what streams show, conditions, transactions, PartiQL batches."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable


class Table:
    """A table with a stream that is read from where the test begins."""

    def __init__(self, aws: Callable[[str], Any]) -> None:
        self.api, self._streams = aws("dynamodb"), aws("dynamodbstreams")
        self.name = f"t-{uuid.uuid4().hex[:8]}"
        described = self.api.create_table(
            TableName=self.name,
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}, {"AttributeName": "sk", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
            StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
        )["TableDescription"]
        arn = described["LatestStreamArn"]
        shard = self._streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"][0]["ShardId"]
        given = self._streams.get_shard_iterator(StreamArn=arn, ShardId=shard, ShardIteratorType="LATEST")
        self._iterator = given["ShardIterator"]

    def put(self, sk: str, **attributes: Any) -> None:
        """Put an item."""
        self.api.put_item(TableName=self.name, Item=self.key(sk) | attributes)

    def update(self, sk: str, number: int, **arguments: Any) -> None:
        """Set the attribute `a`."""
        self.api.update_item(
            TableName=self.name, Key=self.key(sk), UpdateExpression="SET a = :a", ExpressionAttributeValues={":a": {"N": str(number)}}, **arguments
        )

    def item(self, sk: str) -> dict[str, Any] | None:
        """The item, read consistently."""
        found: dict[str, Any] | None = self.api.get_item(TableName=self.name, Key=self.key(sk), ConsistentRead=True).get("Item")
        return found

    def batch(self, *statements: tuple[str, list[dict[str, str]]], **arguments: Any) -> list[dict[str, Any]]:
        """Carry out PartiQL statements on this table, written ``{t}``."""
        given = [
            {"Statement": text.format(t=f'"{self.name}"'), **({"Parameters": parameters} if parameters else {}), **arguments}
            for text, parameters in statements
        ]
        responses: list[dict[str, Any]] = self.api.batch_execute_statement(Statements=given)["Responses"]
        return responses

    def records(self) -> list[tuple[str, str]]:
        """What the stream has shown since the last look: kind and sort key."""
        answer = self._streams.get_records(ShardIterator=self._iterator)
        self._iterator = answer["NextShardIterator"]
        return [(record["eventName"], record["dynamodb"]["Keys"]["sk"]["S"]) for record in answer["Records"]]

    @staticmethod
    def key(sk: str) -> dict[str, Any]:
        """The key of an item."""
        return {"pk": {"S": "k"}, "sk": {"S": sk}}


@pytest.fixture
def table(aws: Callable[[str], Any]) -> Table:
    """A new table."""
    return Table(aws)


def test_an_update_that_creates_is_one_insert(table: Table) -> None:
    """UpdateItem on an item that is not there gives one INSERT, and none when nothing changes."""
    table.update("u", 1)
    table.update("u", 1)
    assert table.records() == [("INSERT", "u")]


def test_only_a_change_is_a_modify(table: Table) -> None:
    """An identical put is no record; another one is a MODIFY."""
    table.put("p", a={"N": "1"})
    table.put("p", a={"N": "1"})
    table.put("p", a={"N": "2"})
    assert table.records() == [("INSERT", "p"), ("MODIFY", "p")]


def test_a_conditional_put_has_one_winner(table: Table) -> None:
    """The second put fails, returns the old item when asked, and leaves no record."""
    put = {"TableName": table.name, "Item": table.key("c"), "ConditionExpression": "attribute_not_exists(pk)"}
    table.api.put_item(**put)
    with pytest.raises(table.api.exceptions.ConditionalCheckFailedException) as failed:
        table.api.put_item(**put, ReturnValuesOnConditionCheckFailure="ALL_OLD")
    assert failed.value.response["Item"] == table.key("c")
    assert table.records() == [("INSERT", "c")]


def test_a_failed_condition_of_an_update_returns_the_old_item(table: Table) -> None:
    """ReturnValuesOnConditionCheckFailure works on UpdateItem, too."""
    table.put("c", a={"N": "1"})
    with pytest.raises(table.api.exceptions.ConditionalCheckFailedException) as failed:
        table.update("c", 2, ConditionExpression="attribute_not_exists(pk)", ReturnValuesOnConditionCheckFailure="ALL_OLD")
    assert failed.value.response["Item"]["a"] == {"N": "1"}


def test_a_bad_update_leaves_nothing_behind(table: Table) -> None:
    """An update that is refused does not create the item that it would have changed."""
    with pytest.raises(table.api.exceptions.ClientError):
        table.api.update_item(
            TableName=table.name, Key=table.key("b"), UpdateExpression="SET a = missing + :a", ExpressionAttributeValues={":a": {"N": "1"}}
        )
    assert table.item("b") is None
    assert table.records() == []


def test_a_cancelled_transaction_leaves_no_trace(table: Table) -> None:
    """One failed condition cancels all, each reason is told, and neither table nor stream shows anything."""
    table.put("old", a={"N": "1"})
    table.records()
    failing = {
        "TableName": table.name,
        "Key": table.key("old"),
        "UpdateExpression": "SET a = :new",
        "ConditionExpression": "a = :other",
        "ExpressionAttributeValues": {":new": {"N": "2"}, ":other": {"N": "7"}},
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    }
    with pytest.raises(table.api.exceptions.TransactionCanceledException) as cancelled:
        table.api.transact_write_items(TransactItems=[{"Put": {"TableName": table.name, "Item": table.key("new")}}, {"Update": failing}])
    reasons = cancelled.value.response["CancellationReasons"]
    assert [reason["Code"] for reason in reasons] == ["None", "ConditionalCheckFailed"]
    assert reasons[1]["Item"]["a"] == {"N": "1"}
    assert table.item("new") is None
    assert table.records() == []


def test_a_transaction_shows_each_change_once(table: Table) -> None:
    """Put, Update and ConditionCheck together; the stream goes on afterwards."""
    table.put("old", a={"N": "1"})
    table.api.transact_write_items(
        TransactItems=[
            {"Put": {"TableName": table.name, "Item": table.key("new")}},
            {
                "Update": {
                    "TableName": table.name,
                    "Key": table.key("old"),
                    "UpdateExpression": "SET a = :a",
                    "ExpressionAttributeValues": {":a": {"N": "2"}},
                }
            },
            {"ConditionCheck": {"TableName": table.name, "Key": table.key("none"), "ConditionExpression": "attribute_not_exists(pk)"}},
        ]
    )
    table.api.delete_item(TableName=table.name, Key=table.key("new"))
    assert table.records() == [("INSERT", "old"), ("INSERT", "new"), ("MODIFY", "old"), ("REMOVE", "new")]


def test_each_statement_of_a_batch_has_its_own_answer(table: Table) -> None:
    """A missing item, a failed condition and a bad statement fail alone; the rest is done, with one record each."""
    table.put("u", a={"N": "1"})
    table.records()
    key: list[dict[str, str]] = [{"S": "k"}, {"S": "u"}]
    answers = table.batch(
        ("UPDATE {t} SET a=? SET b=? WHERE pk=? AND sk=?", [{"N": "2"}, {"S": "x"}, *key]),
        ("UPDATE {t} SET a=? WHERE pk=? AND sk=?", [{"N": "2"}, {"S": "k"}, {"S": "missing"}]),
        ("UPDATE {t} SET a=? WHERE pk=? AND sk=? AND b IS MISSING", [{"N": "3"}, *key]),
        ("UPDATE {t} SET a=? WHERE pk=?", [{"N": "3"}, {"S": "k"}]),
        ('UPDATE "nowhere" SET a=? WHERE pk=?', [{"N": "3"}, {"S": "k"}]),
        ReturnValuesOnConditionCheckFailure="ALL_OLD",
    )
    codes = [answer.get("Error", {}).get("Code") for answer in answers]
    assert codes == [None, "ConditionalCheckFailed", "ConditionalCheckFailed", "ValidationError", "ResourceNotFound"]
    assert answers[2]["Error"]["Item"]["b"] == {"S": "x"}
    assert table.item("missing") is None
    assert table.records() == [("MODIFY", "u")]


def test_a_batch_takes_25_statements(table: Table) -> None:
    """25 are carried out, 26 are refused as a whole."""
    for number in range(25):
        table.put(str(number))
    one = "UPDATE {t} SET a=? WHERE pk=? AND sk=?"
    statements = [(one, [{"N": "1"}, {"S": "k"}, {"S": str(number)}]) for number in range(26)]
    assert not [answer for answer in table.batch(*statements[:25]) if "Error" in answer]
    with pytest.raises(table.api.exceptions.ClientError, match="ValidationException"):
        table.batch(*statements)


def test_a_batch_of_selects_reads_by_key(table: Table) -> None:
    """Each SELECT finds its item, whole or in part; a missing one gives no item, an incomplete key an error."""
    table.put("s", a={"N": "1"}, b={"S": "x"})
    answers = table.batch(
        ("SELECT * FROM {t} WHERE pk='k' AND sk='s'", []),
        ("SELECT b FROM {t} WHERE pk='k' AND sk='s'", []),
        ("SELECT * FROM {t} WHERE pk='k' AND sk='none'", []),
        ("SELECT * FROM {t} WHERE pk='k'", []),
    )
    assert [answer.get("Item") for answer in answers] == [{**table.key("s"), "a": {"N": "1"}, "b": {"S": "x"}}, {"b": {"S": "x"}}, None, None]
    assert answers[3]["Error"]["Code"] == "ValidationError"


def test_statements_insert_delete_and_return(table: Table) -> None:
    """INSERT creates and then finds a duplicate, UPDATE returns what is asked for, DELETE deletes."""
    insert: tuple[str, list[dict[str, str]]] = ("INSERT INTO {t} VALUE {{'pk': 'k', 'sk': 'i', 'a': 1}}", [])
    assert "Error" not in table.batch(insert)[0]
    assert table.batch(insert)[0]["Error"]["Code"] == "DuplicateItem"
    assert table.batch(("UPDATE {t} SET a = a + 1 WHERE pk='k' AND sk='i' RETURNING ALL NEW *", []))[0]["Item"]["a"] == {"N": "2"}
    assert "Error" not in table.batch(("DELETE FROM {t} WHERE pk='k' AND sk='i'", []))[0]
    assert table.item("i") is None
