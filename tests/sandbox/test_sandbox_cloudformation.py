"""CloudFormation of a running sandbox: every resource that the project deploys is made, changed in place and removed."""

from __future__ import annotations

import copy
import json
import uuid
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import WaiterError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Template = dict[str, Any]
type Clients = Callable[[str], Any]

TRUST = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"Service": "fis.amazonaws.com"}, "Action": "sts:AssumeRole"}]}


def document(command: str) -> dict[str, Any]:
    """An SSM document that runs a command."""
    step = {"action": "aws:runShellScript", "name": "run", "inputs": {"runCommand": [command]}}
    return {"schemaVersion": "2.2", "description": "test", "mainSteps": [step]}


class Stack:
    """A stack of a few resources, whose template the tests change."""

    def __init__(self, aws: Clients) -> None:
        self.aws = aws
        self._api = aws("cloudformation")
        self.name = f"s-{uuid.uuid4().hex[:8]}"
        self.template: Template = {"Resources": {}, "Outputs": {}}

    def deploy(self, **resources: dict[str, Any]) -> None:
        """Create or change the stack with these resources, ``name={"Type": ..., ...properties}``; outputs are their Refs."""
        for name, given in resources.items():
            properties = copy.deepcopy(given)
            self.template["Resources"][name] = {"Type": properties.pop("Type"), "Properties": properties}
            self.template["Outputs"][name] = {"Value": {"Ref": name}}
        kind = "UPDATE" if self._exists() else "CREATE"
        change_set = {"StackName": self.name, "ChangeSetName": f"c-{uuid.uuid4().hex[:8]}"}
        self._api.create_change_set(**change_set, ChangeSetType=kind, TemplateBody=json.dumps(self.template), Capabilities=["CAPABILITY_IAM"])
        made = self._api.describe_change_set(**change_set)
        if made["Status"] == "FAILED":
            raise ValueError(made["StatusReason"])
        self._api.execute_change_set(**change_set)
        self._api.get_waiter(f"stack_{kind.lower()}_complete").wait(StackName=self.name, WaiterConfig={"Delay": 1, "MaxAttempts": 60})

    def output(self, name: str) -> str:
        """An output."""
        outputs = self._api.describe_stacks(StackName=self.name)["Stacks"][0]["Outputs"]
        return next(str(output["OutputValue"]) for output in outputs if output["OutputKey"] == name)

    def delete(self) -> None:
        """Delete it and wait."""
        self._api.delete_stack(StackName=self.name)
        self._api.get_waiter("stack_delete_complete").wait(StackName=self.name, WaiterConfig={"Delay": 1, "MaxAttempts": 60})

    def _exists(self) -> bool:
        try:
            status: str = self._api.describe_stacks(StackName=self.name)["Stacks"][0]["StackStatus"]
        except self._api.exceptions.ClientError:
            return False
        return status != "REVIEW_IN_PROGRESS"


@pytest.fixture
def stack(aws: Clients) -> Iterator[Stack]:
    """An empty stack, deleted after the test."""
    made = Stack(aws)
    yield made
    made.delete()


def test_an_update_adds_and_removes_what_a_condition_makes(stack: Stack) -> None:
    """A parameter brings a bucket with its policy, and takes them away again; whoever names the bucket follows."""
    stack.template |= {
        "Parameters": {"With": {"Type": "String", "Default": "no"}},
        "Conditions": {"HasBucket": {"Fn::Equals": [{"Ref": "With"}, "yes"]}},
    }
    allow = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": {"Fn::GetAtt": ["Box", "Arn"]}}
    policy = {"Bucket": {"Ref": "Box"}, "PolicyDocument": {"Version": "2012-10-17", "Statement": [allow]}}
    stack.template["Resources"] = {
        "Box": {"Type": "AWS::S3::Bucket", "Condition": "HasBucket"},
        "BoxPolicy": {"Type": "AWS::S3::BucketPolicy", "Condition": "HasBucket", "Properties": policy},
    }
    named = {"Fn::If": ["HasBucket", {"Fn::GetAtt": ["Box", "Arn"]}, "none"]}
    stack.template["Resources"]["Named"] = {"Type": "AWS::SSM::Parameter", "Properties": {"Type": "String", "Value": named}}
    stack.template["Outputs"]["Named"] = {"Value": {"Ref": "Named"}}
    stack.deploy()
    for with_, expected in (("yes", "arn:aws:s3:::"), ("no", "none")):
        stack.template["Parameters"]["With"]["Default"] = with_
        stack.deploy()
        value = stack.aws("ssm").get_parameter(Name=stack.output("Named"))["Parameter"]["Value"]
        assert value.startswith(expected)


