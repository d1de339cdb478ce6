"""What alarms and dashboards show of a metric is what is published: its dimensions, of which resource, and in a statistic that says something."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from spot_agent.measures import CloudWatchMeasures
from spot_responder.domain.notices import WARNING_TIME
from tests.examples import NOW
from tests.template.stack import PARAMETERS, RESOURCES, of_type, resolved, rules
from tests.template.test_story import DASHBOARDS, FILTERS, NAMESPACE, dashboard_rows

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ALARMS = {name: resolved(alarm) for name, alarm in of_type("AWS::CloudWatch::Alarm").items()}
COMPARISONS = {"GreaterThanThreshold": operator.gt, "GreaterThanOrEqualToThreshold": operator.ge}


@dataclass(frozen=True)
class Published:
    """A metric: its unit, the statistic that says something, and its one dimension with the type of resource that this names."""

    unit: str
    statistic: str
    dimension: str = ""
    kind: str = ""


AWS = {
    # Lambda Developer Guide, "Types of metrics for Lambda functions": errors are viewed as a sum, the age as an average or maximum.
    ("AWS/Lambda", "Errors"): Published("Count", "Sum", "FunctionName", "AWS::Lambda::Function"),
    ("AWS/Lambda", "IteratorAge"): Published("Milliseconds", "Maximum", "FunctionName", "AWS::Lambda::Function"),
    # Amazon SQS Developer Guide, "Available CloudWatch metrics for Amazon SQS": how many there are, sent again and again, which no sum tells.
    ("AWS/SQS", "ApproximateNumberOfMessagesVisible"): Published("Count", "Maximum", "QueueName", "AWS::SQS::Queue"),
    # Step Functions Developer Guide, "Monitoring Step Functions metrics using Amazon CloudWatch".
    ("AWS/States", "ExecutionsFailed"): Published("Count", "Sum", "StateMachineArn", "AWS::StepFunctions::StateMachine"),
}
"""AWS's own, by the pages named."""
OURS = {
    (NAMESPACE, name): Published(metric["Unit"], "Sum" if metric["Unit"] == "Count" else "Maximum")
    for name, one in FILTERS.items()
    for metric in one["MetricTransformations"]
}


@dataclass
class _CloudWatch:
    """A client that keeps what is put."""

    put: list[dict[str, Any]]

    def put_metric_data(self, **given: Any) -> None:
        self.put += [{"Namespace": given["Namespace"], **metric} for metric in given["MetricData"]]


def agents() -> dict[tuple[str, str], Published]:
    """Return what a job's agent publishes, as it does."""
    client = _CloudWatch([])
    CloudWatchMeasures(lambda: client).sample(NOW.timestamp(), 50.0, 40.0)
    assert not any("Dimensions" in metric for metric in client.put)
    return {(metric["Namespace"], metric["MetricName"]): Published(metric["Unit"], "Maximum") for metric in client.put}


PUBLISHED = AWS | OURS | agents()


@dataclass(frozen=True)
class Shown:
    """A metric as an alarm or a dashboard asks for it."""

    metric: tuple[str, str]
    dimensions: tuple[tuple[str, str], ...]
    statistic: str


def _asked(metric: Mapping[str, Any], statistic: str) -> Shown:
    dimensions = tuple((one["Name"], one["Value"]) for one in metric.get("Dimensions", []))
    return Shown((metric["Namespace"], metric["MetricName"]), dimensions, statistic)


def watched(alarm: Mapping[str, Any]) -> list[Shown]:
    """Return the metrics of an alarm: its one, or those that its expression puts together."""
    if "MetricName" in alarm:
        return [_asked(alarm, alarm["Statistic"])]
    return [_asked(one["MetricStat"]["Metric"], one["MetricStat"]["Stat"]) for one in alarm["Metrics"] if "MetricStat" in one]


def on_dashboard(name: str) -> Iterator[Shown]:
    """Yield the metrics of a dashboard, each with its own statistic or its chart's."""
    for row, statistic in dashboard_rows(name):
        namespace, metric, *rest = row
        yield Shown((namespace, metric), tuple(zip(rest[::2], rest[1::2], strict=True)), statistic)


