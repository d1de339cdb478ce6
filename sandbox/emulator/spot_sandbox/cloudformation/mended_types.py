"""Resource types that LocalStack has but cannot update, or of which it leaves out properties.

LocalStack answers an update it does not know with success and changes nothing. Here an update is carried out, and for
a type where it cannot be, the deployment fails (`spot_sandbox.cloudformation.support`).
"""

import json
import uuid
from typing import Any, ClassVar, override

from localstack.services.cloudformation.resource_provider import OperationStatus, ResourceProvider
from localstack.services.cloudwatch.resource_providers.aws_cloudwatch_alarm import CloudWatchAlarmProvider
from localstack.services.dynamodb.resource_providers.aws_dynamodb_table import DynamoDBTableProvider
from localstack.services.events.resource_providers.aws_events_rule import EventsRuleProvider
from localstack.services.iam.resource_providers.aws_iam_instanceprofile import IAMInstanceProfileProvider
from localstack.services.kms.resource_providers.aws_kms_key import KMSKeyProvider
from localstack.services.lambda_.resource_providers.aws_lambda_eventinvokeconfig import (
    LambdaEventInvokeConfigProvider,
)
from localstack.services.s3.resource_providers.aws_s3_bucket import S3BucketProvider
from localstack.services.s3.resource_providers.aws_s3_bucketpolicy import S3BucketPolicyProvider
from localstack.services.sns.resource_providers.aws_sns_topicpolicy import SNSTopicPolicyProvider
from localstack.services.sqs.resource_providers.aws_sqs_queuepolicy import SQSQueuePolicyProvider

from spot_sandbox.cloudformation.api_resource import ApiResource, Event, Model, Request, call, generated_name, succeeded


class _PutAgain(ResourceProvider[Model]):
    """For types made by a call that replaces what is there: an update is the same call under the same name."""

    kept: ClassVar[tuple[str, ...]]
    """Properties that the first call has given: generated names and identifiers."""

    @override
    def update(self, request: Request) -> Event:
        previous = request.previous_state or {}
        carried = {name: previous[name] for name in self.kept if name in previous}
        request.desired_state = {**carried, **request.desired_state}
        event = self.create(request)
        if event.resource_model is not None:
            event.resource_model.update(carried)
        return event


class CloudWatchAlarm(_PutAgain, CloudWatchAlarmProvider):
    """``AWS::CloudWatch::Alarm``."""

    kept = ("AlarmName",)


class LambdaEventInvokeConfig(_PutAgain, LambdaEventInvokeConfigProvider):
    """``AWS::Lambda::EventInvokeConfig``."""

    kept = ("Id",)

    @override
    def create(self, request: Request) -> Event:
        request.desired_state.pop("Id", None)  # LocalStack hands every property on to the API
        return super().create(request)


class SqsQueuePolicy(_PutAgain, SQSQueuePolicyProvider):
    """``AWS::SQS::QueuePolicy``."""

    kept = ("Id",)


class SnsTopicPolicy(_PutAgain, SNSTopicPolicyProvider):
    """``AWS::SNS::TopicPolicy``."""

    kept = ("Id",)


class S3BucketPolicy(_PutAgain, S3BucketPolicyProvider):
    """``AWS::S3::BucketPolicy``."""

    kept = ("Id",)


class EventsRule(_PutAgain, EventsRuleProvider):
    """``AWS::Events::Rule``; targets that are no longer named are removed."""

    kept = ()

    @override
    def update(self, request: Request) -> Event:
        previous = request.previous_state or {}
        name = previous["Id"].rsplit("|", maxsplit=1)[-1]
        request.desired_state.setdefault("Name", name)
        wanted = {target["Id"] for target in request.desired_state.get("Targets") or []}
        gone = [target["Id"] for target in previous.get("Targets") or [] if target["Id"] not in wanted]
        if gone:
            bus = previous.get("EventBusName", "default")
            request.aws_client_factory.events.remove_targets(Rule=name, EventBusName=bus, Ids=gone)
        return super().update(request)


