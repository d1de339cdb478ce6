"""CloudWatch Logs of a running sandbox: finding events, measuring them, keeping queries."""

from __future__ import annotations

import json
import time
import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from sandbox.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable


class Group:
    """A log group with two streams."""

    def __init__(self, aws: Callable[[str], Any]) -> None:
        self.api, self._metrics = aws("logs"), aws("cloudwatch")
        self.name = f"/g/{uuid.uuid4().hex[:8]}"
        self.namespace = f"N{uuid.uuid4().hex[:8]}"
        self.api.create_log_group(logGroupName=self.name)
        for stream in ("one", "two"):
            self.api.create_log_stream(logGroupName=self.name, logStreamName=stream)

    def write(self, *events: dict[str, Any], stream: str = "one", age_ms: int = 0) -> None:
        """Write JSON events."""
        now = int(time.time() * 1000) - age_ms
        entries = [{"timestamp": now + number, "message": json.dumps(event)} for number, event in enumerate(events)]
        self.api.put_log_events(logGroupName=self.name, logStreamName=stream, logEvents=entries)

    def found(self, pattern: str) -> list[Any]:
        """The field `n` of the events that match."""
        events = self.api.filter_log_events(logGroupName=self.name, filterPattern=pattern)["events"]
        return [json.loads(event["message"])["n"] for event in events]

    def measure(self, pattern: str, **transformation: Any) -> None:
        """Add a metric filter for the metric `M`."""
        given = {"metricName": "M", "metricNamespace": self.namespace, "metricValue": "1", **transformation}
        self.api.put_metric_filter(logGroupName=self.name, filterName="f", filterPattern=pattern, metricTransformations=[given])

    def statistics(self, expected_count: int, **dimensions: str) -> dict[str, Any]:
        """Sum, count and unit of the metric, as soon as there are as many data points as expected."""

        def look() -> dict[str, Any] | None:
            now = datetime.now(UTC)
            points = self._metrics.get_metric_statistics(
                Namespace=self.namespace,
                MetricName="M",
                Dimensions=[{"Name": name, "Value": value} for name, value in dimensions.items()],
                StartTime=now - timedelta(hours=1),
                EndTime=now + timedelta(hours=1),
                Period=7200,
                Statistics=["Sum", "SampleCount"],
            )["Datapoints"]
            return points[0] if points and points[0]["SampleCount"] >= expected_count else None

        return wait_for(look, 20, f"{expected_count} data points") or {}


@pytest.fixture
def group(aws: Callable[[str], Any]) -> Group:
    """A new log group."""
    return Group(aws)


def test_events_are_found_by_pattern_and_come_in_order_of_time(group: Group) -> None:
    """Both streams are searched, and their events interleaved by time."""
    group.write({"n": 2, "event": "x"}, stream="one", age_ms=1000)
    group.write({"n": 1, "event": "x"}, {"n": 9, "event": "y"}, stream="two", age_ms=5000)
    group.write({"n": 3, "event": "x"}, stream="two")
    assert group.found('{ $.event = "x" }') == [1, 2, 3]
    assert group.found('{ $.event = "x" && $.n > 1 }') == [2, 3]
    assert group.found("") == [1, 9, 2, 3]


def test_pages_are_followed(group: Group) -> None:
    """A limit gives a token that leads to the rest."""
    group.write(*({"n": number} for number in range(7)))
    first = group.api.filter_log_events(logGroupName=group.name, limit=5)
    rest = group.api.filter_log_events(logGroupName=group.name, limit=5, nextToken=first["nextToken"])
    assert [json.loads(event["message"])["n"] for event in first["events"] + rest["events"]] == list(range(7))


def test_a_bad_pattern_is_refused(group: Group) -> None:
    """Neither a search nor a metric filter takes what is no pattern."""
    with pytest.raises(group.api.exceptions.InvalidParameterException, match="Invalid filter pattern"):
        group.found("{ $.event ~ 1 }")
    with pytest.raises(group.api.exceptions.InvalidParameterException, match="Invalid filter pattern"):
        group.measure("{ $.event ~ 1 }")


def test_a_metric_filter_counts_what_matches_in_its_own_group(group: Group, aws: Callable[[str], Any]) -> None:
    """What does not match, and what another group logs, is not counted."""
    group.measure('{ $.event = "x" }', unit="Count")
    Group(aws).write({"n": 0, "event": "x"})
    group.write({"n": 1, "event": "x"}, {"n": 2, "event": "y"}, {"n": 3, "event": "x"})
    found = group.statistics(2)
    assert (found["Sum"], found["SampleCount"], found["Unit"]) == (2, 2, "Count")


def test_a_metric_takes_value_and_dimension_from_the_event(group: Group) -> None:
    """``$.seconds`` is the value and ``$.kind`` a dimension; an event without them gives no data point."""
    group.measure("{ $.seconds EXISTS }", metricValue="$.seconds", unit="Seconds", dimensions={"Kind": "$.kind"})
    group.write(
        {"seconds": 1.5, "kind": "a"}, {"seconds": 2, "kind": "a"}, {"seconds": 5, "kind": "b"}, {"seconds": "late", "kind": "a"}, {"seconds": 9}
    )
    assert group.statistics(2, Kind="a")["Sum"] == 3.5
    assert group.statistics(1, Kind="b")["SampleCount"] == 1


def test_a_default_value_shows_that_nothing_matched(group: Group) -> None:
    """Events that do not match give the default once."""
    group.measure('{ $.event = "x" }', defaultValue=0)
    group.write({"event": "y"}, {"event": "y"})
    found = group.statistics(1)
    assert (found["Sum"], found["SampleCount"]) == (0, 1)


def test_saved_queries_are_kept(group: Group) -> None:
    """A query definition is stored, changed under its id, listed by prefix and deleted."""
    name = f"q/{uuid.uuid4().hex[:8]}"
    saved = group.api.put_query_definition(name=name, queryString="fields @message", logGroupNames=[group.name])["queryDefinitionId"]
    group.api.put_query_definition(name=name, queryString="fields @timestamp", queryDefinitionId=saved)
    listed = group.api.describe_query_definitions(queryDefinitionNamePrefix=name)["queryDefinitions"]
    assert [(query["queryDefinitionId"], query["queryString"]) for query in listed] == [(saved, "fields @timestamp")]
    group.api.delete_query_definition(queryDefinitionId=saved)
    assert group.api.describe_query_definitions(queryDefinitionNamePrefix=name)["queryDefinitions"] == []
