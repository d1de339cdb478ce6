"""Whatever can be encrypted is, at rest and on the way, and nothing is public."""

from __future__ import annotations

from typing import Any

import pytest

from tests.rights.roles import WHOLE, resource_policies
from tests.template.stack import RESOURCES, of_type, resolved

STORES = {"AWS::DynamoDB::Table", "AWS::EC2::LaunchTemplate", "AWS::Logs::LogGroup", "AWS::S3::Bucket", "AWS::SNS::Topic", "AWS::SQS::Queue"}
"""The types that keep data and say how."""
KEEPS_NOTHING_OF_ITS_OWN = {
    "AWS::Events::Archive", "AWS::Lambda::Function", "AWS::Lambda::LayerVersion", "AWS::StepFunctions::StateMachine",
}  # fmt: skip
"""The types whose data AWS encrypts with keys of its own, without being asked: their own pages on "Data encryption at rest"."""
DESCRIBES = {
    "AWS::CloudWatch::Alarm", "AWS::CloudWatch::Dashboard", "AWS::EC2::Instance", "AWS::Events::Rule", "AWS::FIS::ExperimentTemplate",
    "AWS::IAM::InstanceProfile", "AWS::IAM::ManagedPolicy", "AWS::IAM::Policy", "AWS::IAM::Role", "AWS::KMS::Key",
    "AWS::Lambda::EventInvokeConfig", "AWS::Lambda::EventSourceMapping", "AWS::Lambda::Permission", "AWS::Logs::MetricFilter",
    "AWS::Logs::QueryDefinition", "AWS::S3::BucketPolicy", "AWS::SNS::TopicPolicy", "AWS::SQS::QueuePolicy", "AWS::SSM::Document",
}  # fmt: skip
"""The types that keep no data."""
KEY = "arn:aws:kms:us-east-1:123456789012:key/12345678-1234-1234-1234-123456789012"


def the(kind: str, parameters: dict[str, Any] = WHOLE) -> dict[str, Any]:
    """Return the properties of the one resource of a type."""
    (properties,) = of_type(kind).values()
    found: dict[str, Any] = resolved(properties, parameters)
    return found


def launched() -> dict[str, Any]:
    """Return what an instance is launched with, as it is written."""
    (template,) = of_type("AWS::EC2::LaunchTemplate").values()
    data: dict[str, Any] = template["LaunchTemplateData"]
    return data


def test_every_type_was_looked_at() -> None:
    """A type that is new in the template is put where it belongs before it goes anywhere."""
    assert {resource["Type"] for resource in RESOURCES.values()} <= STORES | KEEPS_NOTHING_OF_ITS_OWN | DESCRIBES


def test_tables_queue_topic_and_volumes() -> None:
    """Tables, queue, topic and root volume are encrypted; the topic's key, which is the stack's own, is renewed."""
    assert [table["SSESpecification"] for table in of_type("AWS::DynamoDB::Table").values()] == [{"SSEEnabled": True}] * 2
    assert the("AWS::SQS::Queue")["SqsManagedSseEnabled"] is True
    assert the("AWS::SNS::Topic")["KmsMasterKeyId"] == "NotificationKey"
    assert the("AWS::KMS::Key")["EnableKeyRotation"] is True
    (volume,) = launched()["BlockDeviceMappings"]
    assert volume["Ebs"]["Encrypted"] is True


def test_the_bucket_is_private() -> None:
    """The bucket is encrypted, nobody can make it public, and access lists are off."""
    bucket = the("AWS::S3::Bucket")
    (rule,) = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert rule == {"ServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
    assert bucket["PublicAccessBlockConfiguration"] == dict.fromkeys(
        ("BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets"), True
    )
    assert bucket["OwnershipControls"] == {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}


def test_the_log_group_takes_a_key() -> None:
    """Where a key is given, the log group has it; else the property is not there at all."""
    assert the("AWS::Logs::LogGroup", {"LogGroupKeyArn": KEY})["KmsKeyId"] == KEY
    assert "KmsKeyId" not in the("AWS::Logs::LogGroup")


@pytest.mark.parametrize(
    ("policy", "kind"),
    [("DeadLettersPolicy", "AWS::SQS::Queue"), ("NotificationsPolicy", "AWS::SNS::Topic"), ("JobBucketPolicy", "AWS::S3::Bucket")],
)
def test_nobody_comes_without_tls(policy: str, kind: str) -> None:
    """Queue, topic and bucket deny everything that comes without TLS, to everybody; there is one policy for each of the kind."""
    (denial,) = [statement for statement in resource_policies()[policy] if statement["Effect"] == "Deny"]
    assert denial["Principal"] == "*"
    assert denial["Condition"] == {"Bool": {"aws:SecureTransport": False}}
    assert len(of_type(kind)) == 1


def test_nothing_is_public() -> None:
    """No policy lets everybody do anything, and nothing listens: no function has a URL, and the instances need no way in."""
    for statements in resource_policies().values():
        assert [statement for statement in statements if statement["Effect"] == "Allow" and statement["Principal"] in ("*", {"AWS": "*"})] == []
    doors = {"AWS::Lambda::Url", "AWS::EC2::SecurityGroup", "AWS::EC2::SecurityGroupIngress"}
    assert not doors & {resource["Type"] for resource in RESOURCES.values()}


def test_instances_take_no_key_and_tell_their_credentials_to_themselves_alone() -> None:
    """The metadata service wants a session (IMDSv2), answers no container behind a bridge, and there is no key for SSH."""
    data = launched()
    assert data["MetadataOptions"] == {"HttpTokens": "required", "HttpPutResponseHopLimit": 1, "InstanceMetadataTags": "enabled"}
    assert "KeyName" not in data
