"""The filters of EC2's Describe calls. Pure.

A filter's values are alternatives, several filters must all hold; ``*`` and ``?`` are wildcards, a backslash takes their
meaning away. https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeInstances.html
"""

import re
from collections.abc import Callable, Iterable
from typing import Any

from spot_sandbox.api_errors import ApiError
from spot_sandbox.ec2_instances import STATE_CODES, Instance, SpotRequest

type Json = dict[str, Any]
type Values = Callable[[Any], Iterable[str | None]]

FILTER_VALUES_LIMIT = 200

INSTANCE_FILTERS: dict[str, Values] = {
    "affinity": lambda _: [],
    "capacity-reservation-id": lambda _: [],
    "dns-name": lambda _: [],
    "hibernation-options.configured": lambda _: ["false"],
    "host-id": lambda _: [],
    "hypervisor": lambda _: ["xen"],
    "ip-address": lambda _: [],
    "platform": lambda _: [],
    "product-code": lambda _: [],
    "requester-id": lambda _: [],
    "root-device-name": lambda _: ["/dev/xvda"],
    "root-device-type": lambda _: ["ebs"],
    "source-dest-check": lambda _: ["true"],
    "virtualization-type": lambda _: ["hvm"],
    "architecture": lambda i: [i.architecture],
    "availability-zone": lambda i: [i.zone],
    "client-token": lambda i: [i.client_token],
    "iam-instance-profile.arn": lambda i: [(i.spec.profile or {}).get("Arn")],
    "iam-instance-profile.id": lambda i: [(i.spec.profile or {}).get("Id")],
    "image-id": lambda i: [i.spec.image_id],
    "instance-id": lambda i: [i.id],
    "instance-lifecycle": lambda i: ["spot"] if i.spec.spot else [],
    "instance-state-code": lambda i: [str(STATE_CODES[i.state])],
    "instance-state-name": lambda i: [i.state],
    "instance-type": lambda i: [i.spec.instance_type],
    "instance.group-id": lambda i: [group["GroupId"] for group in i.spec.groups],
    "instance.group-name": lambda i: [group["GroupName"] for group in i.spec.groups],
    "key-name": lambda i: [i.spec.key_name],
    "launch-index": lambda i: [str(i.index)],
    "launch-time": lambda i: [i.launched.strftime("%Y-%m-%dT%H:%M:%S.000Z")],
    "metadata-options.http-tokens": lambda i: [i.spec.metadata_options.get("HttpTokens")],
    "metadata-options.http-endpoint": lambda i: [i.spec.metadata_options.get("HttpEndpoint")],
    "metadata-options.instance-metadata-tags": lambda i: [i.spec.metadata_options.get("InstanceMetadataTags")],
    "monitoring-state": lambda i: ["enabled" if i.spec.monitoring else "disabled"],
    "owner-id": lambda i: [i.account],
    "placement-group-name": lambda _: [],
    "platform-details": lambda _: ["Linux/UNIX"],
    "private-dns-name": lambda i: [i.private_name],
    "private-ip-address": lambda i: [i.private_ip],
    "reason": lambda i: [i.transition_reason],
    "reservation-id": lambda i: [i.reservation_id],
    "spot-instance-request-id": lambda i: [i.spot_request_id],
    "state-reason-code": lambda i: [i.state_reason],
    "subnet-id": lambda i: [i.spec.subnet.id],
    "tag-key": lambda i: i.tags,
    "tenancy": lambda _: ["default"],
    "vpc-id": lambda i: [i.spec.subnet.vpc_id],
}

SPOT_REQUEST_FILTERS: dict[str, Values] = {
    "availability-zone-group": lambda _: [],
    "create-time": lambda r: [r.created.strftime("%Y-%m-%dT%H:%M:%S.000Z")],
    "instance-id": lambda r: [r.instance_id],
    "launch.image-id": lambda r: [r.spec.image_id],
    "launch.instance-type": lambda r: [r.spec.instance_type],
    "launched-availability-zone": lambda r: [r.spec.subnet.zone],
    "spot-instance-request-id": lambda r: [r.id],
    "state": lambda r: [r.state],
    "status-code": lambda r: [r.status],
    "tag-key": lambda r: r.tags,
    "type": lambda r: [r.options.kind],
}


def matches(subject: Instance | SpotRequest, filters: list[Json] | None, known: dict[str, Values]) -> bool:
    """Tell whether all `filters` (``Name`` and ``Values``) hold for `subject`; raise ApiError for an unknown one."""
    return all(_holds(subject, item, known) for item in filters or [])


def _holds(subject: Instance | SpotRequest, item: Json, known: dict[str, Values]) -> bool:
    name, wanted = item["Name"], item.get("Values", [])
    if len(wanted) > FILTER_VALUES_LIMIT:
        raise ApiError("FilterLimitExceeded", f"The maximum number of filter values specified on a single call is {FILTER_VALUES_LIMIT}")
    has = [value for value in _values(subject, name, known) if value is not None]
    return any(pattern(text).fullmatch(value) for text in wanted for value in has)


def _values(subject: Instance | SpotRequest, name: str, known: dict[str, Values]) -> Iterable[str | None]:
    if name.startswith("tag:"):
        return [subject.tags.get(name.removeprefix("tag:"))]
    if name not in known:
        raise ApiError("InvalidParameterValue", f"The filter '{name}' is invalid")
    return known[name](subject)


def pattern(text: str) -> re.Pattern[str]:
    r"""Return the expression for a filter value with its wildcards: ``*``, ``?`` and ``\*`` for the character itself."""
    parts = re.findall(r"\\.|.", text, re.DOTALL)
    return re.compile("".join(_expression(part) for part in parts), re.DOTALL)


def _expression(part: str) -> str:
    match part:
        case "*":
            return ".*"
        case "?":
            return "."
        case _:
            return re.escape(part[-1])
