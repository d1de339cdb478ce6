"""The ports on boto3: what is asked of AWS and how its answers are read. botocore's stubber checks both against its own models."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.exceptions import EndpointConnectionError, NoCredentialsError
from botocore.stub import Stubber

from gameday.adapters.account import services_of
from gameday.adapters.connection import calling
from gameday.adapters.experiments import FisExperiments
from gameday.adapters.jobs_table import DynamoDbJobs
from gameday.adapters.logs import CloudWatchLogs
from gameday.adapters.machines import Ec2Machines
from gameday.adapters.metrics import CloudWatchMetrics
from gameday.adapters.stacks import CloudFormationStacks
from gameday.adapters.workflows import StepFunctionsWorkflows
from gameday.evidence import Execution, Job, Machine, Sample
from gameday.experiment import Experiment
from gameday.failures import Overdue, Refused, Unmet
from gameday.ports import ExperimentState
from gameday.story import LogEvent

if TYPE_CHECKING:
    from collections.abc import Iterator

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
MACHINE_ARN = "arn:aws:states:us-east-1:123456789012:stateMachine:SpotChaosStateMachine"
EXECUTION_ARN = "arn:aws:states:us-east-1:123456789012:execution:SpotChaosStateMachine:gameday-1"


@pytest.fixture(autouse=True)
def _nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test can reach an account."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)


@cache
def made(service: Any) -> Any:
    """A client for all tests: to make one reads the service's whole model."""
    return boto3.client(service, region_name="us-east-1", aws_access_key_id="testing", aws_secret_access_key="testing")


@contextmanager
def stubbed(service: Any) -> Iterator[tuple[Any, Stubber]]:
    """A client that gives the answers that are put in, and must be asked for all of them."""
    client = made(service)
    with Stubber(client) as stubber:
        yield client, stubber
        stubber.assert_no_pending_responses()


def stack(status: str = "CREATE_COMPLETE", **outputs: str) -> dict[str, Any]:
    """DescribeStacks' answer."""
    listed = [{"OutputKey": key, "OutputValue": value} for key, value in outputs.items()]
    return {"Stacks": [{"StackName": "s", "StackStatus": status, "CreationTime": NOON, "Outputs": listed}]}


def resource(kind: str, physical: str) -> dict[str, Any]:
    """One of ListStackResources' summaries."""
    return {
        "LogicalResourceId": "L",
        "PhysicalResourceId": physical,
        "ResourceType": kind,
        "LastUpdatedTimestamp": NOON,
        "ResourceStatus": "CREATE_COMPLETE",
    }


def test_the_stack_is_found_with_its_outputs_and_templates() -> None:
    """Outputs by name; of its resources the experiment templates, whether CloudFormation keeps their id or their ARN."""
    with stubbed("cloudformation") as (client, stubber):
        found = stack(StateMachineArn=MACHINE_ARN, JobsTable="jobs", LogGroup="/story", JobDashboard="FisSpot-us-east-1")
        stubber.add_response("describe_stacks", found, {"StackName": "s"})
        first = {"StackResourceSummaries": [resource("AWS::FIS::ExperimentTemplate", "EXT1"), resource("AWS::SNS::Topic", "t")], "NextToken": "n"}
        second = {"StackResourceSummaries": [resource("AWS::FIS::ExperimentTemplate", "arn:aws:fis:r:a:experiment-template/EXT2")]}
        stubber.add_response("list_stack_resources", first, {"StackName": "s"})
        stubber.add_response("list_stack_resources", second, {"StackName": "s", "NextToken": "n"})
        answer = CloudFormationStacks(client).find("s")
    assert (answer.state_machine, answer.jobs_table, answer.log_group) == (MACHINE_ARN, "jobs", "/story")
    assert answer.experiment_templates == {"EXT1", "EXT2"}
    assert (answer.region, answer.dashboard) == ("us-east-1", "FisSpot-us-east-1")