SHOWN = [
    *((name, one) for name, alarm in ALARMS.items() for one in watched(alarm)),
    *((name, one) for name in DASHBOARDS for one in on_dashboard(name)),
]


@pytest.mark.parametrize("shown", [one for _, one in SHOWN], ids=[f"{name}-{one.metric[1]}" for name, one in SHOWN])
def test_a_metric_is_asked_for_as_it_is_published(shown: Shown) -> None:
    """A metric with other dimensions than its own is another one, which has no data; its dimension names a resource of the stack."""
    published = PUBLISHED[shown.metric]
    assert [name for name, _ in shown.dimensions] == ([published.dimension] if published.dimension else [])
    assert [RESOURCES[value.split(".")[0]]["Type"] for _, value in shown.dimensions] == ([published.kind] if published.kind else [])
    assert shown.statistic == published.statistic


def values(name: str) -> set[str]:
    """Return the resources that an alarm watches."""
    return {value for shown in watched(ALARMS[name]) for _, value in shown.dimensions}


def test_the_queue_that_is_watched_is_the_one_that_is_used() -> None:
    """The alarm on dead letters watches every queue that anything is given up to."""
    targets = [target["DeadLetterConfig"]["Arn"] for rule in rules().values() for target in rule["Targets"]]
    kinds = ("AWS::Lambda::EventInvokeConfig", "AWS::Lambda::EventSourceMapping")
    ends = [resolved(one["DestinationConfig"])["OnFailure"]["Destination"] for kind in kinds for one in of_type(kind).values()]
    assert {arn.removesuffix(".Arn") for arn in (*targets, *ends)} == {value.removesuffix(".QueueName") for value in values("DeadLettersAlarm")}


def test_the_function_that_is_watched_is_the_one_that_reads_the_stream() -> None:
    """Only a function that reads a stream has an iterator's age."""
    assert values("IteratorAgeAlarm") == {resolved(one["FunctionName"]) for one in of_type("AWS::Lambda::EventSourceMapping").values()}


def test_the_machine_that_is_watched_is_the_one_that_nobody_waits_for() -> None:
    """Who starts a job sees it fail; a machine that a rule starts fails unseen."""
    by_rules = {target["Arn"] for rule in rules().values() for target in rule["Targets"]} & set(of_type("AWS::StepFunctions::StateMachine"))
    assert values("InstancesLeftAlarm") == by_rules


def fires(alarm: Mapping[str, Any], value: float) -> bool:
    """Tell whether a value is too much for an alarm."""
    return bool(COMPARISONS[alarm["ComparisonOperator"]](value, alarm["Threshold"]))


@pytest.mark.parametrize("name", ALARMS)
def test_one_bad_minute_is_enough(name: str) -> None:
    """Whatever an alarm watches happens once, and no next minute is waited for; what is read from lines is counted late, and looked for longer."""
    alarm = ALARMS[name]
    assert alarm.get("DatapointsToAlarm", alarm["EvaluationPeriods"]) == 1
    assert alarm["EvaluationPeriods"] > 1 or not any(shown.metric in OURS for shown in watched(alarm))


@pytest.mark.parametrize("name", [name for name in ALARMS if {PUBLISHED[one.metric].unit for one in watched(ALARMS[name])} == {"Count"}])
def test_one_is_too_many(name: str) -> None:
    """An alarm on a count, or on the sum of some, is quiet at none and fires at the first."""
    assert (fires(ALARMS[name], 0), fires(ALARMS[name], 1)) == (False, True)
    assert {one["Expression"] for one in ALARMS[name].get("Metrics", []) if "Expression" in one} <= {"SUM(METRICS())"}


def test_notices_that_wait_are_told_while_they_have_time() -> None:
    """The longest batching window is no delay; half the time that a warning leaves is one."""
    longest = 1000 * PARAMETERS["BatchingWindowSeconds"]["MaxValue"]
    time = 1000 * WARNING_TIME.total_seconds()
    # The window is followed by a quarter of a second of polling, and an invocation that starts cold.
    assert [fires(ALARMS["IteratorAgeAlarm"], age) for age in (0, longest + 10_000, time / 2 + 1, time)] == [False, False, True, True]