class LogsLogGroup(ApiResource):
    """``AWS::Logs::LogGroup``, with its retention and key."""

    service = "logs"
    SCHEMA: ClassVar[dict[str, Any]] = {
        "typeName": "AWS::Logs::LogGroup",
        "properties": {},
        "primaryIdentifier": ["/properties/LogGroupName"],
        "createOnlyProperties": ["/properties/LogGroupName"],
        "readOnlyProperties": ["/properties/Arn"],
    }

    @override
    def make(self, client: Any, model: Model, request: Request) -> None:
        model.setdefault("LogGroupName", generated_name(request))
        name = model["LogGroupName"]
        tags = {tag["Key"]: tag["Value"] for tag in model.get("Tags", [])}
        client.create_log_group(**call(client, "CreateLogGroup", model | {"tags": None}), **({"tags": tags} if tags else {}))
        arn = next(group["arn"] for group in client.describe_log_groups(logGroupNamePrefix=name)["logGroups"] if group["logGroupName"] == name)
        model["Arn"] = arn if arn.endswith(":*") else f"{arn}:*"
        self._set_retention(client, model)

    @override
    def change(self, client: Any, model: Model, previous: Model) -> None:
        if model.get("RetentionInDays") != previous.get("RetentionInDays"):
            self._set_retention(client, model)
        if model.get("KmsKeyId") and model.get("KmsKeyId") != previous.get("KmsKeyId"):
            client.associate_kms_key(logGroupName=model["LogGroupName"], kmsKeyId=model["KmsKeyId"])

    @override
    def remove(self, client: Any, model: Model) -> None:
        client.delete_log_group(logGroupName=model["LogGroupName"])

    @staticmethod
    def _set_retention(client: Any, model: Model) -> None:
        if model.get("RetentionInDays"):
            days = int(model["RetentionInDays"])
            client.put_retention_policy(logGroupName=model["LogGroupName"], retentionInDays=days)
        else:
            client.delete_retention_policy(logGroupName=model["LogGroupName"])


class DynamoDbTable(DynamoDBTableProvider):
    """``AWS::DynamoDB::Table``, with point-in-time recovery, deletion protection and updates of both, TTL and billing."""

    @override
    def create(self, request: Request) -> Event:
        event = super().create(request)
        if event.status is OperationStatus.SUCCESS and event.resource_model is not None:
            _set_recovery(request.aws_client_factory.dynamodb, event.resource_model)
            _set_protection(request.aws_client_factory.dynamodb, event.resource_model)
        return event

    @override
    def update(self, request: Request) -> Event:
        previous = request.previous_state or {}
        kept = {name: previous[name] for name in ("TableName", "Arn", "StreamArn") if name in previous}
        model = {**kept, **request.desired_state}
        client = request.aws_client_factory.dynamodb
        _refuse_changes(model, previous, ("GlobalSecondaryIndexes", "LocalSecondaryIndexes", "KeySchema"))
        _set_recovery(client, model)
        _set_protection(client, model)
        if model.get("TimeToLiveSpecification") != previous.get("TimeToLiveSpecification"):
            ttl = model.get("TimeToLiveSpecification") or {**previous["TimeToLiveSpecification"], "Enabled": False}
            client.update_time_to_live(**call(client, "UpdateTimeToLive", model | {"TimeToLiveSpecification": ttl}))
        billing = {name: model[name] for name in ("BillingMode", "ProvisionedThroughput") if model.get(name)}
        if any(previous.get(name) != value for name, value in billing.items()):
            client.update_table(**call(client, "UpdateTable", {"TableName": model["TableName"], **billing}))
        self._change_stream(client, model, previous)
        return succeeded(model)

    @staticmethod
    def _change_stream(client: Any, model: Model, previous: Model) -> None:
        if model.get("StreamSpecification") == previous.get("StreamSpecification"):
            return
        enabled = bool(model.get("StreamSpecification"))
        specification = {**(model.get("StreamSpecification") or {}), "StreamEnabled": enabled}
        client.update_table(TableName=model["TableName"], StreamSpecification=specification)
        if enabled:
            model["StreamArn"] = client.describe_table(TableName=model["TableName"])["Table"]["LatestStreamArn"]


class S3Bucket(S3BucketProvider):
    """``AWS::S3::Bucket``, with encryption, public access block, lifecycle and ownership."""

    @override
    def create(self, request: Request) -> Event:
        event = super().create(request)
        if event.resource_model is not None:
            _configure_bucket(request.aws_client_factory.s3, event.resource_model)
        return event

    @override
    def update(self, request: Request) -> Event:
        model = {**(request.previous_state or {}), **request.desired_state}
        client = request.aws_client_factory.s3
        _configure_bucket(client, model)
        if model.get("VersioningConfiguration"):
            client.put_bucket_versioning(Bucket=model["BucketName"], VersioningConfiguration=model["VersioningConfiguration"])
        return succeeded(model)


