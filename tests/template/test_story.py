"""What is read from the story's lines: metrics, alarms, dashboard, queries."""

from __future__ import annotations

import dataclasses
import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from spot_responder.adapters.story_log import FIELDS
from spot_responder.domain import lines
from spot_responder.domain.errors import InvalidInput
from spot_responder.domain.events import CheckpointResult, InstanceEnded
from spot_responder.domain.jobs import Told
from spot_responder.domain.lines import Happened, Line
from spot_responder.domain.notices import NoticeKind
from spot_responder.domain.plans import Outcome
from tests.examples import ACCOUNT, COMMAND_ID, NOW, REGION, attempt, instance_id, notice, rebalance
from tests.template.stack import FUNCTIONS, ROOT, of_type, resolved, walk

if TYPE_CHECKING:
    from collections.abc import Iterator

NAMESPACE = "SpotResponder"
AWS_METRICS = {
    ("AWS/Lambda", "Errors"),
    ("AWS/States", "ExecutionsFailed"),
    ("AWS/Lambda", "IteratorAge"),
    ("AWS/SQS", "ApproximateNumberOfMessagesVisible"),
}
VOCABULARY: dict[str, set[str]] = {
    "event": {*map(str, Happened)},
    "outcome": {*map(str, Outcome)},
    "kind": {*map(str, NoticeKind)},
    "level": {"INFO", "WARNING", "ERROR"},
}
FILTERS = of_type("AWS::Logs::MetricFilter")


def conditions(pattern: str) -> dict[str, str]:
    """Return the fields and values of a filter pattern such as ``{ $.a = "x" && $.b = "y" }``."""
    body = re.fullmatch(r"\{ (.*) \}", pattern)
    assert body, pattern
    terms = [re.fullmatch(r'\$\.(\w+) = "([^"]*)"', term) for term in body[1].split(" && ")]
    return {term[1]: term[2] for term in terms if term}


def metrics_of(line: Line) -> dict[str, float]:
    """Return what the metric filters make of a line."""
    fields = dataclasses.asdict(line)
    found: dict[str, float] = {}
    for metric_filter in FILTERS.values():
        if all(fields[name] == value for name, value in conditions(metric_filter["FilterPattern"]).items()):
            (metric,) = metric_filter["MetricTransformations"]
            value = metric["MetricValue"]
            found[metric["MetricName"]] = fields[value.removeprefix("$.")] if value.startswith("$.") else float(value)
    return found


def closed(outcome: Outcome) -> Line:
    """Return the line of a notice that ended so, three seconds after its event."""
    return lines.notice_closed(notice(), outcome, "because", NOW)


@pytest.mark.parametrize(
    ("line", "metrics"),
    [
        (lines.notice_received(notice(), NOW), {"InterruptionWarnings": 1}),
        (lines.notice_received(rebalance(), NOW), {"RebalanceRecommendations": 1}),
        (lines.notice_repeated(notice(), NOW), {"DuplicateNotices": 1}),
        (lines.checkpoint_asked(notice(), COMMAND_ID, NOW), {"CheckpointsAsked": 1, "SecondsToCommand": 3}),
        (closed(Outcome.SAVED), {"CheckpointsSaved": 1, "SecondsToSaved": 3}),
        (closed(Outcome.FAILED), {"CheckpointsFailed": 1}),
        (closed(Outcome.MISSED), {"CheckpointsMissed": 1}),
        (closed(Outcome.LATE), {"LateNotices": 1}),
        (closed(Outcome.VANISHED), {}),
        (closed(Outcome.NOT_OPTED_IN), {}),
        (closed(Outcome.LOGGED_ONLY), {}),
        (closed(Outcome.SUPERSEDED), {}),
        (lines.instance_gone(notice(), InstanceEnded(instance_id(), "stopped", ACCOUNT, REGION, NOW)), {}),
        (lines.result_unclaimed(CheckpointResult(COMMAND_ID, instance_id(), "Success", ACCOUNT, REGION, NOW)), {}),
        (lines.answer_unwritten(notice(), "because", NOW, for_good=False), {}),
        (lines.replacement_asked(notice(), attempt(), Told(), NOW), {}),
        (lines.replacement_asked(notice(), attempt(), Told("throttled", is_trouble=True), NOW), {}),
        (lines.attempt_lost(InstanceEnded(instance_id(), "stopped", ACCOUNT, REGION, NOW), attempt()), {}),
        (lines.input_rejected(InvalidInput("time", "a time", 1)), {"RejectedInputs": 1}),
    ],
    ids=lambda value: f"{value.event}-{value.outcome}" if isinstance(value, Line) else "",
)
def test_a_line_counts(line: Line, metrics: dict[str, float]) -> None:
    """Each line counts in the metrics that its event means, and in no other; a duplicate is no second notice."""
    assert metrics_of(line) == metrics


