"""What a month costs, from what one notice takes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bench.cost import INVOCATIONS, Stack, invocation_units, item_bytes, month, read_stack, row, rows, table, transitions
from bench.notice_life import written
from bench.prices import GB, PRICES, Price

ONE: dict[str, Any] = {"calls": {}, "attributes": {}, "log_lines": 0, "log_bytes": 0, "event_bytes": 0, "cold_cpu_ms": 500.0, "warm_cpu_ms": 5.0}
LIFE = {
    "record_notice": {**ONE, "calls": {"dynamodb:PutItem": 1}, "attributes": {"notice_id": "x" * 891}, "event_bytes": 400},
    "respond_to_notices": {
        **ONE,
        "calls": {"dynamodb:BatchGetItem": 1, "ec2:DescribeInstances": 1, "ssm:SendCommand": 1, "dynamodb:BatchExecuteStatement": 1},
    },
    "record_checkpoint": {**ONE, "calls": {"dynamodb:Query": 1, "ssm:GetCommandInvocation": 1, "dynamodb:UpdateItem": 1}},
    "record_instance_state": {**ONE, "calls": {"dynamodb:Query": 1, "dynamodb:UpdateItem": 2}, "log_lines": 2, "log_bytes": 1000},
}
STACK = Stack(memory=dict.fromkeys(INVOCATIONS, 512), metrics=11, alarm_metrics=8, dashboards=1, transitions=6)


def test_a_notice_takes_what_its_calls_take() -> None:
    """One put, one batch, one and twice two updates: 7 writes. A read for each batch, and for each look at an instance's notices: 4."""
    units = month(1_000, LIFE, STACK)["responder"]
    assert (units["write request units"], units["read request units"]) == (7_000, 4_000)
    assert (units["invocations"], units["AWS events"], units["stream reads by Lambda"]) == (5_000, 4_000, 1_000)
    assert units["log GB"] * GB == pytest.approx(1_000 * 2 * (1_000 + 2 * 26))
    assert units["table GB"] * GB == pytest.approx(1_000 * (891 + len("notice_id") + 100))
    assert (units["metrics"], units["alarm metrics"], units["dashboards"], units["queue requests"]) == (11, 8, 1, 0)


@pytest.mark.parametrize(("size", "writes", "reads"), [(1024, 1, 1), (1025, 2, 1), (4097, 5, 2), (0, 0, 1)])
def test_a_larger_item_takes_more_units(size: int, writes: int, reads: int) -> None:
    """1 KB to a write unit, 4 KB to a strongly consistent read unit; a read that finds nothing is one, too."""
    units = invocation_units({**ONE, "calls": {"dynamodb:Query": 1, "dynamodb:UpdateItem": 1}}, 512, "warm_cpu_ms", size)
    assert (units["write request units"], units["read request units"]) == (writes, reads)


def test_less_memory_makes_the_same_work_longer_not_cheaper() -> None:
    """A vCPU comes with 1,769 MB: the CPU costs the same with any memory below; waiting costs by memory."""
    small, large = (invocation_units(ONE, megabytes, "cold_cpu_ms", 0)["GB-seconds"] for megabytes in (512, 1024))
    assert small == pytest.approx(large) == pytest.approx(0.5 * 1769 / 1024)
    waiting = invocation_units({**ONE, "calls": {"ec2:DescribeInstances": 1}}, 512, "cold_cpu_ms", 0)["GB-seconds"]
    assert waiting - small == pytest.approx(0.02 / 2)


def test_a_call_without_a_price_is_no_free_call() -> None:
    """A new call has to be looked at before the figures are right again."""
    with pytest.raises(KeyError, match="SendMessage"):
        invocation_units({**ONE, "calls": {"sqs:SendMessage": 1}}, 512, "warm_cpu_ms", 0)


def test_few_notices_start_cold_and_a_million_do_not() -> None:
    """Beyond that, all grows with the notices but what the stack has anyway, and KMS, which is asked every five minutes at most."""
    few, many = (month(notices, LIFE, STACK)["responder"] for notices in (1_000, 1_000_000))
    assert many["GB-seconds"] < 100 * few["GB-seconds"]
    assert many["write request units"] == 1000 * few["write request units"]
    assert many["metrics"] == few["metrics"]
    assert (few["key requests"], many["key requests"]) == (5_000, 43_200)


