"""How the sandbox deploys a template, where LocalStack would only pretend to.

- A resource type that nothing implements fails the change set. LocalStack decides by a catalogue that it would have to
  download, or calls the resource deployed; here the classes that exist decide.
- An update that a type cannot carry out fails. LocalStack calls it done.
- A change set whose templates come to the same after their transforms, with the same parameters, has no changes.
  LocalStack takes every template with a transform for changed.
- A reference to a resource that only a transform generates (a rule of a SAM function's event) is left to be resolved
  after the transform. LocalStack resolves references before it, and refuses the template.
- The second change set of a template with an included part can be made: LocalStack puts its word for "no value" into a
  set, and it has no hash.
- ``${!Name}`` in Fn::Sub comes to ``${Name}``, as CloudFormation has it. LocalStack looks for a resource ``!Name``.
- ExecuteChangeSet waits a moment for what it has begun: clients such as SAM look again only after 15 seconds, which
  for a stack that is up in one second is most of the deployment.
"""

import json
import logging
import time
from collections.abc import Callable
from typing import Any

from localstack.aws.api.cloudformation import ExecuteChangeSetOutput, ExecutionStatus, StackStatus
from localstack.services.cloudformation.engine.v2.change_set_model import ChangeType, NothingType
from localstack.services.cloudformation.engine.v2.change_set_model_preproc import (
    ChangeSetModelPreproc,
    PreprocEntityDelta,
)
from localstack.services.cloudformation.engine.v2.change_set_model_transform import ChangeSetModelTransform
from localstack.services.cloudformation.engine.v2.change_set_resource_support_checker import (
    ChangeSetResourceSupportChecker,
)
from localstack.services.cloudformation.engine.validations import ValidationError
from localstack.services.cloudformation.resource_provider import (
    OperationStatus,
    ProgressEvent,
    ResourceProvider,
    ResourceProviderExecutor,
    convert_payload,
    plugin_manager,
)
from localstack.services.cloudformation.stores import get_cloudformation_store
from localstack.services.cloudformation.v2.entities import ChangeSet
from localstack.services.cloudformation.v2.provider import CloudformationProviderV2, find_change_set_v2
from localstack.utils.catalog.common import (
    CloudFormationResourcesSupportAtRuntime,
    CloudFormationResourcesSupportInLatest,
)

from spot_sandbox.cloudformation import conditions, rollback
from spot_sandbox.cloudformation.registry import RESOURCE_TYPES

type Status = CloudFormationResourcesSupportAtRuntime | CloudFormationResourcesSupportInLatest
LOG = logging.getLogger(__name__)
_PATIENCE_SECONDS = 3.0
Operation = Callable[..., ExecuteChangeSetOutput]


def install() -> None:
    """Replace these parts of LocalStack."""
    ResourceProviderExecutor.try_load_resource_provider = staticmethod(_ours_first(ResourceProviderExecutor.try_load_resource_provider))
    ResourceProviderExecutor.execute_action = _updates_for_real(ResourceProviderExecutor.execute_action)
    ChangeSet.has_changes = _has_changes
    ChangeSetModelPreproc._resolve_reference = _literal_first(  # noqa: SLF001 - LocalStack offers no hook here
        ChangeSetModelPreproc._resolve_reference  # noqa: SLF001 - as above
    )
    rollback.install()
    conditions.install()
    NothingType.__hash__ = object.__hash__
    ChangeSetModelTransform.visit_node_intrinsic_function_fn_get_att = _generated_later(
        ChangeSetModelTransform.visit_node_intrinsic_function_fn_get_att
    )
    CloudformationProviderV2.execute_change_set = _patient(CloudformationProviderV2.execute_change_set)
    ChangeSetResourceSupportChecker._resource_support_status = _status  # noqa: SLF001 - LocalStack offers no hook here


def _status(_self: ChangeSetResourceSupportChecker, resource_type: str) -> Status:
    implemented = "AWS::CloudFormation::CustomResource" if resource_type.startswith("Custom::") else resource_type
    if implemented in RESOURCE_TYPES or plugin_manager.exists(implemented):
        return CloudFormationResourcesSupportAtRuntime.AVAILABLE
    return CloudFormationResourcesSupportInLatest.NOT_SUPPORTED


def _generated_later(visit: Callable[..., Any]) -> Callable[..., Any]:
    def visit_leniently(self: ChangeSetModelTransform, intrinsic: Any) -> Any:
        try:
            return visit(self, intrinsic)
        except ValidationError:
            return self.visit(intrinsic.arguments)

    return visit_leniently


def _literal_first(resolve: Callable[..., Any]) -> Callable[..., Any]:
    def resolve_unless_literal(self: ChangeSetModelPreproc, logical_id: str) -> Any:
        if not logical_id.startswith("!"):
            return resolve(self, logical_id)
        literal = f"${{{logical_id.removeprefix('!')}}}"
        return PreprocEntityDelta(before=literal, after=literal)

    return resolve_unless_literal


def _ours_first(load: Callable[[str], Any]) -> Callable[[str], Any]:
    def load_ours(resource_type: str) -> ResourceProvider | None:
        return RESOURCE_TYPES[resource_type]() if resource_type in RESOURCE_TYPES else load(resource_type)

    return load_ours


def _updates_for_real(execute: Callable[..., Any]) -> Callable[..., Any]:
    def execute_action(self: ResourceProviderExecutor, provider: Any, payload: Any) -> Any:
        if payload["action"] not in ("Dynamic", "Modify"):
            return execute(self, provider, payload)
        request = convert_payload(stack_name=self.stack_name, stack_id=self.stack_id, payload=payload)
        try:
            return provider.update(request)
        except NotImplementedError:
            reason = f"The sandbox cannot update a resource of type {request.resource_type}"
        except Exception as error:
            LOG.exception("%s (%s) could not be updated", request.logical_resource_id, request.resource_type)
            reason = str(error)
        return ProgressEvent(status=OperationStatus.FAILED, resource_model={}, message=reason)

    return execute_action


def _has_changes(self: ChangeSet) -> bool:
    if self.update_model.node_template.change_type == ChangeType.UNCHANGED:
        return False
    deployed = self.stack
    if deployed.status not in (StackStatus.CREATE_COMPLETE, StackStatus.UPDATE_COMPLETE, StackStatus.UPDATE_ROLLBACK_COMPLETE):
        return True
    same_template = deployed.processed_template is not None and _text(deployed.processed_template) == _text(self.processed_template)
    return not (same_template and _values(deployed.resolved_parameters) == _values(self.resolved_parameters))


def _text(template: object) -> str:
    return json.dumps(template, sort_keys=True, default=str)


def _values(parameters: dict[str, Any] | None) -> dict[str, Any]:
    """The values that parameters come to, given or by default."""
    names = ("resolved_value", "given_value", "default_value")
    return {name: next((parameter[key] for key in names if parameter.get(key) is not None), None) for name, parameter in (parameters or {}).items()}


def _patient(execute: Operation) -> Operation:
    def execute_and_wait(self: CloudformationProviderV2, context: Any, *args: Any, **request: Any) -> ExecuteChangeSetOutput:
        answer = execute(self, context, *args, **request)
        store = get_cloudformation_store(context.account_id, context.region)
        name, stack = request.get("change_set_name"), request.get("stack_name")
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while time.monotonic() < deadline:
            change_set = find_change_set_v2(store, name, stack)
            if change_set is None or change_set.execution_status != ExecutionStatus.EXECUTE_IN_PROGRESS:
                break
            time.sleep(0.05)
        return answer

    return execute_and_wait
