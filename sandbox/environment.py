"""The environments of the sandbox: of the emulator's process, and of whoever speaks to it as if it were AWS.

The emulator gets a clean environment rather than ours with additions: a developer's AWS profile, proxy or LocalStack
settings must not change what the sandbox does, nor let it reach the internet.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

REGION = "us-east-1"
RUN_VARIABLE = "SPOT_SANDBOX_RUN"
"""Names one run of the emulator; every process it starts inherits it, which is how `stop` finds them all."""

_INHERITED = ("HOME", "LANG", "LC_ALL", "LOGNAME", "PATH", "SYSTEMROOT", "USER")


@dataclass(frozen=True)
class Run:
    """One run of the emulator: where it listens, keeps its files, and how fast its time goes."""

    identifier: str
    directory: Path
    port: int
    time_scale: float
    boot_seconds: float

    @property
    def endpoint(self) -> str:
        """The URL for ``AWS_ENDPOINT_URL``."""
        return f"http://127.0.0.1:{self.port}"


def emulator_environment(run: Run, inherited: Mapping[str, str]) -> dict[str, str]:
    """Everything the emulator's process gets to see; `inherited` is our own environment."""
    environment = {name: inherited[name] for name in _INHERITED if name in inherited}
    return environment | _places(run) | _plugins() | _offline() | _behaviour() | _credentials()


def client_environment(endpoint: str) -> dict[str, str]:
    """What AWS's command-line client, SDKs and SAM need to take the sandbox for AWS."""
    return {
        "AWS_ENDPOINT_URL": endpoint,
        **_credentials(),
        "AWS_PAGER": "",
        "SAM_CLI_TELEMETRY": "0",
        # Behind a proxy, clients would ask it for 127.0.0.1, too.
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
    }


def client_unset() -> tuple[str, ...]:
    """Variables that would turn a client away from the sandbox, towards a real account."""
    return ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_SESSION_TOKEN")


def _credentials() -> dict[str, str]:
    return {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": REGION,
        "AWS_REGION": REGION,
    }


def _places(run: Run) -> dict[str, str]:
    return {
        RUN_VARIABLE: run.identifier,
        "SPOT_SANDBOX_DIR": str(run.directory),
        "SPOT_SANDBOX_ENDPOINT": run.endpoint,
        "SPOT_SANDBOX_TIME_SCALE": str(run.time_scale),
        "SPOT_SANDBOX_BOOT_SECONDS": str(run.boot_seconds),
        "GATEWAY_LISTEN": f"127.0.0.1:{run.port}",
        # Queue URLs bear this name; LocalStack's own, localhost.localstack.cloud, needs a name server.
        "LOCALSTACK_HOST": f"127.0.0.1:{run.port}",
        "SQS_ENDPOINT_STRATEGY": "path",
        # Without this, LocalStack inside any container believes itself in its own image and writes to /var/lib.
        "OVERRIDE_IN_DOCKER": "0",
        "FILESYSTEM_ROOT": str(run.directory / "filesystem"),
        "LOCALSTACK_VOLUME_DIR": str(run.directory / "volume"),
        "XDG_CACHE_HOME": str(run.directory / "cache"),
        "TMPDIR": str(run.directory / "tmp"),
    }


def _plugins() -> dict[str, str]:
    services = (
        "CLOUDFORMATION",
        "DYNAMODB",
        "DYNAMODBSTREAMS",
        "EC2",
        "EVENTS",
        "FIS",
        "LAMBDA",
        "LOGS",
        "SSM",
        "STEPFUNCTIONS",
    )
    overrides = {f"PROVIDER_OVERRIDE_{service}": "spot" for service in services}
    return overrides | {"LAMBDA_RUNTIME_EXECUTOR": "process"}


def _offline() -> dict[str, str]:
    return {
        "DISABLE_EVENTS": "1",
        "DNS_ADDRESS": "0",
        "SKIP_SSL_CERT_DOWNLOAD": "1",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        # Whatever still tries meets a port nobody listens on, at once, instead of waiting for a name server.
        "HTTPS_PROXY": "http://127.0.0.1:9",
        "NO_PROXY": "127.0.0.1,localhost,localhost.localstack.cloud",
    }


def _behaviour() -> dict[str, str]:
    return {
        "EAGER_SERVICE_LOADING": "0",
        # Services call each other within the process rather than over HTTP: a good part of two cores.
        "IN_MEMORY_CLIENT": "1",
        "PYTHONUNBUFFERED": "1",
        # A resource type that nothing implements fails the stack; LocalStack would call it deployed.
        "CFN_IGNORE_UNSUPPORTED_RESOURCE_TYPES": "0",
        "CFN_VERBOSE_ERRORS": "1",
        # Lambda waits 1 and 2 minutes before it retries an asynchronous invocation; here 1 and 2 seconds.
        "LAMBDA_RETRY_BASE_DELAY": "1",
        "LAMBDA_RUNTIME_ENVIRONMENT_TIMEOUT": "60",
        # Lambda polls a stream's shard four times a second.
        "LAMBDA_EVENT_SOURCE_MAPPING_POLL_INTERVAL_SEC": "0.25",
        "LAMBDA_EVENT_SOURCE_MAPPING_MAX_BACKOFF_ON_EMPTY_POLL_SEC": "0.5",
        "LAMBDA_EVENT_SOURCE_MAPPING_MAX_BACKOFF_ON_ERROR_SEC": "2",
    }