def test_a_stack_that_does_not_exist() -> None:
    """The sentence names stack and Region, and what to do."""
    with stubbed("cloudformation") as (client, stubber):
        stubber.add_client_error("describe_stacks", "ValidationError", "Stack with id s does not exist", 400)
        with pytest.raises(Unmet, match=r"The stack s was not found in us-east-1: deploy it"):
            CloudFormationStacks(client).find("s")


def test_another_validation_error_is_not_taken_for_it() -> None:
    """A name that CloudFormation does not accept is its own message."""
    with stubbed("cloudformation") as (client, stubber):
        stubber.add_client_error("describe_stacks", "ValidationError", "1 validation error detected", 400)
        with pytest.raises(Refused, match="1 validation error"):
            CloudFormationStacks(client).find("s")


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (stack("ROLLBACK_COMPLETE", StateMachineArn="a", JobsTable="j", LogGroup="l"), "is ROLLBACK_COMPLETE"),
        (stack(LogGroup="l"), "no output StateMachineArn: the job is deployed only with SubnetIds"),
    ],
)
def test_a_stack_that_is_not_ready(answer: dict[str, Any], sentence: str) -> None:
    """Not whole, or deployed without the job: each is named with what to do."""
    with stubbed("cloudformation") as (client, stubber):
        stubber.add_response("describe_stacks", answer)
        with pytest.raises(Unmet, match=sentence):
            CloudFormationStacks(client).find("s")


def test_no_rights() -> None:
    """The sentence names the action to allow."""
    with stubbed("cloudformation") as (client, stubber):
        stubber.add_client_error("describe_stacks", "AccessDenied", "User is not authorized", 403)
        with pytest.raises(Unmet, match="No right to call cloudformation:DescribeStacks"):
            CloudFormationStacks(client).find("s")


def test_credentials_that_ran_out() -> None:
    """It says to log in again."""
    with stubbed("cloudformation") as (client, stubber):
        stubber.add_client_error("describe_stacks", "ExpiredToken", "The token is expired", 403)
        with pytest.raises(Unmet, match="log in again"):
            CloudFormationStacks(client).find("s")


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (NoCredentialsError(), "No AWS credentials"),
        (EndpointConnectionError(endpoint_url="http://127.0.0.1:1"), "AWS does not answer to x:Y"),
    ],
)
def test_before_aws_even_answers(error: Exception, sentence: str) -> None:
    """Botocore's own errors are sentences with what to do, too."""
    with pytest.raises(Unmet, match=sentence), calling("x:Y"):
        raise error


