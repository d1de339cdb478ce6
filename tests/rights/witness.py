"""Who called what in the sandboxes of a test run, and what the deployed roles allow.

The policies are read back from IAM, so that it is CloudFormation that has put the names in. A sandbox is watched from its start
until just before its end; whoever asks meanwhile gets what is there so far.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sandbox.deploy import STACK
from sandbox.environment import REGION
from tests.rights.authorization import Call, World

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sandbox.remote import Remote
    from tests.rights.policies import Statement


@dataclass(frozen=True)
class Recording:
    """What one sandbox has seen: ``calls`` of the stack's roles, ``roles`` by their names in the template."""

    calls: list[Call]
    roles: Mapping[str, list[Statement]]
    world: World
    is_whole: bool
    """Whether the log still has the very first call, that which created the stack."""


class Witness:
    """All sandboxes of a run."""

    def __init__(self) -> None:
        """Nothing was seen yet."""
        self._alive: dict[str, Remote] = {}
        self._ended: list[Recording] = []

    @contextmanager
    def watching(self, remote: Remote) -> Iterator[None]:
        """Keep what a sandbox has seen beyond its end."""
        self._alive[remote.endpoint] = remote
        try:
            yield
        finally:
            del self._alive[remote.endpoint]
            self._ended.append(recording(remote))

    def recordings(self) -> list[Recording]:
        """Return what all sandboxes have seen so far."""
        return [*self._ended, *(recording(remote) for remote in self._alive.values())]


def recording(remote: Remote) -> Recording:
    """Return what a sandbox has seen; the stack must be deployed."""
    resources = _resources(remote)
    names = {physical: logical for logical, physical in resources.items()}
    seen = remote.whole_calls()
    calls = [
        Call(names[role], call["service"], call["operation"], _given(call["parameters"]))
        for call in seen
        if (role := call["principal"].rpartition("/")[2]) in names
    ]
    roles = {logical: _statements(remote, physical) for logical, physical in resources.items() if logical.endswith("Role")}
    return Recording(calls, roles, _world(remote, resources), any(call["operation"] == "CreateChangeSet" for call in seen))


def _resources(remote: Remote) -> dict[str, str]:
    """Return the stack's resources: physical ids by logical."""
    answer = remote.client("cloudformation").describe_stack_resources(StackName=STACK)
    return {one["LogicalResourceId"]: one["PhysicalResourceId"] for one in answer["StackResources"]}


def _given(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters that were given: the sandbox shows all that there could be."""
    return {name: value for name, value in parameters.items() if value is not None}


def _statements(remote: Remote, role: str) -> list[Statement]:
    iam = remote.client("iam")
    documents = [iam.get_role_policy(RoleName=role, PolicyName=name) for name in iam.list_role_policies(RoleName=role)["PolicyNames"]]
    attached = [policy["PolicyArn"] for policy in iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"]]
    versions = [(arn, iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]) for arn in attached]
    managed = [iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]["Document"] for arn, version in versions]
    found = [*(document["PolicyDocument"] for document in documents), *managed]
    read = [json.loads(document) if isinstance(document, str) else document for document in found]
    return [statement for document in read for statement in document["Statement"]]


def _world(remote: Remote, resources: Mapping[str, str]) -> World:
    """Return the account, with the tags of every instance that EC2 still knows."""
    account = remote.client("sts").get_caller_identity()["Account"]
    pages = remote.client("ec2").get_paginator("describe_instances").paginate()
    instances = [one for page in pages for group in page["Reservations"] for one in group["Instances"]]
    tags = {one["InstanceId"]: {tag["Key"]: tag["Value"] for tag in one.get("Tags", [])} for one in instances}
    role = f"arn:aws:iam::{account}:role/{resources.get('JobInstanceRole', 'none')}"
    return World(account, REGION, resources.get("SpotChaosStateMachine", ""), role, tags)
