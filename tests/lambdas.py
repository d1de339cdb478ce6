"""The functions as Lambda calls them: an environment, a context, stream batches, and an AWS that serves them."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from spot_responder.adapters.notices_table import to_item
from spot_responder.domain.jobs import ATTEMPT_TAG, JOB_TAG
from spot_responder.wiring import jobs, parts, respond_to_notices
from tests.fakes.aws import AwsOverHttp, Reply, described, ok
from tests.fakes.ports import AtOnce

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pytest

    from spot_responder.domain.notices import Notice
    from tests.fakes.aws import Call

FUNCTIONS = ("record_notice", "respond_to_notices", "record_checkpoint", "record_instance_state")
ENVIRONMENT = {
    "NOTICES_TABLE": "notices",
    "CHECKPOINT_DOCUMENT": "checkpoint",
    "OPT_IN_TAG_KEY": "spot-responder:checkpoint",
    "OPT_IN_TAG_VALUE": "enabled",
    "REBALANCE_RESPONSE": "checkpoint",
    "RETENTION_DAYS": "30",
}
NAMES = itertools.count()


@dataclass
class Context:
    """Lambda's context object, with half a minute left."""

    aws_request_id: str = "request-1"
    left: int = 30_000

    def get_remaining_time_in_millis(self) -> int:
        """Return the time left."""
        return self.left


def start_cold(patch: pytest.MonkeyPatch) -> None:
    """Be as an execution environment at its start: with variables, and nothing built yet. One thing is done after the other, in one thread."""
    for name, value in ENVIRONMENT.items():
        patch.setenv(name, value)
    # Powertools keeps one logger, and its stream, for each name.
    patch.setenv("AWS_LAMBDA_FUNCTION_NAME", f"Function{next(NAMES)}")
    patch.setattr(respond_to_notices, "ThreadPoolExecutor", AtOnce)
    forget_parts()


def forget_parts() -> None:
    """Let the next invocation build its parts anew."""
    for cached in (parts.settings, parts.clock, parts.story, parts.notices, jobs.jobs):
        cached.cache_clear()
    for name in FUNCTIONS:
        import_module(f"spot_responder.wiring.{name}")._use_case.cache_clear()


def invoke(name: str, event: object, context: Context | None = None) -> Any:
    """Invoke a function."""
    return import_module(f"functions.{name}.app").handler(event, context or Context())


def stream(notices: Iterable[Notice | None]) -> dict[str, Any]:
    """Return a stream batch, with a record of something else for None; sequence numbers count from 100."""
    images = [to_item(notice) if notice else {"note": {"S": "of something else"}} for notice in notices]
    return {"Records": [{"eventName": "INSERT", "dynamodb": {"SequenceNumber": str(100 + n), "NewImage": image}} for n, image in enumerate(images)]}


def serve(aws: AwsOverHttp, notices: Iterable[Notice]) -> None:
    """Let that AWS have these notices in its table, know every instance, and take every command."""
    items = {notice.key.notice_id: to_item(notice) for notice in notices}
    commands = itertools.count()

    def read(call: Call) -> Reply:
        keys = call.parameters["RequestItems"]["notices"]["Keys"]
        return ok(Responses={"notices": [items[key["notice_id"]["S"]] for key in keys if key["notice_id"]["S"] in items]})

    aws.always("dynamodb:BatchGetItem", read)
    aws.always("dynamodb:BatchExecuteStatement", lambda call: ok(Responses=[{}] * len(call.parameters["Statements"])))
    aws.always("ec2:DescribeInstances", lambda call: described(call.listed("InstanceId") or call.listed("Filter.1.Value")))
    aws.always("ssm:SendCommand", lambda _: ok(Command={"CommandId": f"{next(commands):08x}-0000-4000-8000-000000000000"}))


def serve_jobs(aws: AwsOverHttp, notices: Iterable[Notice]) -> None:
    """Let each of these notices' instances work on a job of its own, ``job-<instance id>``, in its first attempt."""
    serve(aws, notices)
    read_notices, describe = aws.standing["dynamodb:BatchGetItem"], aws.standing["ec2:DescribeInstances"]
    assert callable(read_notices)
    assert callable(describe)

    def read(call: Call) -> Reply:
        wanted = call.parameters["RequestItems"].get("jobs")
        return ok(Responses={"jobs": [job_item(key["job_id"]["S"]) for key in wanted["Keys"]]}) if wanted else read_notices(call)

    aws.always("dynamodb:BatchGetItem", read)
    aws.always("ec2:DescribeInstances", lambda call: _with_job_tags(describe(call)))
    aws.always("sfn:SendTaskSuccess", ok())


def job_item(job_id: str) -> dict[str, Any]:
    """Return the item of a job of ``serve_jobs``."""
    texts = {"job_id": job_id, "job_status": "running", "instance_id": job_id.removeprefix("job-"), "token": f"token of {job_id}"}
    return {name: {"S": text} for name, text in texts.items()} | {"attempt": {"N": "1"}}


def _with_job_tags(reply: Reply) -> Reply:
    tags = "".join(f"<item><key>{key}</key><value>{value}</value></item>" for key, value in ((JOB_TAG, r"job-\2"), (ATTEMPT_TAG, "1")))
    return Reply(re.sub(r"(<instanceId>)(i-\w+)(.*?<tagSet>)", rf"\1\2\3{tags}", reply.body, flags=re.DOTALL), reply.status)
