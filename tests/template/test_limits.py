"""AWS's limits that a template can break without a checker that sees it: sizes and counts, each with its source."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.template.stack import RESOURCES, WITH_JOB, of_type, resolved, rules

LONG = {**WITH_JOB, "NotificationEmail": "operations@example.com"}


def _size(document: Any) -> int:
    """Characters of a policy without white space, as IAM counts them."""
    text = document if isinstance(document, str) else json.dumps(document)
    return len("".join(text.split()))


def _inline() -> dict[str, int]:
    """Return the size of all inline policies of each role, with those that are attached by resources of their own."""
    sizes = {name: sum(_size(resolved(policy, LONG)) for policy in role.get("Policies", [])) for name, role in of_type("AWS::IAM::Role").items()}
    for policy in of_type("AWS::IAM::Policy").values():
        for role in resolved(policy, LONG)["Roles"]:
            sizes[role] += _size(resolved(policy, LONG)["PolicyDocument"])
    return sizes


@pytest.mark.parametrize(("role", "size"), _inline().items())
def test_inline_policies(role: str, size: int) -> None:
    """A role's inline policies have at most 10,240 characters ("IAM and AWS STS quotas")."""
    assert size < 10_240, role


def test_managed_policies() -> None:
    """A managed policy has at most 6,144 characters, a role's trust policy 2,048 by default ("IAM and AWS STS quotas")."""
    for policy in of_type("AWS::IAM::ManagedPolicy").values():
        assert _size(resolved(policy["PolicyDocument"], LONG)) < 6_144
    for role in of_type("AWS::IAM::Role").values():
        assert _size(resolved(role["AssumeRolePolicyDocument"], LONG)) < 2_048


def test_user_data() -> None:
    """User data have at most 16 KB before they are encoded ("Instance user data", EC2 User Guide); names put in are at most 128 characters long."""
    (template,) = of_type("AWS::EC2::LaunchTemplate").values()
    written = template["LaunchTemplateData"]["UserData"]["Fn::Base64"]
    text, values = written["Fn::Sub"] if isinstance(written["Fn::Sub"], list) else (written["Fn::Sub"], {})
    names = re.findall(r"\$\{[^!}][^}]*\}", text)
    assert len(text) > 1_000
    assert len(text.encode()) + 128 * (len(names) + len(values)) < 16_384


def test_environments() -> None:
    """A function's variables have at most 4 KB together ("Lambda quotas")."""
    for function in of_type("AWS::Lambda::Function").values():
        variables = resolved(function.get("Environment", {}).get("Variables", {}), LONG)
        assert sum(len(f"{name}{value}".encode()) for name, value in variables.items()) < 4_096


def test_metric_filters() -> None:
    """A log group has at most 100 metric filters, each with at most 3 dimensions ("CloudWatch Logs quotas")."""
    filters = of_type("AWS::Logs::MetricFilter").values()
    assert len(filters) <= 100
    for one in filters:
        (transformation,) = one["MetricTransformations"]
        assert len(transformation.get("Dimensions", [])) <= 3


def test_rules() -> None:
    """A rule has at most 5 targets, its pattern 2,048 characters ("Amazon EventBridge quotas")."""
    for rule in rules().values():
        assert len(rule["Targets"]) <= 5
        assert _size(resolved(rule["EventPattern"], LONG)) < 2_048


def test_descriptions() -> None:
    """An alarm's description has at most 1,024 characters, all others' 256 or more (CreateFunction has the least; the API references)."""
    for name, resource in RESOURCES.items():
        described = resource.get("Properties", {}).get("AlarmDescription", resource.get("Properties", {}).get("Description", ""))
        limit = 1_024 if resource["Type"] == "AWS::CloudWatch::Alarm" else 256
        assert len(str(described)) <= limit, name


def test_dashboards() -> None:
    """A dashboard has at most 500 metrics and a body that PutDashboard takes as JSON ("CloudWatch quotas")."""
    for board in of_type("AWS::CloudWatch::Dashboard").values():
        body = json.loads(resolved(board["DashboardBody"], LONG))
        assert sum(len(widget["properties"].get("metrics", [])) for widget in body["widgets"]) <= 500
