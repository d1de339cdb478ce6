"""No resource type is "deployed as a fallback": one that nothing implements fails the change set.

LocalStack decides by a catalogue that it would have to download; here the plugins that are installed decide.
"""

from localstack.services.cloudformation.engine.v2.change_set_resource_support_checker import (
    ChangeSetResourceSupportChecker,
)
from localstack.services.cloudformation.resource_provider import plugin_manager
from localstack.utils.catalog.common import (
    CloudFormationResourcesSupportAtRuntime,
    CloudFormationResourcesSupportInLatest,
)

Status = CloudFormationResourcesSupportAtRuntime | CloudFormationResourcesSupportInLatest


def install() -> None:
    """Replace LocalStack's look into its catalogue."""
    ChangeSetResourceSupportChecker._resource_support_status = _status  # noqa: SLF001 - LocalStack offers no hook here


def _status(_self: ChangeSetResourceSupportChecker, resource_type: str) -> Status:
    implemented = "AWS::CloudFormation::CustomResource" if resource_type.startswith("Custom::") else resource_type
    if plugin_manager.exists(implemented):
        return CloudFormationResourcesSupportAtRuntime.AVAILABLE
    return CloudFormationResourcesSupportInLatest.NOT_SUPPORTED
