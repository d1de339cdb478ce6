"""Whatever can be encrypted is, at rest and on the way, and nothing is public."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.rights.policies import Request, applying, is_allowed, listed
from tests.rights.roles import KNOWN, WHOLE, resource_policies
from tests.template.stack import RESOURCES, of_type, resolved

if TYPE_CHECKING:
    from collections.abc import Mapping

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


QUEUE, TOPIC, BUCKET = KNOWN["DeadLetters.Arn"], KNOWN["Notifications"], KNOWN["JobBucket.Arn"]


@pytest.mark.parametrize(
    ("policy", "kind", "requests"),
    [
        ("DeadLettersPolicy", "AWS::SQS::Queue", {"sqs:SendMessage": QUEUE, "sqs:ReceiveMessage": QUEUE, "sqs:DeleteMessage": QUEUE}),
        ("NotificationsPolicy", "AWS::SNS::Topic", {"sns:Publish": TOPIC}),
        (
            "JobBucketPolicy",
            "AWS::S3::Bucket",
            {"s3:ListBucket": BUCKET, "s3:GetObject": f"{BUCKET}/jobs/a/1.tar", "s3:PutObject": f"{BUCKET}/jobs/a/1.tar"},
        ),
    ],
)
def test_nobody_comes_without_tls(policy: str, kind: str, requests: dict[str, str]) -> None:
    """Queue, topic and bucket, with what is in it, deny everything that comes without TLS, to everybody; there is one policy for each of the kind."""
    (denial,) = [statement for statement in resource_policies()[policy] if statement["Effect"] == "Deny"]
    assert denial["Principal"] == "*"
    assert denial["Condition"] == {"Bool": {"aws:SecureTransport": False}}
    for action, resource in requests.items():
        assert applying([_without_principal(denial)], Request(action, resource, {"aws:SecureTransport": ["false"]})), action
    assert len(of_type(kind)) == 1


def _without_principal(statement: Mapping[str, Any]) -> dict[str, Any]:
    """Return a resource's statement as the evaluator takes it: whom it is about, the test has looked at."""
    return {name: value for name, value in statement.items() if name != "Principal"}


FOR_ANY_ACCOUNT = {
    ("NotificationsPolicy", "events.amazonaws.com"): "EventBridge takes no condition in a topic's policy (EventBridge User Guide, "
    '"Resource-based policies: Amazon SNS")',
    ("NotificationKey", "events.amazonaws.com"): 'EventBridge names no source where it uses a topic\'s key (SNS Developer Guide, "Key management")',
}
"""The services that are let in for whomever they work, with the reason."""
FOR_A_SERVICE = [
    (policy, statement["Principal"]["Service"], _without_principal(statement))
    for policy, statements in resource_policies().items()
    for statement in statements
    if statement["Effect"] == "Allow" and "Service" in statement["Principal"]
]


@pytest.mark.parametrize(("policy", "service", "statement"), FOR_A_SERVICE, ids=lambda value: value if isinstance(value, str) else "")
def test_a_service_comes_for_this_account_alone(policy: str, service: str, statement: dict[str, Any]) -> None:
    """Whoever lets a service in asks for whom it works, since it works for everybody ("The confused deputy problem", IAM User Guide)."""
    stranger = {"aws:SourceAccount": ["999999999999"], "aws:SourceArn": ["arn:aws:events:us-east-1:999999999999:rule/theirs"]}
    requests = [
        Request(action, resource, context)
        for action in listed(statement["Action"])
        for resource in listed(statement["Resource"])
        for context in (stranger, {})
    ]
    assert {is_allowed([statement], request) for request in requests} == {(policy, service) in FOR_ANY_ACCOUNT}


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
