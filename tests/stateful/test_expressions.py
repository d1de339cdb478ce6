"""The world's reading of DynamoDB's expressions is moto's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from moto.dynamodb.comparisons import get_filter_expression
from moto.dynamodb.models.dynamo_type import Item as MotoItem

from spot_agent.jobs_table import OWNED
from tests.stateful import expressions
from tests.statemachine.definitions import SPOT_JOB, definition, states
from tests.statemachine.stage import usual_values

if TYPE_CHECKING:
    from collections.abc import Mapping

NUMBERS = ("attempt", "owner", "ready", "handover_until")
TEXTS = ("owner_id", "job_status", "execution", "outcome")
NAMES = {f"#{word}": word for word in (*NUMBERS, *TEXTS)}
A_NUMBER = st.fixed_dictionaries({"N": st.integers(0, 3).map(str)})
A_TEXT = st.fixed_dictionaries({"S": st.sampled_from(["running", "finished", "missed", "x", "xy"])})
ITEMS = st.fixed_dictionaries({"job_id": A_TEXT}, optional=dict.fromkeys(NUMBERS, A_NUMBER) | dict.fromkeys(TEXTS, A_TEXT))
VALUES = st.fixed_dictionaries(
    dict.fromkeys((":mine", ":seen", ":until"), A_NUMBER) | dict.fromkeys((":running", ":me", ":missed", ":failed", ":before", ":status"), A_TEXT),
)
OF_THE_AGENT = (
    "#attempt >= :mine AND #job_status = :running AND (attribute_not_exists(#ready) OR #ready < :mine)",
    "(attribute_not_exists(#owner) OR #owner = :seen) AND #attempt >= :mine AND #job_status = :running",
    f"{OWNED} AND (attribute_not_exists(#handover_until) OR #handover_until > :until)",
)
OF_THE_FUNCTIONS = (
    "attribute_not_exists(job_id)",
    "attribute_exists(job_id) AND (attribute_not_exists(outcome) OR outcome IN (:missed, :failed))",
    "begins_with(job_id, :running)",
)
OF_THE_DEFINITION = tuple(
    state["Arguments"]["ConditionExpression"]
    for state in states(definition(SPOT_JOB, usual_values())).values()
    if "ConditionExpression" in state.get("Arguments", {})
)


@pytest.mark.parametrize("text", [*OF_THE_AGENT, *OF_THE_FUNCTIONS, *OF_THE_DEFINITION])
@settings(max_examples=20)
@given(item=ITEMS, values=VALUES)
def test_a_condition_holds_where_motos_does(text: str, item: Mapping[str, Any], values: Mapping[str, Any]) -> None:
    """Each condition that the product writes holds for the same items as in moto."""
    moto = get_filter_expression(text, NAMES, dict(values)).expr(MotoItem(item["job_id"], None, dict(item)))
    assert expressions.condition(text)((item, NAMES, values)) == moto


def test_an_update() -> None:
    """An update sets, sets what is not there yet, and removes."""
    item = {"a": {"S": "1"}, "b": {"S": "2"}}
    apply = expressions.update("SET #a = :x, c = if_not_exists(b, :x), d = if_not_exists(d, :x) REMOVE b")
    assert apply((item, {"#a": "a"}, {":x": {"S": "9"}})) == {"a": {"S": "9"}, "c": {"S": "2"}, "d": {"S": "9"}}
