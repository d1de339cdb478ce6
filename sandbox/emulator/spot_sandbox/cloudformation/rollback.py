"""A failed update leaves the stack as it was, as far as the sandbox can.

LocalStack takes the new template for deployed although it failed, and gives the stack a status that only a failed
creation has, at which clients wait for ever. Here the stack keeps its template and parameters, what the update had
added is deleted again, and the status is ``UPDATE_ROLLBACK_COMPLETE``. What the update had changed before it failed
is not changed back (AWS would): the next update, made against the old template, changes it again.
"""

import copy
import logging
from typing import Any

from localstack.aws.api.cloudformation import ChangeAction, ChangeSetType, ExecutionStatus, StackStatus
from localstack.services.cloudformation.engine.v2.change_set_model_executor import ChangeSetModelExecutor
from localstack.services.cloudformation.engine.v2.change_set_model_preproc import PreprocProperties
from localstack.services.cloudformation.resource_provider import ResourceProviderExecutor
from localstack.services.cloudformation.v2.entities import ChangeSet, Stack

LOG = logging.getLogger(__name__)
_KEPT = ("template", "processed_template", "template_body", "description", "resolved_parameters", "resolved_resources")
_snapshots: dict[str, dict[str, Any]] = {}


def install() -> None:
    """Have every change set remember the stack before it is executed."""
    original = ChangeSet.set_execution_status

    def set_execution_status(self: ChangeSet, execution_status: ExecutionStatus) -> None:
        original(self, execution_status)
        if self.change_set_type == ChangeSetType.UPDATE:
            _follow(self, execution_status)

    ChangeSet.set_execution_status = set_execution_status


def _follow(change_set: ChangeSet, status: ExecutionStatus) -> None:
    if status == ExecutionStatus.EXECUTE_IN_PROGRESS:
        _snapshots[change_set.change_set_id] = {name: copy.copy(getattr(change_set.stack, name)) for name in _KEPT}
        return
    snapshot = _snapshots.pop(change_set.change_set_id, None)
    if snapshot is not None and status == ExecutionStatus.EXECUTE_FAILED:
        _restore(change_set, snapshot)


def _restore(change_set: ChangeSet, snapshot: dict[str, Any]) -> None:
    stack: Stack = change_set.stack
    after: dict[str, Any] = stack.resolved_resources
    before: dict[str, Any] = snapshot["resolved_resources"]
    for name, resource in reversed(after.items()):
        if name not in before and resource.get("PhysicalResourceId"):
            _delete(change_set, name, resource)
    for name, content in snapshot.items():
        setattr(stack, name, content)
    stack.resolved_resources = {name: _last_good(before[name], after.get(name)) for name in before}
    stack.set_stack_status(StackStatus.UPDATE_ROLLBACK_COMPLETE)


def _last_good(before: dict[str, Any], after: dict[str, Any] | None) -> dict[str, Any]:
    """The resource as it was last made or changed with success."""
    failed = after is None or not str(after.get("ResourceStatus", "")).endswith("_COMPLETE")
    return before if failed or after is None else after


def _delete(change_set: ChangeSet, name: str, resource: dict[str, Any]) -> None:
    payload = ChangeSetModelExecutor(change_set).create_resource_provider_payload(
        action=ChangeAction.Remove,
        logical_resource_id=name,
        resource_type=resource["Type"],
        before_properties=PreprocProperties(properties=resource["Properties"]),
        after_properties=None,
    )
    stack = change_set.stack
    executor = ResourceProviderExecutor(stack_name=stack.stack_name, stack_id=stack.stack_id)
    provider = executor.try_load_resource_provider(resource["Type"])
    try:
        executor.deploy_loop(provider, {}, payload)
    except Exception:
        # As with AWS, one resource that cannot be deleted does not keep the others.
        LOG.exception("%s could not be deleted after a failed update", name)
