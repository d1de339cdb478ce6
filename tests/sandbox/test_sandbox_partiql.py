"""PartiQL statements and the requests that they come to."""

from __future__ import annotations

import pytest

from spot_sandbox.partiql import StatementError, is_write, table_name, translate

KEYS = ["pk", "sk"]


def test_an_update_becomes_an_update_item() -> None:
    """Key equalities become the key, the rest a condition, and the item must exist."""
    request = translate(
        "UPDATE \"t-1\" SET a=? SET b.c = list_append(b.c, ?), d = d + 1 REMOVE e WHERE pk=? AND sk='it''s' AND f IS MISSING RETURNING ALL NEW *",
        [{"S": "1"}, {"L": []}, {"S": "k"}],
        KEYS,
    )
    assert request.operation == "UpdateItem"
    assert request.arguments == {
        "TableName": "t-1",
        "Key": {"pk": {"S": "k"}, "sk": {"S": "it's"}},
        "UpdateExpression": "SET #n0 = :v0, #n1.#n2 = list_append(#n1.#n2, :v1), #n3 = #n3 + :v2 REMOVE #n4",
        "ConditionExpression": "attribute_exists(#n6) AND (attribute_not_exists(#n5))",
        "ReturnValues": "ALL_NEW",
        "ExpressionAttributeNames": {"#n0": "a", "#n1": "b", "#n2": "c", "#n3": "d", "#n4": "e", "#n5": "f", "#n6": "pk"},
        "ExpressionAttributeValues": {":v0": {"S": "1"}, ":v1": {"L": []}, ":v2": {"N": "1"}},
    }


def test_sets_are_added_to_and_taken_from() -> None:
    """set_add and set_delete become ADD and DELETE clauses."""
    request = translate("UPDATE t SET a = set_add(a, <<'x'>>) SET b = set_delete(b, <<1, 2>>) WHERE pk = 'k' AND sk = 's'", [], KEYS)
    assert request.arguments["UpdateExpression"] == "ADD #n0 :v0 DELETE #n1 :v1"
    assert request.arguments["ExpressionAttributeValues"] == {":v0": {"SS": ["x"]}, ":v1": {"NS": ["1", "2"]}}


def test_conditions_keep_their_structure() -> None:
    """OR, parentheses, functions, BETWEEN and IN come out as DynamoDB's condition expressions."""
    statement = (
        "UPDATE t SET a = 1 WHERE pk = 'k' AND sk = 's' AND (b < 2 OR NOT c BETWEEN 1 AND 3) "
        "AND begins_with(d, 'i-') AND size(e) >= 4 AND f IN ('x', 'y') AND g IS NOT MISSING"
    )
    assert translate(statement, [], KEYS).arguments["ConditionExpression"] == (
        "attribute_exists(#n7) AND ((#n1 < :v1 OR NOT #n2 BETWEEN :v2 AND :v3) "
        "AND begins_with(#n3, :v4) AND size(#n4) >= :v5 AND #n5 IN (:v6, :v7) AND attribute_exists(#n6))"
    )


def test_an_insert_becomes_a_put_of_a_new_item() -> None:
    """INSERT fails for an item that is there."""
    request = translate("INSERT INTO t VALUE {'pk': ?, 'sk': 's', 'l': [1, true, null], 'm': {'x': 'y'}}", [{"S": "k"}], KEYS)
    assert request.operation == "PutItem"
    assert request.arguments["ConditionExpression"] == "attribute_not_exists(#n0)"
    assert request.arguments["Item"] == {
        "pk": {"S": "k"},
        "sk": {"S": "s"},
        "l": {"L": [{"N": "1"}, {"BOOL": True}, {"NULL": True}]},
        "m": {"M": {"x": {"S": "y"}}},
    }


def test_a_delete_becomes_a_delete_item() -> None:
    """DELETE of what is not there succeeds; a condition holds for what is there."""
    request = translate("DELETE FROM t WHERE pk = 'k' AND sk = 's' AND a > 1", [], KEYS)
    assert request.operation == "DeleteItem"
    assert request.arguments["ConditionExpression"] == "attribute_not_exists(#n1) OR (#n0 > :v0)"


@pytest.mark.parametrize(
    ("statement", "parameters", "complaint"),
    [
        ("UPDATE t SET a = 1 WHERE pk = 'k'", [], "all key attributes"),
        ("UPDATE t SET a = 1 WHERE pk = 'k' OR sk = 's'", [], "all key attributes"),
        ("UPDATE t SET a = if_not_exists(a, 1) WHERE pk = 'k' AND sk = 's'", [], "Unsupported function if_not_exists"),
        ("UPDATE t SET a = ? WHERE pk = 'k' AND sk = 's'", [], "parameters"),
        ("UPDATE t SET a = 1 WHERE pk = 'k' AND sk = 's'", [{"S": "x"}], "parameters"),
        ("UPDATE t SET a = 1 WHERE pk = 'k' AND sk = 's' nonsense", [], "nonsense"),
        ("UPDATE t SET a =", [], "ends too early"),
        ("DROP t", [], "DROP"),
        ("UPDATE t SET a = ; 1", [], "unexpected ';'"),
    ],
)
def test_a_bad_statement_is_refused(statement: str, parameters: list[dict[str, str]], complaint: str) -> None:
    """A statement that DynamoDB would not take is refused, and the reason named."""
    with pytest.raises(StatementError, match=complaint):
        translate(statement, parameters, KEYS)


def test_table_and_kind_are_known_beforehand() -> None:
    """Which table a statement is for and whether it writes can be told without the table's keys."""
    assert table_name('SELECT * FROM "my-table" WHERE pk = 1') == "my-table"
    assert not is_write("SELECT * FROM t")
    assert is_write("insert into t value {'a': 1}")
