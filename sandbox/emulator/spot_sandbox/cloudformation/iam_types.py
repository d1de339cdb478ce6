"""Roles and managed policies as CloudFormation has them: policy documents as objects or as JSON text, updated in place.

LocalStack takes inline policies as objects only, replaces a role that changes (its sessions and profiles lose it), and
does not update managed policies.
"""

import json
from typing import Any, override

from localstack.services.cloudformation.resource_provider import ResourceProvider
from localstack.services.iam.resource_providers.aws_iam_managedpolicy import IAMManagedPolicyProvider
from localstack.services.iam.resource_providers.aws_iam_role import IAMRoleProvider

from spot_sandbox.cloudformation.api_resource import Event, Model, Request, json_text, succeeded

MOST_VERSIONS = 5
"""IAM keeps this many versions of a managed policy (IAM User Guide, "IAM and AWS STS quotas")."""


class IamRole(IAMRoleProvider):
    """``AWS::IAM::Role``."""

    @override
    def create(self, request: Request) -> Event:
        for policy in request.desired_state.get("Policies", []):
            policy["PolicyDocument"] = _document(policy["PolicyDocument"])
        return super().create(request)

    @override
    def update(self, request: Request) -> Event:
        previous: Model = request.previous_state or {}
        model: Model = {**previous, **request.desired_state}
        for optional in ("ManagedPolicyArns", "Policies"):
            model[optional] = request.desired_state.get(optional, [])
        iam, role = request.aws_client_factory.iam, model["RoleName"]
        iam.update_assume_role_policy(RoleName=role, PolicyDocument=json_text(model["AssumeRolePolicyDocument"]))
        _attach(iam, role, before=previous.get("ManagedPolicyArns", []), after=model["ManagedPolicyArns"])
        _put_inline(iam, role, before=previous.get("Policies", []), after=model["Policies"])
        return succeeded(model)


class IamManagedPolicy(IAMManagedPolicyProvider):
    """``AWS::IAM::ManagedPolicy``."""

    @override
    def update(self, request: Request) -> Event:
        model: Model = {**(request.previous_state or {}), **request.desired_state}
        iam, arn = request.aws_client_factory.iam, model["Id"]
        versions = iam.list_policy_versions(PolicyArn=arn)["Versions"]
        if len(versions) >= MOST_VERSIONS:
            oldest = min((version for version in versions if not version["IsDefaultVersion"]), key=lambda version: version["CreateDate"])
            iam.delete_policy_version(PolicyArn=arn, VersionId=oldest["VersionId"])
        iam.create_policy_version(PolicyArn=arn, PolicyDocument=json_text(model["PolicyDocument"]), SetAsDefault=True)
        return succeeded(model)


IAM_TYPES: dict[str, type[ResourceProvider]] = {
    "AWS::IAM::ManagedPolicy": IamManagedPolicy,
    "AWS::IAM::Role": IamRole,
}


def _document(document: Any) -> Any:
    return json.loads(document) if isinstance(document, str) else document


def _attach(iam: Any, role: str, *, before: list[str], after: list[str]) -> None:
    for arn in set(before) - set(after):
        iam.detach_role_policy(RoleName=role, PolicyArn=arn)
    for arn in set(after) - set(before):
        iam.attach_role_policy(RoleName=role, PolicyArn=arn)


def _put_inline(iam: Any, role: str, *, before: list[Model], after: list[Model]) -> None:
    names = {policy["PolicyName"] for policy in after}
    for policy in before:
        if policy["PolicyName"] not in names:
            iam.delete_role_policy(RoleName=role, PolicyName=policy["PolicyName"])
    for policy in after:
        iam.put_role_policy(RoleName=role, PolicyName=policy["PolicyName"], PolicyDocument=json_text(policy["PolicyDocument"]))
