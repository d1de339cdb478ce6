"""Instances from one DescribeInstances, however many (EC2 API, "DescribeInstances").

Up to 200 ids go into the filter ``instance-id``, which takes no offence at an id that EC2 does not know any more. Beyond that,
``InstanceIds`` take 1,000; there one unknown id fails the whole call, and the error names the ids; they are left out and the
call made again. Should it not name them, it is the filter again, 200 at a time.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import batched
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from spot_responder.adapters.clients import calling, error_code, error_message
from spot_responder.domain.instances import Instance

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_ec2.type_defs import DescribeInstancesResultTypeDef, InstanceTypeDef

IDS_PER_CALL = 1000
IDS_PER_FILTER = 200
UNKNOWN_ID = ("InvalidInstanceID.NotFound", "InvalidInstanceID.Malformed")
TRIES_BY_ID = 3
SHAPES = {"Instance": ("InstanceId", "InstanceType", "Placement", "State", "Tags")}
"""The members of an instance that this module reads, of over 60: no others are in our model of EC2, nor parsed."""


@dataclass(frozen=True, slots=True)
class Ec2Fleet:
    """``Fleet`` on EC2."""

    ec2: EC2Client

    def describe(self, instance_ids: Collection[str]) -> dict[str, Instance]:
        """Return the instances that EC2 knows. Raises ``Unavailable`` and ``Refused``."""
        found: dict[str, Instance] = {}
        with calling("ec2:DescribeInstances"):
            for ids in batched(sorted(instance_ids), IDS_PER_CALL, strict=False):
                found |= {instance.instance_id: instance for instance in self._known(ids)}
        return found

    def _known(self, instance_ids: Collection[str]) -> Iterator[Instance]:
        remaining = set(instance_ids)
        for _ in range(TRIES_BY_ID):
            if len(remaining) <= IDS_PER_FILTER:
                break
            try:
                answer = self.ec2.describe_instances(InstanceIds=sorted(remaining))
            except ClientError as error:
                unknown = _unknown_ids(error) & remaining
                if not unknown:
                    break
                remaining -= unknown
            else:
                yield from _instances(answer)
                return
        yield from self._by_filter(remaining)

    def _by_filter(self, instance_ids: Collection[str]) -> Iterator[Instance]:
        pages = self.ec2.get_paginator("describe_instances")
        for ids in batched(sorted(instance_ids), IDS_PER_FILTER, strict=False):
            for page in pages.paginate(Filters=[{"Name": "instance-id", "Values": list(ids)}]):
                yield from _instances(page)


def _unknown_ids(error: ClientError) -> set[str]:
    """Return the ids that EC2's error names; raise it again where it is about something else."""
    if error_code(error) not in UNKNOWN_ID:
        raise error
    return set(re.findall(r"i-[0-9a-zA-Z]+", error_message(error)))


def _instances(answer: DescribeInstancesResultTypeDef) -> Iterator[Instance]:
    for reservation in answer["Reservations"]:
        yield from (_instance(described) for described in reservation["Instances"])


def _instance(described: InstanceTypeDef) -> Instance:
    return Instance(
        instance_id=described["InstanceId"],
        state=described["State"]["Name"],
        instance_type=described.get("InstanceType", ""),
        zone=described.get("Placement", {}).get("AvailabilityZone", ""),
        tags={tag["Key"]: tag["Value"] for tag in described.get("Tags", [])},
    )
