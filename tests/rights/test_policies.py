"""The evaluator keeps IAM's rules, as the IAM User Guide states them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.rights.policies import Request, is_allowed

TABLE = "arn:aws:dynamodb:us-east-2:123456789012:table/Books"
ALLOW = {"Effect": "Allow", "Action": "dynamodb:*", "Resource": TABLE}


def allow(action: str = "*", resource: str = "*", **condition: Any) -> dict[str, Any]:
    """Return a statement that allows; the condition's operators by name."""
    return {"Effect": "Allow", "Action": action, "Resource": resource} | ({"Condition": condition} if condition else {})


def test_nothing_is_allowed_unless_a_statement_says_so() -> None:
    """By default, all requests are implicitly denied."""
    assert not is_allowed([], Request("dynamodb:GetItem", TABLE))
    assert is_allowed([ALLOW], Request("dynamodb:GetItem", TABLE))
    assert not is_allowed([ALLOW], Request("dynamodb:GetItem", TABLE + "2"))
    assert not is_allowed([ALLOW], Request("s3:GetObject", TABLE))


def test_a_denial_wins() -> None:
    """An explicit deny in any policy overrides any allows."""
    deny = {"Effect": "Deny", "Action": "dynamodb:DeleteItem", "Resource": "*"}
    assert not is_allowed([ALLOW, deny], Request("dynamodb:DeleteItem", TABLE))
    assert is_allowed([ALLOW, deny], Request("dynamodb:GetItem", TABLE))


@pytest.mark.parametrize(
    ("pattern", "resource", "expected"),
    [
        ("arn:aws:s3:::bucket/*", "arn:aws:s3:::bucket/a/b", True),
        ("arn:aws:s3:::bucket/*", "arn:aws:s3:::bucket", False),
        ("arn:aws:s3:::bucket/?", "arn:aws:s3:::bucket/ab", False),
        ("arn:aws:s3:::bucket/[a]", "arn:aws:s3:::bucket/a", False),
        ("arn:aws:s3:::Bucket/*", "arn:aws:s3:::bucket/a", False),
    ],
)
def test_wildcards_of_resources(pattern: str, resource: str, *, expected: bool) -> None:
    """A star is any characters, a question mark any one; nothing else is special, and case counts."""
    assert is_allowed([allow("s3:GetObject", pattern)], Request("s3:GetObject", resource)) is expected


def test_actions_do_not_depend_on_case() -> None:
    """The prefix and the action name are case insensitive ("Action" element)."""
    assert is_allowed([allow("IAM:ListAccessKeys")], Request("iam:listaccesskeys"))


def test_all_keys_must_hold_and_any_value() -> None:
    """Several keys of a condition are joined by AND, several values of one key by OR."""
    statement = allow(StringEquals={"aws:PrincipalTag/department": ["finance", "hr"], "aws:PrincipalTag/role": "audit"})
    both = {"aws:PrincipalTag/department": ["hr"], "aws:PrincipalTag/role": ["audit"]}
    assert is_allowed([statement], Request("s3:GetObject", context=both))
    assert not is_allowed([statement], Request("s3:GetObject", context=both | {"aws:PrincipalTag/role": ["other"]}))
    assert not is_allowed([statement], Request("s3:GetObject", context=both | {"aws:PrincipalTag/department": ["Hr"]}))


def test_a_missing_key_fails_but_for_if_exists() -> None:
    """A key that the request has not makes the condition false; with IfExists, true."""
    assert not is_allowed([allow(StringEquals={"ec2:InstanceType": "t1.micro"})], Request("ec2:RunInstances"))
    lenient = [allow(StringEqualsIfExists={"ec2:InstanceType": "t1.micro"})]
    assert is_allowed(lenient, Request("ec2:RunInstances"))
    assert not is_allowed(lenient, Request("ec2:RunInstances", context={"ec2:InstanceType": ["m5.large"]}))


def test_keys_do_not_depend_on_case() -> None:
    """Condition key names are not case-sensitive."""
    assert is_allowed([allow(StringEquals={"AWS:sourceaccount": "1"})], Request("sts:AssumeRole", context={"aws:SourceAccount": ["1"]}))


def test_for_all_values_wants_a_subset() -> None:
    """ForAllValues holds if every value of the request is in the policy, and if there is none ("Multivalued context keys")."""
    condition: dict[str, Any] = {"ForAllValues:StringEquals": {"dynamodb:Attributes": ["ID", "Message", "Tags"]}}
    statement = [allow("*", "*", **condition)]
    assert is_allowed(statement, Request("dynamodb:GetItem", context={"dynamodb:Attributes": ["ID", "Message"]}))
    assert not is_allowed(statement, Request("dynamodb:GetItem", context={"dynamodb:Attributes": ["ID", "UserName"]}))
    assert is_allowed(statement, Request("dynamodb:GetItem"))


def test_a_wildcard_in_an_arns_condition_ends_at_a_colon() -> None:
    """Each of the six colon-delimited components of the ARN is checked separately ("ARN condition operators")."""
    statement = [allow(ArnLike={"aws:SourceArn": "arn:aws:events:us-east-1:*:rule/mine-*"})]
    for source, expected in (("arn:aws:events:us-east-1:1:rule/mine-a", True), ("arn:aws:events:us-east-1:1:x:rule/mine-a", False), ("mine", False)):
        assert is_allowed(statement, Request("sqs:SendMessage", context={"aws:SourceArn": [source]})) is expected


def test_a_boolean_is_the_word() -> None:
    """``false`` of a policy, with quotes or without, is the request's word ``false``."""
    statement = [allow(Bool={"aws:SecureTransport": False})]
    assert is_allowed(statement, Request("s3:GetObject", context={"aws:SecureTransport": ["false"]}))
    assert not is_allowed(statement, Request("s3:GetObject", context={"aws:SecureTransport": ["true"]}))


@pytest.mark.parametrize(
    "statement",
    [
        {"Effect": "Allow", "NotAction": "iam:*", "Action": "*", "Resource": "*"},
        {"Effect": "Allow", "Action": "*", "Resource": "*", "NotResource": "x"},
        allow(DateLessThan={"aws:CurrentTime": "2030-01-01"}),
        allow(StringEquals={"aws:PrincipalTag/team": "${aws:username}"}),
    ],
)
def test_what_is_not_known_is_an_error(statement: dict[str, Any]) -> None:
    """An element, an operator or a variable that the evaluator does not know is never passed over."""
    with pytest.raises(NotImplementedError):
        is_allowed([statement], Request("s3:GetObject", context={"aws:PrincipalTag/team": ["a"]}))