def test_no_region(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a Region there is no client at all."""
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    with pytest.raises(Unmet, match="give --region"):
        services_of(None)


def test_a_state_machine_that_is_gone() -> None:
    """The stack says it has one, Step Functions does not know it: deploy again."""
    with stubbed("stepfunctions") as (client, stubber):
        stubber.add_client_error("describe_state_machine", "StateMachineDoesNotExist", "gone", 400)
        with pytest.raises(Unmet, match="is not there"):
            StepFunctionsWorkflows(client).check(MACHINE_ARN)


def test_a_state_machine_that_is_being_deleted() -> None:
    """Only an active one can be started."""
    answer = {"stateMachineArn": MACHINE_ARN, "name": "m", "status": "DELETING", "definition": "{}", "roleArn": "arn:role", "type": "STANDARD"}
    with stubbed("stepfunctions") as (client, stubber):
        stubber.add_response("describe_state_machine", answer | {"creationDate": NOON})
        with pytest.raises(Unmet, match="is DELETING"):
            StepFunctionsWorkflows(client).check(MACHINE_ARN)


def test_the_execution_is_started_with_json() -> None:
    """Input as a JSON object, the name as given."""
    with stubbed("stepfunctions") as (client, stubber):
        expected = {"stateMachineArn": MACHINE_ARN, "name": "gameday-1", "input": '{"JobDuration": "6"}'}
        stubber.add_response("start_execution", {"executionArn": EXECUTION_ARN, "startDate": NOON}, expected)
        assert StepFunctionsWorkflows(client).start(MACHINE_ARN, "gameday-1", {"JobDuration": "6"}) == EXECUTION_ARN


def test_a_running_execution_is_none() -> None:
    """There is nothing to say of it yet."""
    answer = {"executionArn": EXECUTION_ARN, "stateMachineArn": MACHINE_ARN, "status": "RUNNING", "startDate": NOON}
    with stubbed("stepfunctions") as (client, stubber):
        stubber.add_response("describe_execution", answer)
        assert StepFunctionsWorkflows(client).look(EXECUTION_ARN) is None


def test_an_ended_execution() -> None:
    """Error and cause become one text."""
    answer = {"executionArn": EXECUTION_ARN, "stateMachineArn": MACHINE_ARN, "status": "FAILED", "startDate": NOON, "stopDate": NOON}
    with stubbed("stepfunctions") as (client, stubber):
        stubber.add_response("describe_execution", answer | {"error": "NoCapacity", "cause": "EC2 has none", "redriveCount": 1})
        ended = StepFunctionsWorkflows(client).look(EXECUTION_ARN)
    assert ended == Execution(NOON.timestamp(), NOON.timestamp(), "FAILED", "NoCapacity: EC2 has none", redrives=1)


def test_all_pages_of_the_history_count() -> None:
    """A page has at most 1,000 events."""
    event = {"timestamp": NOON, "type": "TaskScheduled", "id": 1}
    with stubbed("stepfunctions") as (client, stubber):
        stubber.add_response("get_execution_history", {"events": [event, event], "nextToken": "n"})
        stubber.add_response("get_execution_history", {"events": [event]})
        assert StepFunctionsWorkflows(client).count_events(EXECUTION_ARN) == 3


def test_the_template_is_the_stacks_own() -> None:
    """Another stack's template may bear the same tag: only one of ours is taken."""
    listed = [
        {"id": "EXT9", "tags": {"Name": "FisWorkshopSpotInterrupt"}},
        {"id": "EXT1", "tags": {"Name": "FisWorkshopSpotInterrupt"}},
        {"id": "EXT2"},
    ]
    with stubbed("fis") as (client, stubber):
        stubber.add_response("list_experiment_templates", {"experimentTemplates": listed})
        assert FisExperiments(client).template(Experiment.INTERRUPT, frozenset({"EXT1", "EXT2"})) == "EXT1"


def test_no_template_of_the_stack_bears_the_tag() -> None:
    """It says so, and that others do."""
    with stubbed("fis") as (client, stubber):
        stubber.add_response("list_experiment_templates", {"experimentTemplates": [{"id": "EXT9", "tags": {"Name": "FisWorkshopSpotTerminate"}}]})
        with pytest.raises(Unmet, match=r"Name=FisWorkshopSpotTerminate \(1 elsewhere"):
            FisExperiments(client).template(Experiment.TERMINATE, frozenset({"EXT1"}))


def test_an_empty_target() -> None:
    """FIS tells it in the reason of a failed experiment."""
    state = {"status": "failed", "reason": "Target resolution returned empty set"}
    with stubbed("fis") as (client, stubber):
        stubber.add_response("get_experiment", {"experiment": {"id": "EXP1", "state": state}}, {"id": "EXP1"})
        assert FisExperiments(client).look("EXP1") == ExperimentState("failed", "Target resolution returned empty set", empty=True)


def test_another_failure_is_not_an_empty_target() -> None:
    """Only an empty target is worth starting again."""
    with stubbed("fis") as (client, stubber):
        stubber.add_response("get_experiment", {"experiment": {"id": "EXP1", "state": {"status": "failed", "reason": "Unable to assume role"}}})
        state = FisExperiments(client).look("EXP1")
    assert (state.over, state.empty) == (True, False)


def test_stopping_an_experiment_that_is_over() -> None:
    """FIS refuses; it is over, which is what was wanted."""
    with stubbed("fis") as (client, stubber):
        stubber.add_client_error("stop_experiment", "ConflictException", "cannot be stopped", 409)
        stubber.add_response("get_experiment", {"experiment": {"id": "EXP1", "state": {"status": "completed"}}})
        FisExperiments(client).stop("EXP1")


def test_stopping_an_experiment_in_vain() -> None:
    """One that still runs and will not stop is a failure to tell."""
    with stubbed("fis") as (client, stubber):
        stubber.add_client_error("stop_experiment", "ConflictException", "cannot be stopped", 409)
        stubber.add_response("get_experiment", {"experiment": {"id": "EXP1", "state": {"status": "running"}}})
        with pytest.raises(Refused):
            FisExperiments(client).stop("EXP1")


def test_instances_of_several_reservations() -> None:
    """All reservations and pages are read, oldest instance first."""

    def reservation(identity: str, hour: int) -> dict[str, Any]:
        return {"Instances": [{"InstanceId": identity, "LaunchTime": NOON.replace(hour=hour), "State": {"Name": "running"}}]}

    with stubbed("ec2") as (client, stubber):
        expected = {"Filters": [{"Name": "tag:spot-responder:job", "Values": ["j"]}]}
        stubber.add_response("describe_instances", {"Reservations": [reservation("i-2", 11), reservation("i-1", 10)], "NextToken": "n"}, expected)
        stubber.add_response("describe_instances", {"Reservations": [reservation("i-3", 12)]}, expected | {"NextToken": "n"})
        found = Ec2Machines(client).of_job("j")
    assert [machine.instance_id for machine in found] == ["i-1", "i-2", "i-3"]
    assert found[2] == Machine("i-3", NOON.timestamp(), "running")


def test_targets_are_asked_for_as_fis_does() -> None:
    """By the workshop's tag, running ones only."""
    with stubbed("ec2") as (client, stubber):
        expected = {"Filters": [{"Name": "tag:Name", "Values": ["Fis/Spot"]}, {"Name": "instance-state-name", "Values": ["running"]}]}
        stubber.add_response("describe_instances", {"Reservations": []}, expected)
        assert Ec2Machines(client).targets() == []


def test_the_jobs_record() -> None:
    """Status, percent and attempts; a record that lacks them is not an error."""
    with stubbed("dynamodb") as (client, stubber):
        item = {"job_id": {"S": "j"}, "job_status": {"S": "finished"}, "percent": {"N": "99.5"}, "attempt": {"N": "2"}}
        expected = {"RequestItems": {"t": {"Keys": [{"job_id": {"S": "j"}}], "ConsistentRead": True}}}
        stubber.add_response("batch_get_item", {"Responses": {"t": [item]}, "UnprocessedKeys": {}}, expected)
        stubber.add_response("batch_get_item", {"Responses": {"t": [{"job_id": {"S": "j"}}]}, "UnprocessedKeys": {}})
        stubber.add_response("batch_get_item", {"Responses": {}, "UnprocessedKeys": {}})
        jobs = DynamoDbJobs(client)
        assert [jobs.job("t", "j") for _ in range(3)] == [Job("finished", 99.5, 2), Job("unknown", 0.0, 0), None]


def test_the_attempts_own_records() -> None:
    """By attempt, what BatchGetItem left out asked for again; one that wrote nothing is left out."""
    second = {"job_id": {"S": "j#2"}, "started_at": {"N": "12.5"}, "instance_id": {"S": "i-2"}}
    with stubbed("dynamodb") as (client, stubber):
        left = {"t": {"Keys": [{"job_id": {"S": "j#1"}}], "ConsistentRead": True}}
        stubber.add_response("batch_get_item", {"Responses": {"t": [second]}, "UnprocessedKeys": left})
        stubber.add_response("batch_get_item", {"Responses": {"t": [{"job_id": {"S": "j#1"}}]}, "UnprocessedKeys": {}}, {"RequestItems": left})
        found = DynamoDbJobs(client).attempts("t", "j", 3)
    assert [(attempt.number, attempt.started_at, attempt.instance_id) for attempt in found] == [(1, None, None), (2, 12.5, "i-2")]


def test_more_than_a_hundred_attempts() -> None:
    """BatchGetItem takes 100 keys."""
    with stubbed("dynamodb") as (client, stubber):
        for size in (100, 1):
            start = 1 if size == 100 else 101
            keys = [{"job_id": {"S": f"j#{number}"}} for number in range(start, start + size)]
            expected = {"RequestItems": {"t": {"Keys": keys, "ConsistentRead": True}}}
            stubber.add_response("batch_get_item", {"Responses": {"t": []}, "UnprocessedKeys": {}}, expected)
        assert DynamoDbJobs(client).attempts("t", "j", 101) == []


def test_a_table_that_never_gives_all() -> None:
    """Asking again is bounded."""
    left = {"t": {"Keys": [{"job_id": {"S": "j#1"}}]}}
    with stubbed("dynamodb") as (client, stubber):
        for _ in range(10):
            stubber.add_response("batch_get_item", {"Responses": {}, "UnprocessedKeys": left})
        with pytest.raises(Overdue, match="in 10 tries"):
            DynamoDbJobs(client).attempts("t", "j", 1)


def test_a_jobs_table_that_is_gone() -> None:
    """Deploy again."""
    with stubbed("dynamodb") as (client, stubber):
        stubber.add_client_error("batch_get_item", "ResourceNotFoundException", "gone", 400)
        with pytest.raises(Unmet, match="jobs table t"):
            DynamoDbJobs(client).check("t")


def test_samples_by_the_second() -> None:
    """One query at one second's period over whole seconds; pages and answers in any order come out by time."""
    start, end = NOON.timestamp(), NOON.timestamp() + 2
    with stubbed("cloudwatch") as (client, stubber):
        metric = {"Namespace": "fisworkshop", "MetricName": "unsaved"}
        query = {"Id": "m1", "MetricStat": {"Metric": metric, "Period": 1, "Stat": "Maximum"}}
        expected = {"MetricDataQueries": [query], "StartTime": NOON, "EndTime": NOON.replace(second=2)}
        one, two = NOON.replace(second=1), NOON.replace(second=0)
        answer = {"MetricDataResults": [{"Id": "m1", "Timestamps": [one, two], "Values": [2.0, 1.0], "StatusCode": "Complete"}]}
        stubber.add_response("get_metric_data", answer, expected)
        found = CloudWatchMetrics(client).samples("unsaved", start + 0.4, end - 0.4)
    assert found == [Sample(start, 1.0), Sample(start + 1, 2.0)]


def test_lines_of_the_log_group() -> None:
    """Times in milliseconds there, in seconds here; all pages."""
    with stubbed("logs") as (client, stubber):
        event = {"eventId": "a", "timestamp": 1500, "message": "one"}
        stubber.add_response("filter_log_events", {"events": [event], "nextToken": "n"}, {"logGroupName": "/g", "startTime": 1500})
        stubber.add_response("filter_log_events", {"events": [event | {"eventId": "b"}]}, {"logGroupName": "/g", "startTime": 1500, "nextToken": "n"})
        assert CloudWatchLogs(client).group("/g").since(1.5) == [LogEvent("a", 1.5, "one"), LogEvent("b", 1.5, "one")]


def test_a_log_group_that_is_gone() -> None:
    """Deploy again."""
    with stubbed("logs") as (client, stubber):
        stubber.add_client_error("filter_log_events", "ResourceNotFoundException", "gone", 400)
        with pytest.raises(Unmet, match="log group /g"):
            CloudWatchLogs(client).group("/g").since(0)
