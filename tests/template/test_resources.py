"""The rules of the design that the resources keep."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

import pytest

from spot_responder.adapters.jobs import BY_INSTANCE, StepFunctionsJobs
from spot_responder.domain.events import InstanceEnded
from tests.examples import ACCOUNT, NOW, REGION, instance_id
from tests.template.stack import FUNCTIONS, PARAMETERS, RESOURCES, TEMPLATE, TRANSLATED, WITH_JOB, WRITTEN, of_type, resolved, rules

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_stepfunctions import SFNClient

DAY = 86_400


def test_one_key_for_an_account_and_region() -> None:
    """The table's partition key is the account and Region, so that all its notices come down one shard."""
    table = of_type("AWS::DynamoDB::Table")["NoticesTable"]
    assert table["KeySchema"] == [{"AttributeName": "account_region", "KeyType": "HASH"}, {"AttributeName": "notice_id", "KeyType": "RANGE"}]
    assert {one["AttributeName"]: one["AttributeType"] for one in table["AttributeDefinitions"]} == {"account_region": "S", "notice_id": "S"}
    assert "GlobalSecondaryIndexes" not in table


@pytest.mark.parametrize("name", ["NoticesTable", "JobsTable"])
def test_a_table_is_kept_safe(name: str) -> None:
    """A table is billed on demand, restores to a point in time, is encrypted, and forgets in time; that of the notices streams new images."""
    table = of_type("AWS::DynamoDB::Table")[name]
    assert table.get("StreamSpecification") == ({"StreamViewType": "NEW_IMAGE"} if name == "NoticesTable" else None)
    assert table["BillingMode"] == "PAY_PER_REQUEST"
    assert table["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    assert table["SSESpecification"] == {"SSEEnabled": True}
    assert table["TimeToLiveSpecification"] == {"AttributeName": "expires_at", "Enabled": True}


def test_all_functions_tell_one_story() -> None:
    """Every function writes JSON lines of the application alone into the one log group: no START, END or REPORT between them."""
    functions = of_type("AWS::Lambda::Function")
    assert set(functions) == set(FUNCTIONS)
    for function in functions.values():
        assert resolved(function["LoggingConfig"]) == {
            "LogGroup": "/aws/events/spotinterruptions",
            "LogFormat": "JSON",
            "ApplicationLogLevel": "INFO",
            "SystemLogLevel": "WARN",
        }


class _Read(dict[str, Any]):
    """An item that notes which of its attributes were looked at."""

    def __init__(self, names: set[str], **attributes: Any) -> None:
        super().__init__(attributes)
        self._names = names

    def __getitem__(self, name: str) -> Any:
        self._names.add(name)
        return super().__getitem__(name)

    def __contains__(self, name: object) -> bool:
        self._names.add(str(name))
        return super().__contains__(name)


class _Answering:
    """A client for DynamoDB and Step Functions whose one answer has this item."""

    def __init__(self, item: _Read) -> None:
        self._item = item
        self.asked: dict[str, Any] = {}

    def query(self, **parameters: Any) -> dict[str, Any]:
        self.asked = parameters
        return {"Items": [self._item]}

    def send_task_success(self, **_parameters: Any) -> None:
        pass


def test_the_index_has_what_is_read_from_it() -> None:
    """An item of the index has each attribute that the function reads of one, and none besides."""
    names: set[str] = set()
    number = {"N": "1"}
    item = _Read(names, job_id={"S": "j"}, instance_id={"S": instance_id()}, attempt=number, job_status={"S": "running"}, token={"S": "t"})
    client = _Answering(item)
    jobs = StepFunctionsJobs(cast("DynamoDBClient", client), cast("SFNClient", client), "jobs")
    assert jobs.lost(InstanceEnded(instance_id(), "terminated", ACCOUNT, REGION, NOW)) is not None
    table = of_type("AWS::DynamoDB::Table")["JobsTable"]
    (index,) = table["GlobalSecondaryIndexes"]
    keys = {key["AttributeName"] for key in (*table["KeySchema"], *index["KeySchema"])}
    assert names == keys | set(index["Projection"]["NonKeyAttributes"])
    assert client.asked["IndexName"] == index["IndexName"] == BY_INSTANCE


def test_everything_is_kept_as_long_as_the_parameter_says() -> None:
    """Lines, notices, the archive that a replay reads, and records of jobs go by one parameter, as the operating guide promises."""
    given = {**WITH_JOB, "RetentionDays": 7}
    (archive,) = of_type("AWS::Events::Archive").values()
    (group,) = of_type("AWS::Logs::LogGroup").values()
    variables = [function["Environment"]["Variables"] for function in of_type("AWS::Lambda::Function").values()]
    machines = [machine["DefinitionSubstitutions"] for machine in of_type("AWS::StepFunctions::StateMachine").values()]
    kept = [archive["RetentionDays"], group["RetentionInDays"]]
    kept += [one["RETENTION_DAYS"] for one in variables] + [one["RetentionDays"] for one in machines]
    assert [resolved(days, given) for days in kept] == [7] * len(kept)


def test_the_log_group_forgets_in_time() -> None:
    """The log group is the parameter's, and keeps its lines as long as the parameter says."""
    (group,) = of_type("AWS::Logs::LogGroup").values()
    assert resolved(group, {"LogGroupName": "/else", "RetentionDays": 7}) == {"LogGroupName": "/else", "RetentionInDays": 7}


def test_functions_run_on_python_313_without_alias() -> None:
    """There is no alias and no version: with a shared layer, an alias would keep old code on a layer-only change."""
    types = {resource["Type"] for resource in RESOURCES.values()}
    assert not types & {"AWS::Lambda::Alias", "AWS::Lambda::Version"}
    assert "AutoPublishAlias" not in str(WRITTEN)
    assert {function["Runtime"] for function in of_type("AWS::Lambda::Function").values()} == {"python3.13"}


def test_only_new_notices_come_in_one_batch() -> None:
    """The stream brings INSERTs alone, as many as one describe takes, and hears which of them are to come again."""
    (mapping,) = of_type("AWS::Lambda::EventSourceMapping").values()
    assert [json.loads(one["Pattern"]) for one in mapping["FilterCriteria"]["Filters"]] == [{"eventName": ["INSERT"]}]
    assert mapping["BatchSize"] == 1000
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert mapping["BisectBatchOnFunctionError"] is True
    assert mapping["StartingPosition"] == "TRIM_HORIZON"
    assert resolved(mapping["MaximumBatchingWindowInSeconds"]) == PARAMETERS["BatchingWindowSeconds"]["Default"] == 1


def test_one_keys_notices_are_not_divided() -> None:
    """A stream shard is answered one batch at a time, however many shares there are: Lambda would keep together the records of one item only.

    Lambda Developer Guide, "Polling and batching streams": with a parallelization factor, order is kept at the item (partition and sort key) level.
    """
    (mapping,) = of_type("AWS::Lambda::EventSourceMapping").values()
    assert "ParallelizationFactor" not in mapping
    told = [function["Environment"]["Variables"]["SHARDS"] for function in of_type("AWS::Lambda::Function").values()]
    assert [resolved(value, {"Shards": 2}) for value in told] == [2] * len(told)


def test_the_streams_limits_are_lambdas() -> None:
    """Batch, window, age and retries are in the ranges that Lambda allows ("CreateEventSourceMapping")."""
    (mapping,) = of_type("AWS::Lambda::EventSourceMapping").values()
    window = PARAMETERS["BatchingWindowSeconds"]
    assert 0 <= window["MinValue"] <= window["Default"] <= window["MaxValue"] <= 300
    assert 1 <= mapping["BatchSize"] <= 10_000
    assert 60 <= mapping["MaximumRecordAgeInSeconds"] <= 604_800
    assert 0 < mapping["MaximumRetryAttempts"] <= 10_000


def test_asynchronous_invocations_are_not_lost() -> None:
    """Every function that EventBridge invokes is tried again and ends in the dead letters; limits as Lambda allows."""
    configs = {resolved(one["FunctionName"]): one for one in of_type("AWS::Lambda::EventInvokeConfig").values()}
    assert set(configs) == {"RecordNotice", "RecordCheckpoint", "RecordInstanceState"}
    for config in configs.values():
        assert 60 <= config["MaximumEventAgeInSeconds"] <= 21_600
        assert config["MaximumRetryAttempts"] == 2
        assert resolved(config["DestinationConfig"]) == {"OnFailure": {"Destination": "DeadLetters.Arn"}}


def test_a_batch_that_fails_is_not_lost() -> None:
    """What the stream could not bring, after its retries, lies in the dead letters."""
    (mapping,) = of_type("AWS::Lambda::EventSourceMapping").values()
    assert resolved(mapping["DestinationConfig"]) == {"OnFailure": {"Destination": "DeadLetters.Arn"}}


def test_a_batch_outlives_the_one_ahead() -> None:
    """A batch may wait until the one ahead has had all its tries, and has all its own then; a stream keeps it for a day at most."""
    (mapping,) = of_type("AWS::Lambda::EventSourceMapping").values()
    tries = (1 + mapping["MaximumRetryAttempts"]) * of_type("AWS::Lambda::Function")[resolved(mapping["FunctionName"])]["Timeout"]
    assert 2 * tries <= mapping["MaximumRecordAgeInSeconds"] <= DAY


TARGETS = [pytest.param(target, id=f"{name}-{target['Id']}") for name, rule in rules().items() for target in rule["Targets"]]


@pytest.mark.parametrize("target", TARGETS)
def test_undelivered_events_are_not_lost(target: dict[str, Any]) -> None:
    """EventBridge sits out with each event what Lambda sits out with one, and puts it into the dead letters then, whatever its target is.

    Tries may be at least as dense as EventBridge's own, 185 in 24 hours ("How EventBridge retries delivering events"): else these run out first.
    """
    assert target["DeadLetterConfig"] == {"Arn": "DeadLetters.Arn"}
    age, tries = target["RetryPolicy"]["MaximumEventAgeInSeconds"], target["RetryPolicy"]["MaximumRetryAttempts"]
    assert max(config["MaximumEventAgeInSeconds"] for config in of_type("AWS::Lambda::EventInvokeConfig").values()) <= age <= DAY
    assert 185 * age / DAY <= tries <= 185


def test_the_dead_letters_take_what_every_rule_sends() -> None:
    """The queue's policy names each rule that has it as its dead-letter queue, and no other."""
    (policy,) = of_type("AWS::SQS::QueuePolicy").values()
    document = resolved(policy["PolicyDocument"], {"NotificationEmail": "ops@example.com", "SubnetIds": "subnet-00000000"})
    (allowed,) = [statement for statement in document["Statement"] if statement["Effect"] == "Allow"]
    senders = {f"{name}.Arn" for name, rule in rules().items() if any("DeadLetterConfig" in target for target in rule["Targets"])}
    assert set(allowed["Condition"]["ArnEquals"]["aws:SourceArn"]) == senders
    assert allowed["Principal"] == {"Service": "events.amazonaws.com"}


def test_dead_letters_are_encrypted_and_kept() -> None:
    """Dead letters are kept as long as SQS keeps anything, encrypted, and travel over TLS only."""
    (queue,) = of_type("AWS::SQS::Queue").values()
    assert (queue["MessageRetentionPeriod"], queue["SqsManagedSseEnabled"]) == (1_209_600, True)
    (policy,) = of_type("AWS::SQS::QueuePolicy").values()
    assert any(statement["Effect"] == "Deny" and "aws:SecureTransport" in str(statement) for statement in policy["PolicyDocument"]["Statement"])


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_has_time(name: str) -> None:
    """A function may run for as long as Lambda allows; the one that has notices to answer, for longer than a notice has time."""
    timeout = of_type("AWS::Lambda::Function")[name]["Timeout"]
    assert (120 if name == "RespondToNotices" else 10) < timeout <= 900


def test_a_failed_invocation_leaves_time_for_another() -> None:
    """An event may wait for a try until its function has had all of them."""
    for config in of_type("AWS::Lambda::EventInvokeConfig").values():
        function = of_type("AWS::Lambda::Function")[resolved(config["FunctionName"])]
        # Lambda waits one minute before the first retry and two before the second ("Asynchronous invocation").
        assert config["MaximumEventAgeInSeconds"] > 3 * function["Timeout"] + 180


def test_the_notification_is_optional() -> None:
    """Without an address there is neither topic nor key nor rule; with one, all of them, and the alarms tell it."""
    for name in ("Notifications", "NotificationKey", "NotificationsPolicy", "NotifyAtReceipt"):
        assert RESOURCES[name]["Condition"] == "HasNotification"
    for alarm in of_type("AWS::CloudWatch::Alarm").values():
        assert resolved(alarm["AlarmActions"]) == []
        assert resolved(alarm["AlarmActions"], {"NotificationEmail": "me@example.com"}) == ["Notifications"]


def test_the_template_is_deployable() -> None:
    """The template is under CloudFormation's limits for templates in S3: 1 MB, 500 resources, 200 outputs."""
    assert TEMPLATE.stat().st_size < 1_000_000
    assert len(RESOURCES) < 500
    assert len(TRANSLATED["Outputs"]) < 200


def test_outputs_are_described() -> None:
    """Every output says what it is."""
    for name, output in WRITTEN["Outputs"].items():
        assert len(output["Description"]) > 10, name
