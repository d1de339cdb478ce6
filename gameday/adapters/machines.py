"""EC2: the job's instances."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gameday.adapters.connection import calling
from gameday.evidence import Machine

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_ec2.type_defs import FilterTypeDef, InstanceTypeDef

JOB_TAG = "spot-responder:job"
TARGET_TAG = ("Name", "Fis/Spot")


@dataclass(frozen=True, slots=True)
class Ec2Machines:
    """``Machines`` by DescribeInstances with filters, which are never an error for instances that are gone."""

    client: EC2Client

    def targets(self) -> list[str]:
        """Return the ids of all running instances that the experiments' target tag names."""
        name, value = TARGET_TAG
        filters: list[FilterTypeDef] = [{"Name": f"tag:{name}", "Values": [value]}, {"Name": "instance-state-name", "Values": ["running"]}]
        return sorted(instance.get("InstanceId", "") for instance in self._describe(filters))

    def of_job(self, job_id: str) -> list[Machine]:
        """Return the job's instances, oldest first."""
        found = [_machine(instance) for instance in self._describe([{"Name": f"tag:{JOB_TAG}", "Values": [job_id]}])]
        return sorted(found, key=lambda machine: machine.launched_at)

    def _describe(self, filters: list[FilterTypeDef]) -> list[InstanceTypeDef]:
        with calling("ec2:DescribeInstances"):
            pages = self.client.get_paginator("describe_instances").paginate(Filters=filters)
            return [instance for page in pages for reservation in page["Reservations"] for instance in reservation.get("Instances", [])]


def _machine(instance: InstanceTypeDef) -> Machine:
    return Machine(instance.get("InstanceId", ""), instance["LaunchTime"].timestamp(), instance.get("State", {}).get("Name", "pending"))
