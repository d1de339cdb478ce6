"""Where LocalStack enters this package: one object for each entry point in ``pyproject.toml``.

Each service is imported only when LocalStack first needs it, as LocalStack does with its own, so that the start stays
short.
"""
# ruff: noqa: PLC0415 - each service is imported when it is first needed

from localstack.runtime import hooks
from localstack.services.lambda_.invocation.plugins import RuntimeExecutorPlugin
from localstack.services.lambda_.invocation.runtime_executor import RuntimeExecutor
from localstack.services.plugins import Service, aws_provider


@aws_provider(api="cloudformation", name="spot")
def cloudformation() -> Service:
    """CloudFormation that fails for what nothing implements."""
    from localstack.services.cloudformation.v2.provider import CloudformationProviderV2

    from spot_sandbox.cloudformation import support

    support.install()
    return Service.for_provider(CloudformationProviderV2())


@aws_provider(api="lambda", name="spot")
def lambda_() -> Service:
    """Lambda whose environments are processes and whose streams are delivered as documented."""
    from localstack.services.lambda_.provider import LambdaProvider

    from spot_sandbox import lambda_executor, stream_poller

    lambda_executor.install()
    stream_poller.install()
    return Service.for_provider(LambdaProvider())


@aws_provider(api="stepfunctions", name="spot")
def stepfunctions() -> Service:
    """Step Functions with JSONata and with the error names of AWS."""
    from localstack.services.stepfunctions.provider import StepFunctionsProvider

    from spot_sandbox import stepfunctions as plugin
    from spot_sandbox import stopped_executions

    plugin.install()
    stopped_executions.install()
    return Service.for_provider(StepFunctionsProvider())


@aws_provider(api="dynamodb", name="spot")
def dynamodb() -> Service:
    """DynamoDB as moto has it, with streams that tell the truth."""
    from spot_sandbox import dynamodb as plugin

    plugin.install()
    return Service.for_provider(plugin.SpotDynamoDbProvider(), dispatch_table_factory=plugin.dispatch_table)


@aws_provider(api="dynamodbstreams", name="spot")
def dynamodbstreams() -> Service:
    """The streams of those tables."""
    from spot_sandbox import dynamodb as plugin

    return Service.for_provider(plugin.SpotDynamoDbStreamsProvider(), dispatch_table_factory=plugin.dispatch_table)


@aws_provider(api="logs", name="spot")
def logs() -> Service:
    """CloudWatch Logs whose filter patterns filter."""
    from localstack.services.moto import MotoFallbackDispatcher

    from spot_sandbox import logs as plugin

    plugin.install()
    return Service.for_provider(plugin.SpotLogsProvider(), dispatch_table_factory=MotoFallbackDispatcher)


class ProcessRuntimeExecutorPlugin(RuntimeExecutorPlugin):
    """Lambda environments that are processes, for ``LAMBDA_RUNTIME_EXECUTOR=process``."""

    name = "process"

    def load(self) -> type[RuntimeExecutor]:
        """Return the executor's class."""
        from spot_sandbox.lambda_executor import ProcessRuntimeExecutor

        return ProcessRuntimeExecutor


@aws_provider(api="ec2", name="spot")
def ec2() -> Service:
    """EC2 with Spot Instances that run, are warned and end."""
    from localstack.services.moto import MotoFallbackDispatcher

    from spot_sandbox.ec2 import SpotEc2Provider

    return Service.for_provider(SpotEc2Provider(), dispatch_table_factory=MotoFallbackDispatcher)


@aws_provider(api="ssm", name="spot")
def ssm() -> Service:
    """Systems Manager whose Run Command runs documents on the instances."""
    from localstack.services.moto import MotoFallbackDispatcher

    from spot_sandbox.ssm import SpotSsmProvider

    return Service.for_provider(SpotSsmProvider(), dispatch_table_factory=MotoFallbackDispatcher)


@aws_provider(api="events", name="spot")
def events() -> Service:
    """EventBridge whose archives can be replayed."""
    from localstack.services.events.provider import EventsProvider

    from spot_sandbox import replays

    replays.install()
    return Service.for_provider(EventsProvider())


@aws_provider(api="fis", name="spot")
def fis() -> Service:
    """Fault Injection Service, of which LocalStack's core has nothing."""
    from localstack.services.moto import MotoFallbackDispatcher

    from spot_sandbox.fis import SpotFisProvider

    return Service.for_provider(SpotFisProvider(), dispatch_table_factory=MotoFallbackDispatcher)


@hooks.on_infra_start()
def start() -> None:
    """Add the sandbox's own routes under ``/_sandbox/``, and let nobody else in."""
    from localstack.services.edge import ROUTER
    from localstack.utils.aws import aws_stack

    from spot_sandbox import calls, ec2_routes, gateway, routes

    gateway.stay_inside()
    # LocalStack would ask a name server for an S3 host of its own; without a network that takes seconds.
    aws_stack.CACHE_S3_HOSTNAME_DNS_STATUS = False
    calls.install()
    routes.register(ROUTER)
    ec2_routes.register(ROUTER)


@hooks.on_infra_shutdown()
def shutdown() -> None:
    """End the processes that the services have started."""
    from spot_sandbox import ec2_routes

    ec2_routes.shutdown()