def test_an_unknown_type_fails_the_deployment(stack: Stack) -> None:
    """Nothing is deployed as a fallback."""
    with pytest.raises(ValueError, match="AWS::Nowhere::Thing"):
        stack.deploy(Thing={"Type": "AWS::Nowhere::Thing"})


def test_the_same_again_is_no_change(stack: Stack) -> None:
    """A second identical change set fails with CloudFormation's sentence, which SAM takes for "no changes"."""
    topic = {"Type": "AWS::SNS::Topic"}
    stack.template["Transform"] = "AWS::Serverless-2016-10-31"
    stack.deploy(Topic=topic)
    with pytest.raises(ValueError, match="didn't contain changes"):
        stack.deploy(Topic=topic)


def test_a_document_gets_a_new_default_version(stack: Stack) -> None:
    """With UpdateMethod NewVersion the name stays and the new content is the default version; Ref is the name."""
    ssm = stack.aws("ssm")
    given = {"Type": "AWS::SSM::Document", "DocumentType": "Command", "UpdateMethod": "NewVersion"}
    stack.deploy(Doc={**given, "Content": document("echo one")})
    name = stack.output("Doc")
    stack.deploy(Doc={**given, "Content": document("echo two")})
    assert stack.output("Doc") == name
    assert ssm.describe_document(Name=name)["Document"]["DefaultVersion"] == "2"
    assert "echo two" in ssm.get_document(Name=name)["Content"]


def test_a_log_group_keeps_its_retention(stack: Stack) -> None:
    """Retention is set, changed and taken away."""
    logs = stack.aws("logs")

    def retention() -> int | None:
        found: int | None = logs.describe_log_groups(logGroupNamePrefix=stack.output("Group"))["logGroups"][0].get("retentionInDays")
        return found

    stack.deploy(Group={"Type": "AWS::Logs::LogGroup", "RetentionInDays": 14})
    assert retention() == 14
    stack.deploy(Group={"Type": "AWS::Logs::LogGroup", "RetentionInDays": 30})
    assert retention() == 30
    stack.deploy(Group={"Type": "AWS::Logs::LogGroup", "KmsKeyId": "k"})
    assert retention() is None


def test_logs_have_filters_policies_and_queries(stack: Stack) -> None:
    """They are made, changed in place, and gone after the stack."""
    logs = stack.aws("logs")

    def resources(value: str, query: str) -> dict[str, dict[str, Any]]:
        transformation = {"MetricName": "M", "MetricNamespace": "N", "MetricValue": value, "Dimensions": [{"Key": "Kind", "Value": "$.kind"}]}
        return {
            "Group": {"Type": "AWS::Logs::LogGroup"},
            "Filter": {
                "Type": "AWS::Logs::MetricFilter",
                "LogGroupName": {"Ref": "Group"},
                "FilterPattern": "{ $.a = 1 }",
                "MetricTransformations": [transformation],
            },
            "Policy": {"Type": "AWS::Logs::ResourcePolicy", "PolicyName": stack.name, "PolicyDocument": "{}"},
            "Query": {"Type": "AWS::Logs::QueryDefinition", "Name": stack.name, "QueryString": query, "LogGroupNames": [{"Ref": "Group"}]},
        }

    stack.deploy(**resources("1", "fields a"))
    filter_name, query_id = stack.output("Filter"), stack.output("Query")
    stack.deploy(**resources("$.b", "fields b"))
    found = logs.describe_metric_filters(logGroupName=stack.output("Group"))["metricFilters"]
    assert [(one["filterName"], one["metricTransformations"][0]["metricValue"]) for one in found] == [(filter_name, "$.b")]
    assert found[0]["metricTransformations"][0]["dimensions"] == {"Kind": "$.kind"}
    saved = logs.describe_query_definitions(queryDefinitionNamePrefix=stack.name)["queryDefinitions"]
    assert [(query["queryDefinitionId"], query["queryString"]) for query in saved] == [(query_id, "fields b")]
    stack.delete()
    assert logs.describe_query_definitions(queryDefinitionNamePrefix=stack.name)["queryDefinitions"] == []
    assert stack.name not in [policy["policyName"] for policy in logs.describe_resource_policies()["resourcePolicies"]]


