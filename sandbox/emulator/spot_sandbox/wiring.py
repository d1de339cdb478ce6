"""The one place where the sandbox's instances, commands and experiments are put together for LocalStack."""

import logging
import os
import sys
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError
from localstack import config
from localstack.aws.connect import connect_to

from spot_sandbox.ec2_instances import Instance
from spot_sandbox.ec2_lifecycle import Lifecycle, Ports
from spot_sandbox.ec2_machines import Machine, run_environment
from spot_sandbox.events import Emitter
from spot_sandbox.fis_experiments import Experiments
from spot_sandbox.settings import settings
from spot_sandbox.ssm_commands import Commands
from spot_sandbox.timers import Timers

LOG = logging.getLogger(__name__)

type Json = dict[str, Any]

CREDENTIALS_SECONDS = 6 * 3600
"""How long the credentials of an instance's role hold; EC2's own are about six hours, too."""


@cache
def timers() -> Timers:
    """The clock of everything that happens later."""
    return Timers()


@cache
def emitter() -> Emitter:
    """The way to the event bus."""
    return Emitter(_put_events)


def _put_events(account: str, region: str, entries: list[Json]) -> None:
    connect_to(aws_access_key_id=account, region_name=region).events.put_events(Entries=entries)


@cache
def lifecycle() -> Lifecycle:
    """All instances of this sandbox."""
    pool = ThreadPoolExecutor(max_workers=4, thread_name_prefix="spot-sandbox")
    ports = Ports(
        now=lambda: datetime.now(UTC),
        scaled=lambda seconds: settings().scaled(seconds),
        after=timers().after,
        emit=emitter().emit,
        start=Machine,
        credentials=_credentials,
        background=lambda action: _submit(pool, action),
        directory=settings().directory,
        environment={"AWS_ENDPOINT_URL": _endpoint(), **run_environment()},
        path=str(Path(sys.executable).parent),
    )
    return Lifecycle(ports, settings().boot_seconds)


def _endpoint() -> str:
    return os.environ.get("SPOT_SANDBOX_ENDPOINT") or config.internal_service_url()


def _submit(pool: ThreadPoolExecutor, action: Callable[[], None]) -> None:
    future = pool.submit(action)
    future.add_done_callback(_report)


def _report(done: Future[None]) -> None:
    """Log what went wrong in the background, where nobody else would see it."""
    if error := done.exception():
        LOG.error("in the background", exc_info=error)


def _credentials(instance: Instance) -> Json | None:
    """Return credentials of the instance's role; None without a role, or when it has been deleted meanwhile."""
    if instance.spec.role_arn is None:
        return None
    sts = connect_to(aws_access_key_id=instance.account, region_name=instance.region).sts
    try:
        answer = sts.assume_role(RoleArn=instance.spec.role_arn, RoleSessionName=instance.id, DurationSeconds=CREDENTIALS_SECONDS)
    except ClientError as error:
        LOG.warning("no credentials for %s: %s", instance.id, error)
        return None
    credentials: Json = answer["Credentials"]
    return credentials


@cache
def experiments() -> Experiments:
    """All FIS templates and experiments of this sandbox."""
    return Experiments(lifecycle(), _ringing, role_exists)


def _ringing(account: str, region: str, arn: str) -> bool:
    return alarm_state(account, region, arn) == "ALARM"


def role_exists(role_arn: str) -> bool:
    """Tell whether a role exists; whom it trusts, nobody checks here."""
    account, name = role_arn.split(":")[4], role_arn.rpartition("/")[2]
    try:
        connect_to(aws_access_key_id=account).iam.get_role(RoleName=name)
    except ClientError as error:
        if error.response["Error"]["Code"] == "NoSuchEntity":
            return False
        raise
    return True


def alarm_state(account: str, region: str, arn: str) -> str | None:
    """Return the state of a CloudWatch alarm, None when there is none of that ARN."""
    name = arn.rpartition(":alarm:")[2]
    found = connect_to(aws_access_key_id=account, region_name=region).cloudwatch.describe_alarms(AlarmNames=[name])
    alarms = [*found.get("MetricAlarms", []), *found.get("CompositeAlarms", [])]
    return next((alarm["StateValue"] for alarm in alarms), None)


@cache
def commands() -> Commands:
    """All SSM commands of this sandbox."""
    return Commands(lifecycle())
