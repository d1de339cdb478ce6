"""CloudFormation: the deployed stack."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gameday.adapters.connection import calling
from gameday.failures import Refused, Unmet
from gameday.ports import Stack

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient
    from mypy_boto3_cloudformation.type_defs import StackTypeDef

WHOLE = frozenset({"CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE", "IMPORT_COMPLETE", "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS"})
"""The states in which all resources that a template describes are there."""
NEEDED = ("StateMachineArn", "JobsTable", "LogGroup")


@dataclass(frozen=True, slots=True)
class CloudFormationStacks:
    """``Stacks`` by DescribeStacks and ListStackResources."""

    client: CloudFormationClient

    def find(self, name: str) -> Stack:
        """Return the stack; Unmet: not there, not whole, or without the job."""
        found = self._describe(name)
        if found["StackStatus"] not in WHOLE:
            raise Unmet(f"The stack {name} is {found['StackStatus']}: wait until it is done, or mend it with `sam deploy`.")
        outputs = {output.get("OutputKey", ""): output.get("OutputValue", "") for output in found.get("Outputs", [])}
        missing = [key for key in NEEDED if not outputs.get(key)]
        if missing:
            raise Unmet(f"The stack {name} has no output {missing[0]}: the job is deployed only with SubnetIds; deploy again with that parameter.")
        region = self.client.meta.region_name
        arguments = (outputs["StateMachineArn"], outputs["JobsTable"], outputs["LogGroup"], self._templates(name))
        return Stack(name, region, *arguments, outputs.get("JobDashboard"))

    def _describe(self, name: str) -> StackTypeDef:
        region = self.client.meta.region_name
        try:
            with calling("cloudformation:DescribeStacks"):
                return self.client.describe_stacks(StackName=name)["Stacks"][0]
        except Refused as refused:
            # CloudFormation has no error of its own for this: "Stack with id x does not exist".
            if refused.code == "ValidationError" and "does not exist" in refused.message:
                raise Unmet(f"The stack {name} was not found in {region}: deploy it with `sam deploy`, or give --stack and --region.") from refused
            raise

    def _templates(self, name: str) -> frozenset[str]:
        """Return the ids of the stack's experiment templates, whether CloudFormation keeps the id or the ARN."""
        with calling("cloudformation:ListStackResources"):
            pages = self.client.get_paginator("list_stack_resources").paginate(StackName=name)
            resources = [resource for page in pages for resource in page["StackResourceSummaries"]]
        return frozenset(
            resource.get("PhysicalResourceId", "").rpartition("/")[2]
            for resource in resources
            if resource["ResourceType"] == "AWS::FIS::ExperimentTemplate"
        )
