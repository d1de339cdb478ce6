"""What the metadata service of an instance shows."""

import base64
import json
from datetime import timedelta

from spot_sandbox.ec2_metadata import entries, rebalance_entries, role_entries, tag_changes, warning_entries
from tests.sandbox.stage import PROFILE, START, instance


def test_identity() -> None:
    """The paths that an agent needs to find itself are there."""
    shown = entries(instance())
    assert shown["meta-data/instance-id"] == "i-0123456789abcdef0"
    assert shown["meta-data/placement/region"] == "us-east-1"
    assert shown["meta-data/placement/availability-zone"] == "us-east-1a"
    assert shown["meta-data/instance-life-cycle"] == "spot"
    assert shown["meta-data/instance-type"] == "m5.large"
    assert json.loads(shown["dynamic/instance-identity/document"])["accountId"] == "123456789012"


def test_on_demand_says_so() -> None:
    """The life cycle of an On-Demand Instance is on-demand."""
    assert entries(instance(spot=None))["meta-data/instance-life-cycle"] == "on-demand"


def test_no_warning_at_first() -> None:
    """Before a warning there is nothing under spot."""
    assert not [path for path in entries(instance()) if path.startswith("meta-data/spot")]


def test_tags_only_where_enabled() -> None:
    """Tags are shown only with InstanceMetadataTags=enabled."""
    assert "meta-data/tags/instance/Name" not in entries(instance())
    enabled = instance(metadata_options={"InstanceMetadataTags": "enabled"})
    assert entries(enabled)["meta-data/tags/instance/Name"] == "Fis/Spot"
    enabled.tags = {"Name": "new"}
    assert tag_changes(enabled, {"Name": "Fis/Spot", "old": "x"}) == {
        "meta-data/tags/instance/Name": "new",
        "meta-data/tags/instance/old": None,
    }


def test_user_data_is_plain() -> None:
    """IMDS shows user data decoded."""
    assert entries(instance(user_data=base64.b64encode(b"#!/bin/sh\n").decode()))["user-data"] == "#!/bin/sh\n"


def test_credentials_have_the_shape_that_sdks_read() -> None:
    """The role's credentials are JSON with the keys of EC2."""
    credentials = {"AccessKeyId": "ASIA", "SecretAccessKey": "s", "SessionToken": "t", "Expiration": START + timedelta(hours=6)}
    shown = json.loads(role_entries(PROFILE, "r", credentials, START)["meta-data/iam/security-credentials/r"] or "")
    assert shown == {
        "Code": "Success",
        "LastUpdated": "2026-11-22T10:00:00Z",
        "Type": "AWS-HMAC",
        "AccessKeyId": "ASIA",
        "SecretAccessKey": "s",
        "Token": "t",
        "Expiration": "2026-11-22T16:00:00Z",
    }


def test_termination_time_is_for_terminate_only() -> None:
    """spot/termination-time is not there for stop and hibernate."""
    assert len(warning_entries("terminate", START)) == 2
    assert list(warning_entries("stop", START)) == ["meta-data/spot/instance-action"]


def test_rebalance_has_its_notice_time() -> None:
    """The recommendation says when it was made."""
    assert rebalance_entries(START) == {"meta-data/events/recommendations/rebalance": '{"noticeTime": "2026-11-22T10:00:00Z"}'}