def test_filters_name_what_there_is() -> None:
    """Filter patterns name fields that every line has, and values that can stand in them."""
    for name, metric_filter in FILTERS.items():
        for field, value in conditions(metric_filter["FilterPattern"]).items():
            assert field in FIELDS, name
            assert value in VOCABULARY[field], name
        (metric,) = metric_filter["MetricTransformations"]
        assert metric["MetricValue"] == "1" or metric["MetricValue"].removeprefix("$.") in FIELDS, name


def test_metrics_are_plain() -> None:
    """Each filter reads the story, is called as its metric, and has no dimension: an instance id would make a metric for each instance."""
    for name, metric_filter in FILTERS.items():
        (metric,) = metric_filter["MetricTransformations"]
        assert (metric["MetricNamespace"], metric["MetricName"]) == (NAMESPACE, name)
        assert "Dimensions" not in metric
        assert resolved(metric_filter["LogGroupName"]) == "/aws/events/spotinterruptions"
        assert metric["Unit"] == ("Seconds" if name.startswith("Seconds") else "Count")


def alarm_metrics() -> Iterator[tuple[str, str]]:
    """Yield the namespace and name of each metric that an alarm watches."""
    for part in walk(list(of_type("AWS::CloudWatch::Alarm").values())):
        if isinstance(part, dict) and "MetricName" in part:
            yield part["Namespace"], part["MetricName"]


DASHBOARDS = ("Dashboard", "JobDashboard")


def dashboard(name: str = "Dashboard") -> dict[str, Any]:
    """Return a dashboard's body, which has to be JSON."""
    body: dict[str, Any] = json.loads(resolved(of_type("AWS::CloudWatch::Dashboard")[name]["DashboardBody"]))
    return body


def dashboard_metrics(name: str = "Dashboard") -> Iterator[tuple[str, str]]:
    """Yield the namespace and name of each metric on a dashboard."""
    for row, _ in dashboard_rows(name):
        yield row[0], row[1]


def dashboard_rows(name: str) -> Iterator[tuple[list[str], str]]:
    """Yield each metric on a dashboard, in full, and its statistic; "." and "..." stand for what stood there before."""
    for widget in dashboard(name)["widgets"]:
        before: list[Any] = []
        for row in widget["properties"].get("metrics", []):
            written, options = (row[:-1], row[-1]) if isinstance(row[-1], dict) else (row, {})
            tail = written[1:] if written[0] == "..." else written
            full = (
                before[: len(before) - len(tail)] + tail
                if written[0] == "..."
                else [before[n] if part == "." else part for n, part in enumerate(tail)]
            )
            yield full, options.get("stat", widget["properties"].get("stat"))
            before = full


KNOWN = AWS_METRICS | {(NAMESPACE, name) for name in FILTERS}


def test_alarms_watch_what_there_is() -> None:
    """Alarms watch metrics that exist: dead letters, lost checkpoints, function errors and the age of waiting notices."""
    watched = set(alarm_metrics())
    assert watched <= KNOWN
    assert watched == {(NAMESPACE, "CheckpointsFailed"), (NAMESPACE, "CheckpointsMissed"), *AWS_METRICS}


def test_the_error_alarm_watches_every_function() -> None:
    """No function is left out of the alarm on errors."""
    alarm = resolved(of_type("AWS::CloudWatch::Alarm")["FunctionErrorsAlarm"])
    dimensions = [metric["MetricStat"]["Metric"]["Dimensions"] for metric in alarm["Metrics"] if "MetricStat" in metric]
    assert [one["Value"] for (one,) in dimensions] == list(FUNCTIONS)


def test_an_alarm_is_quiet_where_there_is_nothing() -> None:
    """Without notices there are no data, and that is no alarm; each alarm says where to look."""
    for name, alarm in of_type("AWS::CloudWatch::Alarm").items():
        assert alarm["TreatMissingData"] == "notBreaching", name
        assert len(alarm["AlarmDescription"]) > 40, name
        assert ("Metrics" in alarm) != ("MetricName" in alarm), name
        if "Metrics" in alarm:
            assert [one["ReturnData"] for one in alarm["Metrics"]].count(True) == 1, name


def test_a_description_points_to_a_page_that_exists() -> None:
    """Where an alarm's description names a section of the documentation, that section is there."""
    pointers = [re.search(r'See "(.+)" in (\S+\.md)', alarm["AlarmDescription"]) for alarm in of_type("AWS::CloudWatch::Alarm").values()]
    found = [pointer for pointer in pointers if pointer]
    assert found
    for pointer in found:
        assert re.search(rf"^#+ {pointer[1]}$", (ROOT / pointer[2]).read_text(), re.MULTILINE)