def test_prices_count_what_is_free() -> None:
    """A row has both: the list price, and what is left where nobody else uses what is free."""
    price = Price("Lambda", 0.20, 1_000_000, "", free=1_000_000)
    assert price.list_usd(5_000_000) == pytest.approx(1.0)
    assert price.least_usd(5_000_000) == pytest.approx(0.8)
    assert price.least_usd(10) == 0


def test_every_row_says_where_and_when() -> None:
    """And the total of a part is the sum of its services."""
    priced = list(rows(LIFE, STACK))
    json.dumps(priced, allow_nan=False)
    assert {(each["region"], each["prices_of"]) for each in priced} == {("us-east-1", "2026-11-22")}
    for part in ("responder", "notification address", "every notice ends a job's attempt", "as many other instances end"):
        of_part = [each for each in priced if each["part"] == part and each["notices_a_month"] == 1_000_000]
        [total] = [each["usd"] for each in of_part if each["service"] == "total"]
        assert total == pytest.approx(sum(each["usd"] for each in of_part if each["service"] != "total"), abs=0.001)
    assert "total" in table(priced)


def test_state_transitions_are_priced_by_the_thousand() -> None:
    """6 for each interruption of a job: 150 USD for a million."""
    units = month(1_000_000, LIFE, STACK)["every notice ends a job's attempt"]
    priced = row(1_000_000, "", "Step Functions", units)
    assert priced["usd"] == pytest.approx(150 + 3)
    assert priced["usd_after_free_tier"] == pytest.approx(150 - 0.1)


def test_an_instance_that_had_no_notice_is_looked_up_once_for_each_state() -> None:
    """Shutting down and terminated: two invocations, each with a read that finds nothing, and no line."""
    units = month(1_000, LIFE, STACK)["as many other instances end"]
    assert (units["invocations"], units["read request units"]) == (2_000, 2_000)
    assert not any(units[unit] for unit in ("write request units", "log GB", "log GB-months"))


def test_the_stack_is_read_from_its_template_and_definition() -> None:
    """What no stack has unless it is asked for does not count."""
    stack = read_stack()
    assert stack.memory.keys() == INVOCATIONS.keys()
    assert stack.memory["record_notice"] < stack.memory["respond_to_notices"]
    assert stack.metrics >= 11
    assert stack.alarm_metrics >= 8
    assert stack.dashboards == 1
    assert stack.transitions == 6


def test_the_shortest_way_counts() -> None:
    """By ``Next``, ``Default`` or a choice; a way that is not there is an error."""
    states: dict[str, dict[str, Any]] = {
        "a": {"Next": "b"},
        "b": {"Choices": [{"Next": "c"}, {"Next": "a"}], "Default": "d"},
        "c": {},
        "d": {"Next": "c"},
    }
    assert (transitions(states, "a", "a"), transitions(states, "a", "c"), transitions(states, "d", "c")) == (2, 2, 1)
    with pytest.raises(ValueError, match="no way leads from the state c to a"):
        transitions(states, "c", "a")


def test_what_is_written_on_the_item_is_read_from_the_requests() -> None:
    """Names and values, of each of the three ways to write; reads write nothing."""
    put = {"Item": {"kind": {"S": "rebalance"}, "expires_at": {"N": "1"}}}
    update = {"UpdateExpression": "SET #a = :a", "ExpressionAttributeNames": {"#a": "a"}, "ExpressionAttributeValues": {":a": {"S": "1"}}}
    batch = {"Statements": [{"Statement": 'UPDATE "t" SET "a"=? SET "b"=? WHERE "k"=?', "Parameters": [{"S": "1"}, {"S": "2"}, {"S": "k"}]}]}
    assert written(put) == {"kind": "rebalance", "expires_at": "1"}
    assert written(update) == {"a": "1"}
    assert written(batch) == {"a": "1", "b": "2"}
    assert written({"RequestItems": {}}) == {}
    assert item_bytes({"one": {"attributes": {"ab": "1234"}}, "other": {"attributes": {"ab": "123", "c": "1"}}}) == 7


def test_all_prices_name_their_source() -> None:
    """A page of AWS's own."""
    assert all(price.source.startswith(("https://aws.amazon.com/", "https://docs.aws.amazon.com/")) for price in PRICES.values())
