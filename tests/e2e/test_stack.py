"""The stack around the functions: metrics, archive, alarms, dashboard, queries, wrong settings, a second deployment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from sandbox.deploy import STACK
from sandbox.waiting import wait_for
from tests.e2e.deployment import delivered, unknown_id, warning

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.deployment import Deployed

METRICS = [
    "InterruptionWarnings",
    "DuplicateNotices",
    "CheckpointsAsked",
    "CheckpointsSaved",
    "CheckpointsFailed",
    "CheckpointsMissed",
    "SecondsToCommand",
    "SecondsToSaved",
]


@pytest.mark.usefixtures("act")
@pytest.mark.parametrize("metric", METRICS)
def test_metrics(deployed: Deployed, metric: str) -> None:
    """What the story tells is counted in the namespace SpotResponder, without dimensions."""
    assert wait_for(lambda: deployed.metric(metric), 20, f"a value of the metric {metric}") > 0


@pytest.mark.usefixtures("act")
def test_no_instance_as_dimension(deployed: Deployed) -> None:
    """No metric of ours has a dimension: an instance id as one would make a metric for each instance."""
    metrics = deployed.remote.client("cloudwatch").list_metrics(Namespace="SpotResponder")["Metrics"]
    assert metrics
    assert [metric for metric in metrics if metric.get("Dimensions")] == []


def test_archive(deployed: Deployed) -> None:
    """The notices are archived, to be replayed."""
    name = deployed.outputs["NoticeArchive"].rpartition("/")[2]
    archive = deployed.remote.client("events").describe_archive(ArchiveName=name)
    assert archive["State"] == "ENABLED"
    assert "EC2 Instance Rebalance Recommendation" in archive["EventPattern"]


def test_alarms(deployed: Deployed) -> None:
    """There is an alarm for dead letters, lost checkpoints, function errors and the iterator's age."""
    alarms = deployed.remote.client("cloudwatch").describe_alarms()["MetricAlarms"]
    assert len([alarm for alarm in alarms if alarm["AlarmName"].startswith(STACK)]) == 4


def test_dashboard(deployed: Deployed) -> None:
    """The dashboard bears the stack's name and shows its metrics."""
    body = deployed.remote.client("cloudwatch").get_dashboard(DashboardName=f"{STACK}-us-east-1")["DashboardBody"]
    assert "SecondsToCommand" in body


def test_saved_queries(deployed: Deployed) -> None:
    """The saved queries are there, on our log group."""
    queries = deployed.remote.client("logs").describe_query_definitions(queryDefinitionNamePrefix=STACK)["queryDefinitions"]
    assert {query["name"].partition("/")[2] for query in queries} == {
        "story of an instance",
        "outcomes by kind",
        "seconds after the event",
        "what went wrong",
    }
    assert all(query["logGroupNames"] == [deployed.outputs["LogGroup"]] for query in queries)


def test_log_group_is_kept_as_long_as_said(deployed: Deployed) -> None:
    """The log group has the retention of the stack's parameter."""
    groups = deployed.remote.client("logs").describe_log_groups(logGroupNamePrefix=deployed.outputs["LogGroup"])["logGroups"]
    assert [group["retentionInDays"] for group in groups] == [30]


@pytest.fixture
def changed_settings(deployed: Deployed) -> Iterator[Any]:
    """A function that changes RecordNotice's variables; they are restored afterwards."""
    client, name = deployed.remote.client("lambda"), deployed.functions["RecordNotice"]
    before = client.get_function_configuration(FunctionName=name)["Environment"]["Variables"]

    def change(**variables: str | None) -> None:
        changed = {key: value for key, value in (before | variables).items() if value is not None}
        client.update_function_configuration(FunctionName=name, Environment={"Variables": changed})
        client.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})

    yield change
    change()


def test_table_that_does_not_exist(deployed: Deployed, changed_settings: Any) -> None:
    """With a wrong table name, the function's error names the variable, the table and what to do."""
    changed_settings(NOTICES_TABLE="no-such-table")
    answer = deployed.invoke("RecordNotice", delivered(warning(unknown_id())))
    assert answer["FunctionError"] == "Unhandled"
    assert answer["Payload"]["errorType"] == "ConfigurationError"
    assert answer["Payload"]["errorMessage"].startswith("NOTICES_TABLE is no-such-table: ")


def test_variable_that_is_missing(deployed: Deployed, changed_settings: Any) -> None:
    """With a variable missing, the function's error names it."""
    changed_settings(OPT_IN_TAG_KEY=None)
    answer = deployed.invoke("RecordNotice", delivered(warning(unknown_id())))
    assert "the environment variable OPT_IN_TAG_KEY is missing" in answer["Payload"]["errorMessage"]


def test_second_deployment(deployed: Deployed) -> None:
    """A second `sam deploy` of the same has no changes, and that is no failure."""
    assert "No changes to deploy" in deployed.sam.deploy()