def test_the_dashboard_shows_what_there_is() -> None:
    """The dashboard shows metrics that exist, and every one of ours."""
    shown = set(dashboard_metrics())
    assert shown <= KNOWN
    assert {name for namespace, name in shown if namespace == NAMESPACE} == set(FILTERS)
    assert len(list(dashboard_metrics())) == len(FILTERS) + len(FUNCTIONS)


def test_the_dashboard_shows_every_alarm() -> None:
    """The dashboard shows the state of every alarm, the job's that of the job's."""
    shown = {name: widget["properties"]["alarms"] for name in DASHBOARDS for widget in dashboard(name)["widgets"] if widget["type"] == "alarm"}
    assert {arn.removesuffix(".Arn") for arns in shown.values() for arn in arns} == set(of_type("AWS::CloudWatch::Alarm"))
    assert shown["JobDashboard"] == ["InstancesLeftAlarm.Arn"]


def test_the_jobs_dashboard_is_the_workshops() -> None:
    """The job's dashboard has the workshop's name and shows its two metrics, second by second: what is saved, and what is not."""
    assert set(of_type("AWS::CloudWatch::Dashboard")) == set(DASHBOARDS)
    assert resolved(of_type("AWS::CloudWatch::Dashboard")["JobDashboard"]["DashboardName"]) == "FisSpot-us-east-1"
    assert list(dashboard_metrics("JobDashboard")) == [("fisworkshop", name) for name in ("checkpointed", "unsaved")]
    (chart,) = [widget["properties"] for widget in dashboard("JobDashboard")["widgets"] if widget["type"] == "metric"]
    assert (chart["period"], chart["yAxis"]["left"]["max"]) == (1, 100)


@pytest.mark.parametrize("name", DASHBOARDS)
def test_a_dashboard_does_not_overlap(name: str) -> None:
    """Every widget has its own place on a dashboard's 24 columns."""
    taken: set[tuple[int, int]] = set()
    for widget in dashboard(name)["widgets"]:
        cells = {(x, y) for x in range(widget["x"], widget["x"] + widget["width"]) for y in range(widget["y"], widget["y"] + widget["height"])}
        assert not cells & taken
        assert max(x for x, _ in cells) < 24
        taken |= cells


def queries() -> dict[str, str]:
    """Return all Logs Insights queries: the saved ones, and the dashboards'."""
    saved = {name: resolved(query["QueryString"]) for name, query in of_type("AWS::Logs::QueryDefinition").items()}
    shown = [widget["properties"]["query"] for name in DASHBOARDS for widget in dashboard(name)["widgets"] if widget["type"] == "log"]
    return saved | {f"dashboard {number}": re.sub(r"SOURCE '[^']*' \| ", "", query) for number, query in enumerate(shown)}


QUERY_WORDS = {
    "ispresent",
    "fields",
    "filter",
    "sort",
    "stats",
    "limit",
    "by",
    "as",
    "or",
    "and",
    "desc",
    "asc",
    "count",
    "median",
    "pct",
    "max",
    "min",
    "avg",
    "coalesce",
}
RUNTIMES_OWN = {"errorMessage"}
"""The field of the line in which Lambda's runtime tells of an exception; it has no ``message``."""


@pytest.mark.parametrize("name", queries())
def test_a_query_names_what_there_is(name: str) -> None:
    """Queries name fields that the lines have and values that can stand in them, and use words of the language alone."""
    query = queries()[name]
    for field, value in re.findall(r'(\w+) !?= "([^"]*)"', query):
        assert field in FIELDS
        assert value in VOCABULARY.get(field, {value})
    words = set(re.findall(r"(?<![\w@])[@A-Za-z_]\w*", re.sub(r'"[^"]*"', "", query)))
    given = set(re.findall(r"\bas (\w+)", query))
    assert words - QUERY_WORDS - given - {"@timestamp", "@message"} <= {*FIELDS, *RUNTIMES_OWN}


def test_queries_read_the_story() -> None:
    """Every saved query is of the one log group, in a folder named after the stack."""
    for query in of_type("AWS::Logs::QueryDefinition").values():
        assert resolved(query["LogGroupNames"]) == ["/aws/events/spotinterruptions"]
        assert resolved(query["Name"]).startswith("spot-responder/")


def test_an_exception_is_not_a_blank_line() -> None:
    """The query for what went wrong shows also the message of an exception, which Lambda's runtime puts into a field of its own."""
    assert "errorMessage" in queries()["WhatWentWrong"]
