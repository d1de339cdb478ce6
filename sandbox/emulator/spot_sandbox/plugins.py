"""Where LocalStack enters this package: one object for each entry point in ``pyproject.toml``.

Each service is imported only when LocalStack first needs it, as LocalStack does with its own, so that the start stays
short.
"""

from localstack.runtime import hooks
from localstack.services.lambda_.invocation.plugins import RuntimeExecutorPlugin
from localstack.services.lambda_.invocation.runtime_executor import RuntimeExecutor
from localstack.services.plugins import Service, aws_provider


@aws_provider(api="dynamodb", name="spot")
def dynamodb() -> Service:
    """DynamoDB as moto has it, with streams that tell the truth."""
    from spot_sandbox.dynamodb import SpotDynamoDbProvider

    return Service.for_provider(SpotDynamoDbProvider())


@aws_provider(api="dynamodbstreams", name="spot")
def dynamodbstreams() -> Service:
    """The streams of those tables."""
    from spot_sandbox.dynamodb import SpotDynamoDbStreamsProvider

    return Service.for_provider(SpotDynamoDbStreamsProvider())


@aws_provider(api="logs", name="spot")
def logs() -> Service:
    """CloudWatch Logs whose filter patterns filter."""
    from localstack.services.moto import MotoFallbackDispatcher
    from spot_sandbox.logs import SpotLogsProvider

    return Service.for_provider(SpotLogsProvider(), dispatch_table_factory=MotoFallbackDispatcher)


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


@aws_provider(api="fis", name="spot")
def fis() -> Service:
    """Fault Injection Service, of which LocalStack's core has nothing."""
    from localstack.services.moto import MotoFallbackDispatcher
    from spot_sandbox.fis import SpotFisProvider

    return Service.for_provider(SpotFisProvider(), dispatch_table_factory=MotoFallbackDispatcher)


@hooks.on_infra_start()
def start() -> None:
    """Add the sandbox's own routes under ``/_sandbox/``."""
    from localstack.services.edge import ROUTER
    from spot_sandbox import ec2_routes, routes

    routes.register(ROUTER)
    ec2_routes.register(ROUTER)


@hooks.on_infra_shutdown()
def shutdown() -> None:
    """End the processes that the services have started."""
    from spot_sandbox import ec2_routes

    ec2_routes.shutdown()