def test_an_experiment_template_is_changed_in_place(stack: Stack) -> None:
    """Ref is FIS's id, which an update keeps."""
    given = {
        "Type": "AWS::FIS::ExperimentTemplate",
        "Description": "one",
        "RoleArn": {"Fn::GetAtt": ["Role", "Arn"]},
        "StopConditions": [{"Source": "none"}],
        "Targets": {"Spot": {"ResourceType": "aws:ec2:spot-instance", "ResourceTags": {"Name": "Fis/Spot"}, "SelectionMode": "COUNT(1)"}},
        "Actions": {
            "Interrupt": {
                "ActionId": "aws:ec2:send-spot-instance-interruptions",
                "Parameters": {"durationBeforeInterruption": "PT2M"},
                "Targets": {"SpotInstances": "Spot"},
            }
        },
        "Tags": {"Name": "test"},
    }
    role = {"Type": "AWS::IAM::Role", "AssumeRolePolicyDocument": TRUST}
    stack.deploy(Role=role, Experiment=given)
    identifier = stack.output("Experiment")
    stack.deploy(Role=role, Experiment={**given, "Description": "two"})
    assert stack.output("Experiment") == identifier
    found = stack.aws("fis").get_experiment_template(id=identifier)["experimentTemplate"]
    assert (found["description"], found["tags"]["Name"]) == ("two", "test")


def test_a_launch_template_gets_a_version(stack: Stack) -> None:
    """An update makes version 2; GetAtt tells the latest and the default."""
    given = {"Type": "AWS::EC2::LaunchTemplate"}
    stack.template["Outputs"]["Versions"] = {"Value": {"Fn::Sub": "${Launch.LatestVersionNumber} ${Launch.DefaultVersionNumber}"}}
    stack.deploy(Launch={**given, "LaunchTemplateData": {"InstanceType": "t3.micro", "ImageId": "ami-12345678"}})
    assert stack.output("Versions") == "1 1"
    identifier = stack.output("Launch")
    stack.deploy(Launch={**given, "LaunchTemplateData": {"InstanceType": "t3.small", "ImageId": "ami-12345678"}})
    assert (stack.output("Launch"), stack.output("Versions")) == (identifier, "2 1")


def test_a_rule_changes_its_pattern_and_loses_a_target(stack: Stack) -> None:
    """An update of a rule is carried out."""
    events = stack.aws("events")
    target = {"Arn": {"Fn::GetAtt": ["Queue", "Arn"]}}

    def rule(source: str, *targets: str) -> dict[str, Any]:
        return {"Type": "AWS::Events::Rule", "EventPattern": {"source": [source]}, "Targets": [{**target, "Id": name} for name in targets]}

    stack.deploy(Queue={"Type": "AWS::SQS::Queue"}, Rule=rule("one", "a", "b"))
    name = stack.output("Rule")
    stack.deploy(Rule=rule("two", "b"))
    assert json.loads(events.describe_rule(Name=name)["EventPattern"]) == {"source": ["two"]}
    assert [found["Id"] for found in events.list_targets_by_rule(Rule=name)["Targets"]] == ["b"]


