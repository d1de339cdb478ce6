"""What an instance's metadata service shows, as text by path. Pure.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-categories.html
"""

import base64
import json
from datetime import datetime
from typing import Any

from spot_sandbox.ec2_instances import Instance

type Json = dict[str, Any]


def entries(instance: Instance) -> dict[str, str]:
    """Return everything that `instance` shows from its start on."""
    data = {
        "ami-id": instance.spec.image_id,
        "ami-launch-index": str(instance.index),
        "hostname": instance.private_name,
        "instance-action": "none",
        "instance-id": instance.id,
        "instance-life-cycle": "spot" if instance.spec.spot else "on-demand",
        "instance-type": instance.spec.instance_type,
        "local-hostname": instance.private_name,
        "local-ipv4": instance.private_ip,
        "placement/availability-zone": instance.zone,
        "placement/region": instance.region,
        "reservation-id": instance.reservation_id,
        "security-groups": "\n".join(group["GroupName"] for group in instance.spec.groups),
        "services/domain": "amazonaws.com",
        "services/partition": "aws",
    }
    shown = {f"meta-data/{path}": text for path, text in data.items()} | tag_entries(instance)
    shown["dynamic/instance-identity/document"] = json.dumps(_identity(instance), indent=2)
    if instance.spec.user_data:
        shown["user-data"] = base64.b64decode(instance.spec.user_data).decode("utf-8", "replace")
    return shown


def tag_entries(instance: Instance) -> dict[str, str]:
    """Return the instance's tags as metadata, where its options say that it shows them."""
    if instance.spec.metadata_options.get("InstanceMetadataTags") != "enabled":
        return {}
    return {f"meta-data/tags/instance/{key}": value for key, value in instance.tags.items()}


def tag_changes(instance: Instance, before: dict[str, str]) -> dict[str, str | None]:
    """Return what changes in the metadata when the tags were `before` and are now those of `instance`."""
    now = tag_entries(instance)
    gone = {f"meta-data/tags/instance/{key}": None for key in before if key not in instance.tags}
    return {**gone, **now}


def _identity(instance: Instance) -> Json:
    return {
        "accountId": instance.account,
        "architecture": instance.architecture,
        "availabilityZone": instance.zone,
        "imageId": instance.spec.image_id,
        "instanceId": instance.id,
        "instanceType": instance.spec.instance_type,
        "pendingTime": stamp(instance.launched),
        "privateIp": instance.private_ip,
        "region": instance.region,
        "version": "2017-09-30",
    }


def role_entries(profile: Json, role: str, credentials: Json, now: datetime) -> dict[str, str | None]:
    """Return the instance profile and the credentials of its role, as STS gave them."""
    info = {
        "Code": "Success",
        "LastUpdated": stamp(now),
        "InstanceProfileArn": profile["Arn"],
        "InstanceProfileId": profile["Id"],
    }
    secret = {
        "Code": "Success",
        "LastUpdated": stamp(now),
        "Type": "AWS-HMAC",
        "AccessKeyId": credentials["AccessKeyId"],
        "SecretAccessKey": credentials["SecretAccessKey"],
        "Token": credentials["SessionToken"],
        "Expiration": stamp(credentials["Expiration"]),
    }
    return {
        "meta-data/iam/info": json.dumps(info, indent=2),
        f"meta-data/iam/security-credentials/{role}": json.dumps(secret, indent=2),
    }


def warning_entries(action: str, end: datetime) -> dict[str, str | None]:
    """Return what an interruption warning shows: the action and when it will be taken.

    ``spot/termination-time`` is there for terminate only. For hibernate, IMDS shows the action as for the others.
    """
    shown: dict[str, str | None] = {"meta-data/spot/instance-action": json.dumps({"action": action, "time": stamp(end)})}
    if action == "terminate":
        shown["meta-data/spot/termination-time"] = stamp(end)
    return shown


def rebalance_entries(now: datetime) -> dict[str, str | None]:
    """Return what a rebalance recommendation shows: when it was made."""
    return {"meta-data/events/recommendations/rebalance": json.dumps({"noticeTime": stamp(now)})}


CLEARED: dict[str, str | None] = {
    "meta-data/spot/instance-action": None,
    "meta-data/spot/termination-time": None,
    "meta-data/events/recommendations/rebalance": None,
}
"""What a stopped instance no longer shows when it starts again."""


def stamp(time: datetime) -> str:
    """Return a UTC time as IMDS writes it, in whole seconds."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")