class KmsKey(KMSKeyProvider):
    """``AWS::KMS::Key``."""

    @override
    def update(self, request: Request) -> Event:
        previous = request.previous_state or {}
        model = {"KeyId": previous["KeyId"], "Arn": previous["Arn"], **request.desired_state}
        client = request.aws_client_factory.kms
        _refuse_changes(model, previous, ("KeySpec", "KeyUsage"))
        if model.get("KeyPolicy"):
            client.put_key_policy(KeyId=model["KeyId"], PolicyName="default", Policy=json.dumps(model["KeyPolicy"]))
        client.update_key_description(KeyId=model["KeyId"], Description=model.get("Description", ""))
        rotate = client.enable_key_rotation if model.get("EnableKeyRotation") else client.disable_key_rotation
        rotate(KeyId=model["KeyId"])
        return succeeded(model)


class IamInstanceProfile(IAMInstanceProfileProvider):
    """``AWS::IAM::InstanceProfile``."""

    @override
    def update(self, request: Request) -> Event:
        previous = request.previous_state or {}
        model = {**previous, **request.desired_state}
        client = request.aws_client_factory.iam
        name = model["InstanceProfileName"]
        for role in set(previous.get("Roles", [])) - set(model["Roles"]):
            client.remove_role_from_instance_profile(InstanceProfileName=name, RoleName=role)
        for role in set(model["Roles"]) - set(previous.get("Roles", [])):
            client.add_role_to_instance_profile(InstanceProfileName=name, RoleName=role)
        return succeeded(model)


def _refuse_changes(model: Model, previous: Model, names: tuple[str, ...]) -> None:
    changed = [name for name in names if model.get(name) != previous.get(name)]
    if changed:
        msg = f"The sandbox cannot change {', '.join(changed)} in place"
        raise ValueError(msg)


def _set_recovery(client: Any, model: Model) -> None:
    specification = model.get("PointInTimeRecoverySpecification")
    if specification:
        client.update_continuous_backups(**call(client, "UpdateContinuousBackups", model))


def _set_protection(client: Any, model: Model) -> None:
    if "DeletionProtectionEnabled" in model:
        arguments = {name: model[name] for name in ("TableName", "DeletionProtectionEnabled")}
        client.update_table(**call(client, "UpdateTable", arguments))


def _configure_bucket(client: Any, model: Model) -> None:
    bucket = model["BucketName"]
    if rules := model.get("BucketEncryption", {}).get("ServerSideEncryptionConfiguration"):
        client.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": [_encryption_rule(rule) for rule in rules]})
    if blocked := model.get("PublicAccessBlockConfiguration"):
        client.put_public_access_block(**call(client, "PutPublicAccessBlock", {"Bucket": bucket, "PublicAccessBlockConfiguration": blocked}))
    if rules := model.get("LifecycleConfiguration", {}).get("Rules"):
        client.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": [_lifecycle_rule(rule) for rule in rules]})
    if controls := model.get("OwnershipControls"):
        client.put_bucket_ownership_controls(Bucket=bucket, OwnershipControls=controls)


def _encryption_rule(rule: Model) -> Model:
    return {
        "ApplyServerSideEncryptionByDefault": rule["ServerSideEncryptionByDefault"],
        "BucketKeyEnabled": str(rule.get("BucketKeyEnabled", False)).lower() == "true",
    }


def _lifecycle_rule(rule: Model) -> Model:
    """CloudFormation's flat rule as S3's nested one; the properties that this project uses."""
    converted: Model = {
        "ID": rule.get("Id") or uuid.uuid4().hex,
        "Status": rule["Status"],
        "Filter": {"Prefix": rule.get("Prefix", "")},
    }
    if "ExpirationInDays" in rule:
        converted["Expiration"] = {"Days": int(rule["ExpirationInDays"])}
    if "NoncurrentVersionExpiration" in rule:
        days = int(rule["NoncurrentVersionExpiration"]["NoncurrentDays"])
        converted["NoncurrentVersionExpiration"] = {"NoncurrentDays": days}
    if "AbortIncompleteMultipartUpload" in rule:
        days = int(rule["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"])
        converted["AbortIncompleteMultipartUpload"] = {"DaysAfterInitiation": days}
    return converted