def test_archive_alarm_and_dashboard_are_changed_in_place(stack: Stack) -> None:
    """Retention, threshold and body change; the names stay."""

    def resources(number: int) -> dict[str, dict[str, Any]]:
        metric = {"Id": "m", "MetricStat": {"Metric": {"Namespace": "N", "MetricName": "M"}, "Period": 60, "Stat": "Sum"}, "ReturnData": False}
        return {
            "Archive": {
                "Type": "AWS::Events::Archive",
                "SourceArn": {"Fn::Sub": "arn:aws:events:${AWS::Region}:${AWS::AccountId}:event-bus/default"},
                "RetentionDays": number,
            },
            "Alarm": {
                "Type": "AWS::CloudWatch::Alarm",
                "ComparisonOperator": "GreaterThanThreshold",
                "EvaluationPeriods": 1,
                "Threshold": number,
                "Metrics": [metric, {"Id": "e", "Expression": "m * 2", "ReturnData": True}],
            },
            "Dashboard": {"Type": "AWS::CloudWatch::Dashboard", "DashboardBody": json.dumps({"widgets": [], "start": f"-PT{number}H"})},
        }

    stack.deploy(**resources(1))
    names = [stack.output(name) for name in ("Archive", "Alarm", "Dashboard")]
    stack.deploy(**resources(2))
    assert [stack.output(name) for name in ("Archive", "Alarm", "Dashboard")] == names
    assert stack.aws("events").describe_archive(ArchiveName=names[0])["RetentionDays"] == 2
    assert stack.aws("cloudwatch").describe_alarms(AlarmNames=[names[1]])["MetricAlarms"][0]["Threshold"] == 2
    assert "PT2H" in stack.aws("cloudwatch").get_dashboard(DashboardName=names[2])["DashboardBody"]


def test_a_table_has_recovery_and_expiry_and_changes_both(stack: Stack) -> None:
    """Point-in-time recovery and TTL are set, and changed without a new table."""
    api = stack.aws("dynamodb")

    def table(*, recovery: bool, attribute: str) -> dict[str, Any]:
        return {
            "Type": "AWS::DynamoDB::Table",
            "BillingMode": "PAY_PER_REQUEST",
            "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}],
            "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
            "PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": recovery},
            "TimeToLiveSpecification": {"AttributeName": attribute, "Enabled": True},
        }

    stack.deploy(Table=table(recovery=False, attribute="a"))
    name = stack.output("Table")
    stack.deploy(Table=table(recovery=True, attribute="b"))
    assert stack.output("Table") == name
    backups = api.describe_continuous_backups(TableName=name)["ContinuousBackupsDescription"]
    assert backups["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"] == "ENABLED"
    assert api.describe_time_to_live(TableName=name)["TimeToLiveDescription"]["AttributeName"] == "b"


def test_a_bucket_is_encrypted_and_closed(stack: Stack) -> None:
    """Encryption, public access block and lifecycle are set."""
    s3 = stack.aws("s3")
    closed = dict.fromkeys(("BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets"), True)
    stack.deploy(
        Bucket={
            "Type": "AWS::S3::Bucket",
            "BucketEncryption": {"ServerSideEncryptionConfiguration": [{"ServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]},
            "PublicAccessBlockConfiguration": closed,
            "LifecycleConfiguration": {"Rules": [{"Status": "Enabled", "ExpirationInDays": 7}]},
        }
    )
    bucket = stack.output("Bucket")
    assert s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"] == closed
    assert s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"][0]["Expiration"] == {"Days": 7}


def test_what_cannot_be_changed_in_place_fails_and_is_rolled_back(stack: Stack) -> None:
    """A change that the sandbox cannot make is not called done; what was added with it is gone, and the next update works."""
    given = {
        "Type": "AWS::DynamoDB::Table",
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}],
        "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
    }
    index = {"IndexName": "i", "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}], "Projection": {"ProjectionType": "ALL"}}
    stack.deploy(Table=given)
    with pytest.raises(WaiterError, match="UPDATE_ROLLBACK_COMPLETE"):
        stack.deploy(Group={"Type": "AWS::Logs::LogGroup", "LogGroupName": stack.name}, Table={**given, "GlobalSecondaryIndexes": [index]})
    assert stack.aws("logs").describe_log_groups(logGroupNamePrefix=stack.name)["logGroups"] == []
    stack.deploy(Table=given)
