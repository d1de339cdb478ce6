"""The entry points of the resource types in group ``localstack.cloudformation.resource_providers``."""

from localstack.services.cloudformation.resource_provider import (
    CloudFormationResourceProviderPlugin,
    ResourceProvider,
)


class _ResourceTypePlugin(CloudFormationResourceProviderPlugin):
    """Loads a class of `resource_types` when a template first names its type."""

    class_name: str

    def __init__(self) -> None:
        self.factory: type[ResourceProvider] | None = None  # type: ignore[type-arg]

    def load(self) -> None:
        """Import the class; LocalStack then calls `factory`."""
        from spot_sandbox.cloudformation import resource_types

        self.factory = getattr(resource_types, self.class_name)


class SsmDocumentPlugin(_ResourceTypePlugin):
    """``AWS::SSM::Document``."""

    name = "AWS::SSM::Document"
    class_name = "SsmDocument"


class LogsResourcePolicyPlugin(_ResourceTypePlugin):
    """``AWS::Logs::ResourcePolicy``."""

    name = "AWS::Logs::ResourcePolicy"
    class_name = "LogsResourcePolicy"


class LogsMetricFilterPlugin(_ResourceTypePlugin):
    """``AWS::Logs::MetricFilter``."""

    name = "AWS::Logs::MetricFilter"
    class_name = "LogsMetricFilter"


class LogsQueryDefinitionPlugin(_ResourceTypePlugin):
    """``AWS::Logs::QueryDefinition``."""

    name = "AWS::Logs::QueryDefinition"
    class_name = "LogsQueryDefinition"


class CloudWatchDashboardPlugin(_ResourceTypePlugin):
    """``AWS::CloudWatch::Dashboard``."""

    name = "AWS::CloudWatch::Dashboard"
    class_name = "CloudWatchDashboard"


class FisExperimentTemplatePlugin(_ResourceTypePlugin):
    """``AWS::FIS::ExperimentTemplate``."""

    name = "AWS::FIS::ExperimentTemplate"
    class_name = "FisExperimentTemplate"


class Ec2LaunchTemplatePlugin(_ResourceTypePlugin):
    """``AWS::EC2::LaunchTemplate``."""

    name = "AWS::EC2::LaunchTemplate"
    class_name = "Ec2LaunchTemplate"
